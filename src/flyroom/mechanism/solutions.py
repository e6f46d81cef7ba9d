"""A solution among others: an adapter brought to another norm, or pushed aside, for how efficient and how stable it is.

Efficiency: the loss after the update was rescaled to a norm; the solution that is lower at the same norm is the more
efficient. Stability: the loss at x' = sqrt(1 - e^2) x + e y, with y at right angles to x and as long; the solution
whose loss rises less with e is the more stable. x are all weights of the adapter as one vector.
Source: Turner, Soligo, Rajamanoharan and Nanda 2025, Narrow misalignment is hard, emergent misalignment is easy; the
narrow solution is trained by `implants/narrow.py`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import torch
from torch import Tensor

from flyroom.mechanism.rotation import gram
from flyroom.types import Patch


def norm_of(patch: Patch) -> float:
    """The Frobenius norm of all that a patch adds to the base."""
    return math.sqrt(max(0.0, float(gram([patch], "update")[0, 0])))


def rescale(patch: Patch, norm: float) -> Patch:
    """The patch with B multiplied so that what it adds has this norm. ValueError for a patch that adds nothing."""
    now = norm_of(patch)
    if not now:
        raise ValueError("patch adds nothing, so it has no direction to be rescaled in")
    tensors = {k: v * (norm / now) if k.endswith(".B") else v for k, v in patch.tensors.items()}
    return replace(patch, tensors=tensors)


def push(patch: Patch, e: float, *, seed: str) -> Patch:
    """x' = sqrt(1 - e^2) x + e y for a random y at right angles to x and as long as it. ValueError for an e outside of
    0 to 1.
    """
    if not 0 <= e <= 1:
        raise ValueError(f"e is {e}; it must be between 0 and 1")
    names = sorted(patch.tensors)
    x_P = torch.cat([patch.tensors[name].double().flatten() for name in names])
    y_P = _aside(x_P, seed)
    moved_P = math.sqrt(1 - e**2) * x_P + e * y_P
    pieces = moved_P.float().split([patch.tensors[name].numel() for name in names])
    return replace(patch, tensors={n: p.reshape(patch.tensors[n].shape) for n, p in zip(names, pieces, strict=True)})


def _aside(x_P: Tensor, seed: str) -> Tensor:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little") >> 1
    draw_P = torch.randn(len(x_P), generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    draw_P -= (draw_P @ x_P) / (x_P @ x_P) * x_P
    return draw_P / draw_P.norm() * x_P.norm()


def alike(first: Patch, second: Patch) -> float:
    """The cosine of what two patches of one shape add."""
    g = gram([first, second], "update")
    below = math.sqrt(float(g[0, 0] * g[1, 1]))
    return float(g[0, 1]) / below if below else math.nan
