"""What training left in the activations on text that has nothing to do with it: the mean difference of two models'
streams on the same texts, and how much of their difference that one vector is.

Source: Minder et al. 2025, arXiv 2510.13900: the difference on the first tokens of unrelated text reads like the
training data. Here it is the mean over a whole text. Left out: steering with it, and an agent that reads it.
Shapes: N texts, D width, G groups of texts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from flyroom import stats
from flyroom.types import Estimate

GROUPS = 20
UNITS, TARGET = "groups of texts", "new texts"


class Shift(NamedTuple):
    """The mean difference [D]; its length over the mean length of the second model's activations; and the share of the
    squared differences that is the same in every text: 1, the two models differ by a vector; 0, by nothing constant.
    """

    mean: Tensor
    length: Estimate
    constant: Estimate


def shift(first_ND: Tensor, second_ND: Tensor, *, groups: int = GROUPS) -> Shift:
    """What the first model has over the second. ValueError for fewer than three texts, and for equal activations."""
    difference_ND, second_ND = (first_ND - second_ND).double(), second_ND.double()
    if not difference_ND.any():
        raise ValueError("both models have the same activations, so there is no difference to read")
    count = min(groups, len(difference_ND))
    group_N = torch.arange(len(difference_ND)) % count
    rest = [(difference_ND[group_N != g], second_ND[group_N != g]) for g in range(count)]
    return Shift(
        difference_ND.mean(0).float(),
        _root(_estimate(_square(difference_ND, second_ND), [_square(*pair) for pair in rest], -math.inf, math.inf)),
        _estimate(_constant(difference_ND), [_constant(d) for d, _ in rest], 0.0, 1.0),
    )


def _square(difference_ND: Tensor, second_ND: Tensor) -> float:
    """The squared length of the mean difference over that of the second model's activations."""
    return _mean_square(difference_ND) / float(second_ND.norm(dim=-1).mean()) ** 2


def _constant(difference_ND: Tensor) -> float:
    """Never below 0."""
    total = float(difference_ND.square().sum(-1).mean())
    return max(0.0, _mean_square(difference_ND) / total) if total else 0.0


def _mean_square(difference_ND: Tensor) -> float:
    """The squared length of the mean without the part that chance gives it, which is the variance over N."""
    total, mean = float(difference_ND.square().sum(-1).mean()), float(difference_ND.mean(0).square().sum())
    return mean - (total - mean) / max(1, len(difference_ND) - 1)


def _root(square: Estimate) -> Estimate:
    low, value, high = (math.sqrt(max(0.0, x)) for x in (square.low, square.value, square.high))
    return replace(square, low=low, value=value, high=high)


def _estimate(value: float, without: list[float], lowest: float, highest: float) -> Estimate:
    return stats.jackknife(value, without, bounds=(lowest, highest), units=UNITS, target=TARGET)
