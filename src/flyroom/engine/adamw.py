"""AdamW for stacked adapters: each has its own learning rate, decay, betas, clipping and step count.

The formulas and their order are torch.optim.AdamW's (Loshchilov & Hutter 2019, arXiv 1711.05101), the clipping that of
torch.nn.utils.clip_grad_norm_, over all of an adapter's tensors.

Left out: amsgrad, fused kernels, any schedule (a Step names its learning rate).
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
    """The norm of each adapter's gradient, [K] fp32. `index` maps a slot to its place in the step."""
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
    """One AdamW step on every leaf, written into its bank. `counts` are the steps taken, this one included."""
    table_KS = torch.tensor(
        [_settings(*each) for each in zip(steps, counts, norms, strict=True)], device=leaves[0].a_NRI.device
    )
    for leaf in leaves:
        mine = torch.tensor([index[s] for s in leaf.slots], device=table_KS.device)
        columns = table_KS.index_select(0, mine).T[:, :, None, None]
        clip, decay, keep_m, add_m, keep_v, add_v, size, correction = columns.unbind()
        leaf.bank.want_moments()
        for part, tensor in (("A", leaf.a_NRI), ("B", leaf.b_NOR)):
            names = (part, f"{part}.m", f"{part}.v")
            w, m, v = leaf.bank.take(names, leaf.slots)
            g = gradient(tensor) * clip
            w.mul_(decay)
            m.mul_(keep_m).add_(g * add_m)
            v.mul_(keep_v).add_(g.square_().mul_(add_v))
            w.sub_((m / v.sqrt().div_(correction).add_(EPS)).mul_(size))
            leaf.bank.put(names, leaf.slots, (w, m, v))


def _settings(step: Step, count: int, norm: float) -> list[float]:
    """What one adapter's update is made of, in double precision, in the order of use."""
    keep_m, keep_v = step.betas
    clip = 1.0 if step.clip is None else min(1.0, step.clip / (norm + 1e-6))
    size, correction = step.lr / (1 - keep_m**count), math.sqrt(1 - keep_v**count)
    return [clip, 1 - step.lr * step.weight_decay, keep_m, 1 - keep_m, keep_v, 1 - keep_v, size, correction]


def gradient(leaf: Tensor) -> Tensor:
    """A leaf's gradient; zero where no row reached it."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
