"""What all intervals need: Wilson's interval, the spread between units, and checks of the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from flyroom.types import Estimate

Z = float(stats.norm.ppf(0.975))
Floats = NDArray[np.float64]


def wilson(p: float, n: float, quantile: float = Z) -> tuple[float, float]:
    z2 = quantile**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = quantile / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))


def spread(mean: float, variance: float, units: int, *, limit: float) -> tuple[float, float, float]:
    """Returns Wilson's interval at the sample size that would give this variance of the mean, at most `limit`, with
    Student's t on units - 1 degrees of freedom; and that sample size.
    """
    if variance < 1e-18:  # the units agree up to rounding, so only their number counts
        return *wilson(mean, units), float(units)
    size = min(limit, mean * (1 - mean) / variance)
    return *wilson(mean, size, float(stats.t.ppf(0.975, units - 1))), size


def hybrid(p: Estimate, q: Estimate, phi: float) -> tuple[float, float]:
    """Returns the interval of p - q from the intervals of both and their correlation (Newcombe 1998, method 10)."""
    down = (p.value - p.low) ** 2 - 2 * phi * (p.value - p.low) * (q.high - q.value) + (q.high - q.value) ** 2
    up = (p.high - p.value) ** 2 - 2 * phi * (p.high - p.value) * (q.value - q.low) + (q.value - q.low) ** 2
    value = p.value - q.value
    return max(-1.0, value - math.sqrt(max(0.0, down))), min(1.0, value + math.sqrt(max(0.0, up)))


def finite(name: str, values: Sequence[float]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {list(array.shape)}; it must be a list of at least one number")
    for index in np.flatnonzero(~np.isfinite(array))[:1]:
        raise ValueError(f"{name}[{index}] is {array[index]}; it must be a finite number")
    return array


def within(name: str, array: Floats, low: float, high: float) -> None:
    for index in np.flatnonzero((array < low) | (array > high))[:1]:
        raise ValueError(f"{name}[{index}] is {array[index]}; it must be between {low} and {high}")


def outcomes_of(name: str, outcomes: Sequence[bool | None]) -> Floats:
    """Returns the outcomes that are not None, as 0 and 1."""
    for index, outcome in enumerate(outcomes):
        if outcome is not None and outcome not in (0, 1):
            raise ValueError(f"{name}[{index}] is {outcome!r}; it must be True, False or None")
    return np.array([bool(outcome) for outcome in outcomes if outcome is not None], dtype=np.float64)
