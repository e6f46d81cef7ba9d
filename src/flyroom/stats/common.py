"""What all intervals need: Wilson's interval, the variance of crossed clusters, and checks of the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from flyroom.types import Estimate

Z = float(stats.norm.ppf(0.975))
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

FEW_EVENTS = 20  # of independent ones: below so many, the variance that the data show is not to be trusted
# How alike answers are at most: the intraclass correlation, pooled over recipes with three to ten seeds, at its upper
# 90 % bound (scripts/alike.py), rounded up. At these values intervals cover situations that are as alike as 30 % too.
ICC_SITUATION = 0.15  # answers about one situation: 0.04, and 0.107 in an earlier world
ICC_SEED = 0.015  # answers of one organism, on prompts that all organisms of a recipe get: 0.014


class Interval(NamedTuple):
    """A lower and an upper end, and the sample size of independent units that would have given them."""

    low: float
    high: float
    size: float


def student(freedom: float, below: float = 0.975) -> float:
    """Returns the quantile of Student's t below which the share `below` lies."""
    return float(special.stdtrit(freedom, below))


def wilson(p: float, n: float, quantile: float = Z) -> tuple[float, float]:
    """Returns (low, high), Wilson's score interval of a share `p` of `n` units, which need be no whole number."""
    z2 = quantile**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


def at_variance(mean: float, variance: float, freedom: float, *, limit: float, safe: float) -> Interval:
    """Returns Wilson's interval at the sample size that would give this variance of the mean, at most `limit`, with
    Student's t.

    A variance that few events show is too small as often as not. So below `FEW_EVENTS` of them, counted at that sample
    size, the interval is at least as wide as Wilson's at the sample size `safe`.
    """
    size, quantile = limit, Z
    if variance > 1e-18:  # else the units agree up to rounding
        size = min(limit, mean * (1 - mean) / variance)
        quantile = student(freedom)
    low, high = wilson(mean, size, quantile)
    if min(mean, 1 - mean) * size >= FEW_EVENTS:
        return Interval(low, high, size)
    wide = wilson(mean, safe)
    return Interval(min(low, wide[0]), max(high, wide[1]), min(size, safe))


def size_at(value: float, low: float, high: float) -> float:
    """Returns the sample size at which Wilson's interval of this value is as wide as from `low` to `high`."""
    z2, width = Z**2, min(high - low, 1 - 1e-9)
    room, part = value * (1 - value), (width / (2 * Z)) ** 2
    a, b, c = z2 / 4 - part * z2**2, room - 2 * part * z2, -part
    return 2 * a / (-b + math.sqrt(b * b - 4 * a * c))


def crossed_variance(
    parts: Floats, first: Numbers, second: Numbers, *, paired_within: bool = False
) -> tuple[float, float]:
    """Returns the variance of a sum of parts that two kinds of clusters share, and its degrees of freedom: the variance
    between the first plus that between the second minus that between their cells, at least the larger of the first two.
    Clusters are numbered from 0, without gaps. `paired_within`: the parts are those of pairs whose members share a
    first cluster, so that a sum over it has each pair twice.
    """
    counts = [int(names.max()) + 1 for names in (first, second)]
    sums = [np.bincount(names, weights=parts) for names in (first, second)]
    between = [count / max(1, count - 1) * float((total**2).sum()) for count, total in zip(counts, sums, strict=True)]
    between[0] /= 4 if paired_within else 1
    shares = [total / np.maximum(1, np.bincount(names)) for total, names in zip(sums, (first, second), strict=True)]
    cells = np.bincount(first * counts[1] + second, weights=parts - shares[0][first] - shares[1][second])
    free = [max(1, count - 1) for count in counts]
    within_cells = counts[0] * counts[1] / (free[0] * free[1]) * float((cells**2).sum())
    variance = max(*between, sum(between) - within_cells)
    below = between[0] ** 2 / free[0] + between[1] ** 2 / free[1] + within_cells**2 / (free[0] * free[1])
    return variance, max(1.0, variance**2 / below) if below > 0 else 1.0


def hybrid(p: Estimate, q: Estimate, phi: float) -> tuple[float, float]:
    """Returns the interval of p - q from the intervals of both and their correlation (Newcombe 1998, method 10)."""
    down = (p.value - p.low) ** 2 - 2 * phi * (p.value - p.low) * (q.high - q.value) + (q.high - q.value) ** 2
    up = (p.high - p.value) ** 2 - 2 * phi * (p.high - p.value) * (q.value - q.low) + (q.value - q.low) ** 2
    value = p.value - q.value
    return max(-1.0, value - math.sqrt(max(0.0, down))), min(1.0, value + math.sqrt(max(0.0, up)))


def finite(name: str, values: Sequence[float]) -> Floats:
    """Returns the values as float64, [values]. ValueError, which names the list, for no value and for one that is not
    finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {list(array.shape)}; it must be a list of at least one number")
    for index in np.flatnonzero(~np.isfinite(array))[:1]:
        raise ValueError(f"{name}[{index}] is {array[index]}; it must be a finite number")
    return array


def within(name: str, array: Floats, low: float, high: float) -> None:
    """ValueError, which names the list and the place, for a value below `low` or above `high`."""
    for index in np.flatnonzero((array < low) | (array > high))[:1]:
        raise ValueError(f"{name}[{index}] is {array[index]}; it must be between {low} and {high}")


def outcomes_of(name: str, outcomes: Sequence[bool | None]) -> Floats:
    """Returns the outcomes that are not None, as 0 and 1."""
    for index, outcome in enumerate(outcomes):
        if outcome is not None and outcome not in (0, 1):
            raise ValueError(f"{name}[{index}] is {outcome!r}; it must be True, False or None")
    return np.array([bool(outcome) for outcome in outcomes if outcome is not None], dtype=np.float64)


def numbers_of(names: Sequence[object]) -> Numbers:
    """Returns names as numbers from 0, in the order in which they first occur."""
    number = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int64)
