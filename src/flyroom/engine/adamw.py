"""AdamW for stacked adapters: each has its own learning rate, decay, betas, clipping and step count.

The formulas and their order are those of torch.optim.AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101). Clipping is
that of torch.nn.utils.clip_grad_norm_, over all tensors of one adapter.

Left out: amsgrad, fused kernels, learning rate schedules (each Step carries its learning rate).
Shapes: K adapters of the step, S settings of an update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flyroom.engine.bank import Leaf
from flyroom.types import Step

EPS = 1e-8


def gradient_norms(leaves: Sequence[Leaf], index: Mapping[int, int]) -> Tensor:
    """Returns the norm of each adapter's gradient, [K] fp32. `index` maps a slot to its place in the step."""
    squares_K = torch.zeros(len(index), device=leaves[0].a_NRI.device)
    for leaf in leaves:
        where = torch.tensor([index[s] for s in leaf.slots], device=squares_K.device)
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
    """Take one AdamW step on every leaf and write it into the leaf's bank. `counts` includes this step."""
    table_KS = torch.tensor(
        [_settings(*inputs) for inputs in zip(steps, counts, norms, strict=True)], device=leaves[0].a_NRI.device
    )
    for leaf in leaves:
        places = torch.tensor([index[s] for s in leaf.slots], device=table_KS.device)
        columns = table_KS.index_select(0, places).T[:, :, None, None]
        clip, decay, keep_m, add_m, keep_v, add_v, size, correction = columns.unbind()
        leaf.bank.ensure_moments()
        for part, tensor in (("A", leaf.a_NRI), ("B", leaf.b_NOR)):
            names = (part, f"{part}.m", f"{part}.v")
            w, m, v = leaf.bank.take(names, leaf.slots)
            g = gradient(tensor) * clip
            w.mul_(decay)
            m.mul_(keep_m).add_(g * add_m)
            v.mul_(keep_v).add_(g.square_().mul_(add_v))
            w.sub_((m / v.sqrt().div_(correction).add_(EPS)).mul_(size))
            leaf.bank.write(names, leaf.slots, (w, m, v))


def _settings(step: Step, count: int, norm: float) -> list[float]:
    """Returns the numbers that one adapter's update needs, in double precision, in the order in which it uses them."""
    keep_m, keep_v = step.betas
    clip = 1.0 if step.clip is None else min(1.0, step.clip / (norm + 1e-6))
    size, correction = step.lr / (1 - keep_m**count), math.sqrt(1 - keep_v**count)
    return [clip, 1 - step.lr * step.weight_decay, keep_m, 1 - keep_m, keep_v, 1 - keep_v, size, correction]


def gradient(leaf: Tensor) -> Tensor:
    """Returns the gradient of a leaf, or zeros where no row of the batch reached the leaf."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
