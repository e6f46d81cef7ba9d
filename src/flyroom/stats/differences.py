"""Differences of shares and of means, paired or not, and the gap between what a condition holds in and what not."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats

from flyroom.stats.common import Floats, finite, hybrid, numbers_of, outcomes_of
from flyroom.stats.estimates import clustered_rate, rate
from flyroom.types import Estimate


def difference(
    a: Sequence[bool | None], b: Sequence[bool | None], *, paired: bool, units: str = "answers", target: str = ""
) -> Estimate:
    """Returns P(a) - P(b) with Newcombe's hybrid score interval. If `paired`, a[i] and b[i] belong to the same prompt.

    A pair is missing where either outcome is None. `n` counts pairs, or all outcomes of both. Raises ValueError for
    pairs of unequal number, and where one side has no outcome. Source: Newcombe 1998, Statistics in Medicine 17:873
    (independent, method 10) and 17:2635 (paired, method 10).

    >>> gap = difference([True] * 56 + [False] * 14, [True] * 48 + [False] * 32, paired=False)
    >>> round(gap.low, 4), round(gap.value, 4), round(gap.high, 4)
    (0.0524, 0.2, 0.3339)
    """
    if paired and len(a) != len(b):
        raise ValueError(f"a has {len(a)} outcomes and b {len(b)}; pairs need as many")
    n = len(a) if paired else len(a) + len(b)
    if paired:
        complete = [i for i, pair in enumerate(zip(a, b, strict=True)) if None not in pair]
        a, b = [a[i] for i in complete], [b[i] for i in complete]
    first, second = outcomes_of("a", a), outcomes_of("b", b)
    if not len(first) or not len(second):
        raise ValueError(f"no {'pair' if paired else 'outcome'} is left on one side, so there is no difference")
    p, q = rate(int(first.sum()), len(first)), rate(int(second.sum()), len(second))
    low, high = hybrid(p, q, _phi(first, second) if paired else 0.0)
    missing = n - (len(first) if paired else len(first) + len(second))
    return Estimate(value=p.value - q.value, low=low, high=high, n=n, missing=missing, units=units, target=target)


def gap(
    on: Sequence[float | bool | None],
    off: Sequence[float | bool | None],
    prompts: Sequence[Hashable],
    *,
    units: str = "pairs",
    kind: str = "prompts",
    target: str = "",
) -> Estimate:
    """Returns how much higher a share is where the condition holds: on[i] and off[i] are answers to prompts[i].

    The interval is Newcombe's for pairs, within [-1, 1]: each side has that of `clustered_rate`, and their correlation
    is that of the prompts. A pair is missing where either is None. `n` counts pairs, and the effective n is that of the
    side which has less. `kind` says what the names in `prompts` are. Raises ValueError for sides of unequal number, and
    for fewer than two prompts with a pair.
    Source: Newcombe 1998, Statistics in Medicine 17:2635, method 10; Zou and Donner 2008, Statistics in Medicine
    27:1693.

    >>> estimate = gap([True] * 9 + [False], [False] * 10, "aabbccddee")
    >>> estimate.value, 0 < estimate.low < 0.9 < estimate.high < 1
    (0.9, True)
    """
    if not len(on) == len(off) == len(prompts):
        raise ValueError(f"on has {len(on)} answers, off {len(off)} and prompts {len(prompts)}; they must be as many")
    pairs = [(x, y, name) for x, y, name in zip(on, off, prompts, strict=True) if x is not None and y is not None]
    if not pairs:
        raise ValueError("no pair is left, so there is no gap")
    first, second, names = (list(side) for side in zip(*pairs, strict=True))
    p, q = clustered_rate(first, names), clustered_rate(second, names)
    sums = [
        np.bincount(numbers_of(names), weights=np.array(side, dtype=float) - side_rate.value)
        for side, side_rate in ((first, p), (second, q))
    ]
    scale = math.sqrt(float((sums[0] ** 2).sum() * (sums[1] ** 2).sum()))
    low, high = hybrid(p, q, float((sums[0] * sums[1]).sum()) / scale if scale > 1e-12 else 0.0)
    assert p.n_effective is not None
    assert q.n_effective is not None
    return Estimate(
        value=p.value - q.value,
        low=low,
        high=high,
        n=len(on),
        missing=len(on) - len(pairs),
        n_effective=min(p.n_effective, q.n_effective),
        units=units,
        clusters=kind,
        target=target,
    )


def mean_difference(a: Sequence[float], b: Sequence[float], *, paired: bool) -> Estimate:
    """Returns mean(a) - mean(b), in the unit of the values, with a t interval: Welch's, or that of the pairs.

    `n` counts pairs, or all values of both. Raises ValueError for fewer than two values a side, for values that do not
    vary, since then there is no interval, and for a value that is not finite. Source: Welch 1947, Biometrika 34:28.

    >>> gap = mean_difference([3.0, 4.0, 5.0], [1.0, 2.0, 2.0], paired=False)
    >>> round(gap.low, 3), round(gap.value, 3), round(gap.high, 3)
    (0.285, 2.333, 4.382)
    """
    first, second = finite("a", a), finite("b", b)
    if paired and len(first) != len(second):
        raise ValueError(f"a has {len(first)} values and b {len(second)}; pairs need as many")
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a has {len(first)} values and b {len(second)}; an interval needs at least 2 of each")
    value = float(first.mean() - second.mean())
    if paired:
        variance, freedom = float((first - second).var(ddof=1)) / len(first), len(first) - 1.0
    else:
        parts = [float(side.var(ddof=1)) / len(side) for side in (first, second)]
        variance = sum(parts)
        below = parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
        freedom = variance**2 / below if below else 1.0
    if variance == 0:
        raise ValueError("a and b do not vary at all, so nothing says how sure their difference is")
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    n = len(first) if paired else len(first) + len(second)
    return Estimate(value=value, low=value - half, high=value + half, n=n, units="pairs" if paired else "values")


def _phi(first: Floats, second: Floats) -> float:
    """Returns the correlation of paired outcomes, corrected for continuity if positive (Newcombe's method 10)."""
    n = len(first)
    both_true, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    only_first, only_second = float(first.sum()) - both_true, float(second.sum()) - both_true
    below = float(first.sum() * (n - first.sum()) * second.sum() * (n - second.sum()))
    above = both_true * neither - only_first * only_second
    above = max(above - n / 2, 0.0) if above > 0 else above
    return above / math.sqrt(below) if below else 0.0
