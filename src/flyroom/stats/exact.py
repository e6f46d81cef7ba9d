"""Shares of a few units, such as the seeds of a recipe that pass: an interval that is never too narrow."""

from __future__ import annotations

from scipy import stats

from flyroom.types import Estimate


def exact_rate(hits: int, n: int) -> Estimate:
    """Returns a share of independent units with the interval of Clopper and Pearson, two-sided 95 %: it contains the
    truth in at least 95 % of cases, whatever the truth is, and in more where units are few.

    Raises ValueError unless 0 <= hits <= n and n > 0. Source: Clopper and Pearson 1934, Biometrika 26:404.

    >>> estimate = exact_rate(10, 10)
    >>> round(estimate.low, 3), estimate.value, estimate.high
    (0.692, 1.0, 1.0)
    """
    if not 0 <= hits <= n or n == 0:
        raise ValueError(f"hits {hits}, n {n}: it must be 0 <= hits <= n and n > 0")
    low = float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return Estimate(value=hits / n, low=low, high=high, n=n, n_effective=float(n), units="seeds")
