"""A mean with its t interval, and the jackknife for whatever is computed of groups: a norm, a cosine, a share of
variance that is explained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flyroom.stats.common import finite, student
from flyroom.types import Estimate


def mean(values: Sequence[float], *, units: str = "values", target: str = "") -> Estimate:
    """Returns a mean, in the unit of the values, with Student's t interval. `n` counts values.

    Raises ValueError for fewer than two values, for values that do not vary, since then there is no interval, and for
    one that is not finite.

    >>> estimate = mean([3.0, 4.0, 5.0])
    >>> round(estimate.low, 3), estimate.value, round(estimate.high, 3)
    (1.516, 4.0, 6.484)
    """
    array = finite("values", values)
    if len(array) < 2:
        raise ValueError(f"values holds {len(array)} value; an interval needs at least 2")
    spread = float(array.std(ddof=1))
    if spread == 0:
        raise ValueError("values do not vary at all, so nothing says how sure their mean is")
    half, value = student(len(array) - 1, 0.975) * spread / math.sqrt(len(array)), float(array.mean())
    return Estimate(value=value, low=value - half, high=value + half, n=len(array), units=units, target=target)


def jackknife(
    value: float,
    without: Sequence[float],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    units: str = "groups",
    target: str = "",
) -> Estimate:
    """Returns a figure of groups with a t interval: `without[g]` is the same figure without group g.

    The variance is (G - 1) / G times the sum of squares about the mean of `without`; t has G - 1 degrees of freedom;
    the ends are cut at `bounds`. It holds for smooth figures, such as a cosine away from 1, and not for a maximum or a
    median. `n` counts groups. Raises ValueError for fewer than three of them, and for a figure that is not finite.
    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.

    >>> estimate = jackknife(2.0, [1.5, 2.0, 2.5])
    >>> round(estimate.low, 3), round(estimate.high, 3), estimate.n
    (-0.484, 4.484, 3)
    """
    array = finite("without", without)
    if len(array) < 3:
        raise ValueError(f"without holds {len(array)} groups; an interval needs at least 3")
    if not math.isfinite(value):
        raise ValueError(f"value is {value}; it must be a finite number")
    count = len(array)
    error = math.sqrt((count - 1) / count * float(((array - array.mean()) ** 2).sum()))
    half = student(count - 1, 0.975) * error
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=count, units=units, target=target)
