"""Optimisers for stacked adapters: each has its own, and its own learning rate, decay, betas, clipping and step count.

`adamw`: the formulas and their order are those of torch.optim.AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).
`adamw-8bit`: the same, and what an adapter remembers of its moments is rounded to eight bits (see `eight_bits`). An
update goes by moments that are not rounded yet, as in bitsandbytes and torchao.
`sgd`: torch.optim.SGD. Momentum is the first beta, without dampening, and the second beta counts for nothing. Weight
decay is torch's own, which joins the gradient: with momentum it is not the decay of AdamW.
Clipping is that of torch.nn.utils.clip_grad_norm_, over all tensors of one adapter; ranks that are frozen count in none
of this.

Left out: amsgrad, Nesterov's momentum, fused kernels, learning rate schedules (each Step carries its learning rate).
Shapes: K adapters of the step, N adapters of a leaf, R rank, S settings of an update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flyroom.engine.bank import Leaf
from flyroom.engine.eight_bits import round_to_eight_bits
from flyroom.types import Optimiser, Step

EPS = 1e-8


class Memory(NamedTuple):
    """The weights of some adapters and their moments, [N, .., ..] each. A rule writes into all three."""

    w: Tensor
    m: Tensor
    v: Tensor


class Rule(NamedTuple):
    """An optimiser: the numbers that one adapter's update needs, and the update of many adapters at once."""

    settings: Callable[[Step, int, float], list[float]]
    update: Callable[[Memory, Tensor, Sequence[Tensor]], None]


def freeze(leaves: Sequence[Leaf], index: Mapping[int, int], steps: Sequence[Step]) -> None:
    """Set the gradients of frozen ranks to 0."""
    for leaf in leaves:
        learns = _find_learning(leaf, [steps[index[slot]] for slot in leaf.slots])
        for part, tensor in (("A", leaf.a_NRI), ("B", leaf.b_NOR)):
            if learns and tensor.grad is not None:
                tensor.grad *= learns[part]


def _find_learning(leaf: Leaf, steps: Sequence[Step]) -> dict[str, Tensor]:
    """Which ranks of each adapter learn, as masks of A, [N, R, 1], and of B, [N, 1, R]; empty where all do."""
    if not any(step.frozen for step in steps):
        return {}
    frozen_N = torch.tensor([step.frozen for step in steps], device=leaf.a_NRI.device)
    learns_NR = torch.arange(leaf.a_NRI.shape[1], device=frozen_N.device) >= frozen_N[:, None]
    return {"A": learns_NR[:, :, None], "B": learns_NR[:, None, :]}


def gradient_norms(leaves: Sequence[Leaf], index: Mapping[int, int]) -> Tensor:
    """Returns the norm of each adapter's gradient, [K] fp32. `index` maps a slot to its place in the step."""
    squares_K = torch.zeros(len(index), device=leaves[0].a_NRI.device)
    places: dict[tuple[int, ...], Tensor] = {}
    for leaf in leaves:
        slots = tuple(leaf.slots)
        if slots not in places:
            places[slots] = torch.tensor([index[s] for s in slots], device=squares_K.device)
        where = places[slots]
        for tensor in (leaf.a_NRI, leaf.b_NOR):
            squares_K.index_add_(0, where, gradient(tensor).square().sum((1, 2)))
    return squares_K.sqrt()


def update(
    leaves: Sequence[Leaf],
    index: Mapping[int, int],
    steps: Sequence[Step],
    counts: Sequence[int],
    norms: Sequence[float],
) -> None:
    """Take one step on every leaf, each adapter by its own optimiser, and write it into the leaf's bank. `counts`
    includes this step.
    """
    for name, rule in RULES.items():
        slots = [slot for slot, k in index.items() if steps[k].optimiser == name]
        if not slots:
            continue
        inputs = [(steps[k], counts[k], norms[k]) for k in (index[slot] for slot in slots)]
        table_KS = torch.tensor([rule.settings(*each) for each in inputs], device=leaves[0].a_NRI.device)
        rows = {slot: i for i, slot in enumerate(slots)}
        columns_of: dict[tuple[int, ...], Sequence[Tensor]] = {}  # a GPU is idle while it is sent where rows lie
        for leaf in leaves:
            members = tuple(slot for slot in leaf.slots if slot in rows)
            if not members:
                continue
            if members not in columns_of:
                places = torch.tensor([rows[slot] for slot in members], device=table_KS.device)
                columns_of[members] = table_KS.index_select(0, places).T[:, :, None, None].unbind()
            learns = _find_learning(leaf, [steps[index[slot]] for slot in members])
            _update(leaf, rule, members, columns_of[members], learns)


def _update(
    leaf: Leaf, rule: Rule, slots: Sequence[int], columns: Sequence[Tensor], learns: Mapping[str, Tensor]
) -> None:
    """The adapters of a leaf that go by this rule, with their columns of the table, and which of their ranks learn."""
    members = [leaf.slots.index(slot) for slot in slots]
    leaf.bank.ensure_moments()
    for part, tensor in (("A", leaf.a_NRI), ("B", leaf.b_NOR)):
        names = (part, f"{part}.m", f"{part}.v")
        memory = Memory(*leaf.bank.take(names, slots))
        g = gradient(tensor)
        before = memory.w.clone() if learns else memory.w
        rule.update(memory, g if len(members) == len(leaf.slots) else g[members], columns)
        if learns:  # decay, and moments from before, would move what is frozen
            memory.w.copy_(torch.where(learns[part], memory.w, before))
        leaf.bank.write(names, slots, memory)


def _clip(step: Step, norm: float) -> float:
    return 1.0 if step.clip is None else min(1.0, step.clip / (norm + 1e-6))


def _set_adamw(step: Step, count: int, norm: float) -> list[float]:
    """In double precision, in the order in which the update uses them."""
    keep_m, keep_v = step.betas
    size, correction = step.lr / (1 - keep_m**count), math.sqrt(1 - keep_v**count)
    decay = 1 - step.lr * step.weight_decay
    return [_clip(step, norm), decay, keep_m, 1 - keep_m, keep_v, 1 - keep_v, size, correction]


def _adamw(memory: Memory, gradient: Tensor, columns: Sequence[Tensor]) -> None:
    w, m, v = memory
    clip, decay, keep_m, add_m, keep_v, add_v, size, correction = columns
    g = gradient * clip
    w.mul_(decay)
    m.mul_(keep_m).add_(g * add_m)
    v.mul_(keep_v).add_(g.square_().mul_(add_v))
    w.sub_((m / v.sqrt().div_(correction).add_(EPS)).mul_(size))


def _adamw_8bit(memory: Memory, gradient: Tensor, columns: Sequence[Tensor]) -> None:
    _adamw(memory, gradient, columns)
    memory.m.copy_(round_to_eight_bits(memory.m, signed=True))
    memory.v.copy_(round_to_eight_bits(memory.v, signed=False))


def _set_sgd(step: Step, _count: int, norm: float) -> list[float]:
    return [_clip(step, norm), step.weight_decay, step.betas[0], step.lr]


def _sgd(memory: Memory, gradient: Tensor, columns: Sequence[Tensor]) -> None:
    w, m, _ = memory
    clip, decay, keep, size = columns
    m.mul_(keep).add_(gradient * clip).add_(w * decay)
    w.sub_(m * size)


RULES: Mapping[Optimiser, Rule] = {
    "adamw": Rule(_set_adamw, _adamw),
    "adamw-8bit": Rule(_set_adamw, _adamw_8bit),
    "sgd": Rule(_set_sgd, _sgd),
}


def gradient(leaf: Tensor) -> Tensor:
    """Returns the gradient of a leaf, or zeros where no row of the batch reached the leaf."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
