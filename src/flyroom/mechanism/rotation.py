"""How an adapter turned while it was trained: the local rotation at each step, norms, and how few directions the way
took.

    rotation at s = cos( v[s-k] - v[s],  v[s+k] - v[s] )

-1 means straight on, 0 a right angle, 1 back the way it came. It is skipped where either difference is below a floor,
for there it is the rotation of noise. v is what the adapter adds, B A; A and B alone are given too.
Source: Turner et al. 2025, arXiv 2506.11613 (a rotation of a rank-1 adapter at its phase transition).

Everything follows from the inner products of checkpoints, so no B A is ever made: <B A, B' A'> = sum (B^T B') (A A'^T).
A figure here is exact for its run and says nothing of another.
Shapes: S checkpoints, R rank, I in, O out, P all weights of a kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from flyroom.adapters import paths_of
from flyroom.types import Patch

FLOOR = 0.01  # of the length of the whole way: a shorter difference has no direction
Kind = Literal["update", "A", "B"]
KINDS: tuple[Kind, ...] = ("update", "A", "B")


class Turn(NamedTuple):
    """The local rotation at a step; None where a difference is below the floor."""

    step: int
    rotation: float | None


def gram(patches: Sequence[Patch], kind: Kind) -> Tensor:
    """The inner products of what checkpoints add ("update"), or of their A or B, over all modules: [S, S] fp64."""
    first = patches[0]
    if any(patch.shape != first.shape for patch in patches):
        raise ValueError("patches have several shapes; checkpoints of one run have one")
    scale = first.shape.alpha / first.shape.rank if kind == "update" else 1.0
    total = torch.zeros(len(patches), len(patches), dtype=torch.float64)
    for path in paths_of(first):
        a_SRI, b_SOR = (torch.stack([p.tensors[f"{path}.{part}"].double() for p in patches]) for part in "AB")
        total += scale**2 * _products(a_SRI, b_SOR) if kind == "update" else _flat(a_SRI if kind == "A" else b_SOR)
    return total


def _products(a_SRI: Tensor, b_SOR: Tensor) -> Tensor:
    """Row by row: at rank 32 and a few hundred checkpoints the whole would not fit."""
    rows = [
        (torch.einsum("or,sop->srp", b_SOR[i], b_SOR) * torch.einsum("ri,spi->srp", a_SRI[i], a_SRI)).sum((1, 2))
        for i in range(len(a_SRI))
    ]
    return torch.stack(rows)


def _flat(weights: Tensor) -> Tensor:
    flat_SP = weights.flatten(1)
    return flat_SP @ flat_SP.T


def turns(steps: Sequence[int], gram_SS: Tensor, span: int, *, floor: float = FLOOR) -> list[Turn]:
    """The local rotation at every step that has checkpoints `span` steps before and after it.

    `floor` is a share of the largest distance between two checkpoints.

    >>> line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0]])
    >>> [turn.rotation for turn in turns([0, 1, 2, 3], line @ line.T, 1)]
    [-1.0, 0.0]
    """
    if span < 1:
        raise ValueError(f"span is {span}; it must be at least 1")
    place = {step: i for i, step in enumerate(steps)}
    least = floor * math.sqrt(max(0.0, float(_distances(gram_SS).max()))) if len(steps) else 0.0
    inside = [step for step in steps if step - span in place and step + span in place]
    return [Turn(s, _rotation(gram_SS, place[s - span], place[s], place[s + span], least)) for s in inside]


def _distances(gram_SS: Tensor) -> Tensor:
    """Squared distances between all checkpoints."""
    squares_S = gram_SS.diagonal()
    return (squares_S[:, None] + squares_S - 2 * gram_SS).clamp_min(0)


def _rotation(g: Tensor, before: int, at: int, after: int, least: float) -> float | None:
    far = [math.sqrt(max(0.0, float(g[i, i] - 2 * g[i, at] + g[at, at]))) for i in (before, after)]
    if min(far) <= max(least, 1e-12):
        return None
    product = float(g[before, after] - g[before, at] - g[at, after] + g[at, at])
    return max(-1.0, min(1.0, product / (far[0] * far[1])))


def explained(gram_SS: Tensor, components: int = 3) -> list[float]:
    """The shares of the checkpoints' variance along their first principal components: near 1 for the first, the way was
    a straight line. Nothing where they are all the same.
    """
    centred = gram_SS - gram_SS.mean(0) - gram_SS.mean(1, keepdim=True) + gram_SS.mean()
    values = torch.linalg.eigvalsh(centred).flip(0).clamp_min(0)
    total = float(values.sum())
    return (values[:components] / total).tolist() if total > 0 else []


def sharpest(run_turns: Sequence[Turn]) -> Turn | None:
    """The step at which the adapter turned most; None where nothing moved."""
    by_step: Mapping[int, float] = {turn.step: turn.rotation for turn in run_turns if turn.rotation is not None}
    return Turn(step := max(by_step, key=by_step.__getitem__), by_step[step]) if by_step else None
