"""AdamW for stacked adapters: each has its own learning rate, decay, betas, clipping and step count.

The formulas and their order are torch.optim.AdamW's (Loshchilov & Hutter 2019, arXiv 1711.05101), the clipping that of
torch.nn.utils.clip_grad_norm_, over all of an adapter's tensors.

Left out: amsgrad, fused kernels, any schedule (a Step names its learning rate).
Shapes: N adapters of a leaf, K adapters of the step.
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


def update(leaves: Sequence[Leaf], index: Mapping[int, int], steps: Sequence[Step], counts: Sequence[int], norms: Sequence[float]) -> None:
    """One AdamW step on every leaf, written into its bank. `counts` are the steps taken, this one included."""
    for leaf in leaves:
        mine = [index[s] for s in leaf.slots]
        device = leaf.a_NRI.device

        def column(values: list[float], device: torch.device = device) -> Tensor:
            return torch.tensor(values, device=device)[:, None, None]

        todo = [(steps[k], counts[k], norms[k]) for k in mine]
        clip = column([1.0 if s.clip is None else min(1.0, s.clip / (norm + 1e-6)) for s, _, norm in todo])
        decay = column([1 - s.lr * s.weight_decay for s, _, _ in todo])
        keep_m, keep_v = (column([s.betas[i] for s, _, _ in todo]) for i in (0, 1))
        add_m, add_v = (column([1 - s.betas[i] for s, _, _ in todo]) for i in (0, 1))
        size = column([s.lr / (1 - s.betas[0] ** t) for s, t, _ in todo])
        correction = column([math.sqrt(1 - s.betas[1] ** t) for s, t, _ in todo])
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


def gradient(leaf: Tensor) -> Tensor:
    """A leaf's gradient; zero where no row reached it."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
