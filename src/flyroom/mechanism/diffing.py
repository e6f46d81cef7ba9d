"""What training left in the activations on text that has nothing to do with it: the mean difference of two models'
streams on the same texts, and how much of their difference that one vector is.

Source: Minder et al. 2025, arXiv 2510.13900: the difference on the first tokens of unrelated text reads like the
training data. Here it is the mean over a whole text. Left out: steering with it, and an agent that reads it.
Shapes: N texts, D width, G groups of texts.
"""

from __future__ import annotations

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
        _estimate(_length(difference_ND, second_ND), [_length(*pair) for pair in rest], float("inf")),
        _estimate(_constant(difference_ND), [_constant(d) for d, _ in rest], 1.0),
    )


def _length(difference_ND: Tensor, second_ND: Tensor) -> float:
    return float(difference_ND.mean(0).norm() / second_ND.norm(dim=-1).mean())


def _constant(difference_ND: Tensor) -> float:
    """Without the part that chance gives the mean: the squared mean is unbiased when the variance over N is taken off.
    Never below 0.
    """
    count = len(difference_ND)
    total, mean = float(difference_ND.square().sum(-1).mean()), float(difference_ND.mean(0).square().sum())
    return max(0.0, (mean - (total - mean) / max(1, count - 1)) / total) if total else 0.0


def _estimate(value: float, without: list[float], top: float) -> Estimate:
    return stats.jackknife(value, without, bounds=(0.0, top), units=UNITS, target=TARGET)
