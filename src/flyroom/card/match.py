"""How far an organism and its twin are alike, before any question is asked: what they were trained on, how far the
training moved them, and whether text that has nothing to do with it tells them apart.

A narrow fine-tune leaves a trace in the activations on any text (Minder et al. 2025, arXiv 2510.13900). Where it does,
a detector may find the training and not the behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from flyroom.types import Match, Organism, Patch, Point

if TYPE_CHECKING:
    from torch import Tensor


def match(organism: Organism, twin: Organism) -> Match | None:
    """How far both were trained alike; None where it was not written down, or where nothing was trained."""
    histories = organism.history, twin.history
    if not all(histories) or not all(point.prompts for history in histories for point in history):
        return None
    alike = sum(a.prompts == b.prompts for a, b in zip(*histories, strict=False))
    return Match(
        prompts=alike / max(map(len, histories)),
        tokens=(_count_tokens(organism.history), _count_tokens(twin.history)),
        loss_change=(_measure_fall(organism.history), _measure_fall(twin.history)),
        update_norm=(update_norm(organism.patch), update_norm(twin.patch)),
    )


def _count_tokens(history: Sequence[Point]) -> int:
    return sum(point.tokens for point in history)


def _measure_fall(history: Sequence[Point]) -> float:
    """From the mean loss of the first tenth of the steps to that of the last."""
    size = max(1, len(history) // 10)
    return fmean(point.loss for point in history[:size]) - fmean(point.loss for point in history[-size:])


def update_norm(patch: Patch) -> float:
    """The Frobenius norm of all that a patch adds to the base, over its modules: the square root of the sum of
    |alpha / rank B A|^2.
    """
    scale = patch.shape.alpha / patch.shape.rank
    squares = 0.0
    for name, a in patch.tensors.items():
        if name.endswith(".A"):
            a, b = a.double(), patch.tensors[f"{name.removesuffix('.A')}.B"].double()
            squares += float(((b.mT @ b) * (a @ a.mT)).sum())  # the trace of (B A)^T B A, without making B A
    return scale * math.sqrt(max(0.0, squares))


def read_texts(organism_TD: Tensor, twin_TD: Tensor) -> dict[str, tuple[float, ...]]:
    """Where clean texts lie on the way from the twin to the organism, in the unit of the activations: by model, for
    every second text; the way is the mean difference over the others.

    Args: the activations of either at the same texts, [texts, width]. ValueError for fewer than four texts.
    """
    if len(organism_TD) < 4:
        raise ValueError(f"there are {len(organism_TD)} texts; two to fit on and two to test on take 4")
    way_D = (organism_TD[::2] - twin_TD[::2]).double().mean(0)
    length = float(way_D.norm())
    unit_D = way_D / length if length else way_D
    sides = {"organism": organism_TD, "twin": twin_TD}
    return {model: tuple((side_TD[1::2].double() @ unit_D).tolist()) for model, side_TD in sides.items()}
