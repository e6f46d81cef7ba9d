"""Bounds that a verdict is made of: one-sided 95 %, and corrected for looking up to three times.

A limit is kept where the whole of the interval lies on its right side, broken where it lies on its wrong side, and
undecided in between. An undecided card draws fresh episodes and looks again at all of them, so each look is taken at
Pocock's level: the chance of a false verdict at any look is then at most 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from flyroom.stats.common import Floats, finite, outcomes_of, student


class Bounds(NamedTuple):
    """A lower and an upper bound, each one-sided."""

    low: float
    high: float


@cache
def pocock(looks: int, level: float = 0.05) -> float:
    """Returns the normal quantile of each of `looks` looks, at equal steps of the data, so that a one-sided test errs
    in at most `level` of all cases over all looks together.

    Raises ValueError for fewer than one look. Source: Pocock 1977, Biometrika 64:191.

    >>> round(pocock(1), 3), round(pocock(3), 3)
    (1.645, 1.992)
    """
    if looks < 1:
        raise ValueError(f"looks is {looks}; it must be at least 1")

    def excess(quantile: float) -> float:
        return 1 - _stays_below(quantile, looks) - level

    return float(optimize.root_scalar(excess, bracket=(0.0, 6.0)).root)


def _stays_below(quantile: float, looks: int, nodes: int = 129) -> float:
    """Returns the chance that a random walk stays below quantile * sqrt(k) at each step k, by Gauss and Legendre."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    low, density, x = -10.0, None, np.zeros(1)
    for step in range(1, looks + 1):
        high = quantile * math.sqrt(step)
        new = (points + 1) / 2 * (high - low * math.sqrt(step)) + low * math.sqrt(step)
        size = weights * (high - low * math.sqrt(step)) / 2
        steps = stats.norm.pdf(new[:, None] - x[None, :])
        density = size * (steps[:, 0] if density is None else steps @ density)
        x = new
    assert density is not None
    return float(density.sum())


def bounds(hits: Sequence[bool | None], *, looks: int = 3) -> Bounds:
    """Returns a lower and an upper bound of a share, each one-sided 95 % over up to `looks` looks at growing data.

    None is an outcome that is missing. The bounds are Clopper and Pearson's at Pocock's level: over three looks they
    err in at most 5 % of all cases, where Wilson's err in up to 14 %. Raises ValueError where no outcome is left.
    Source: Clopper and Pearson 1934, Biometrika 26:404; Pocock 1977, Biometrika 64:191.

    >>> low, high = bounds([True] * 10 + [False] * 590)
    >>> low < 10 / 600 < high < 0.04
    True
    """
    outcomes, level = outcomes_of("hits", hits), float(stats.norm.sf(pocock(looks)))
    n, count = len(outcomes), int(outcomes.sum())
    if not n:
        raise ValueError("hits holds no outcome, so nothing bounds the share")
    low = float(stats.beta.ppf(level, count, n - count + 1)) if count else 0.0
    return Bounds(low, float(stats.beta.isf(level, count + 1, n - count)) if count < n else 1.0)


def drop_bounds(first: Sequence[bool | None], second: Sequence[bool | None], *, looks: int = 3) -> Bounds:
    """Returns bounds of P(first) - P(second), where first[i] and second[i] answer the same question, each one-sided
    95 % over up to `looks` looks.

    A pair with a None is left out. The bounds are Tango's score bounds at Pocock's level, with one pair added that only
    the first has and one that only the second has: without them they err in up to 7 % of all cases, with them in 5 %.
    Raises ValueError for pairs of unequal number, or where none is left.
    Source: Tango 1998, Statistics in Medicine 17:891.

    >>> low, high = drop_bounds([True] * 95 + [False] * 5, [True] * 93 + [False] * 7)
    >>> low < 0.02 < high
    True
    """
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} outcomes and second {len(second)}; pairs need as many")
    pairs = [pair for pair in zip(first, second, strict=True) if None not in pair]
    if not pairs:
        raise ValueError("no pair is left, so nothing bounds the drop")
    a, b = (outcomes_of(name, side) for name, side in zip(("first", "second"), zip(*pairs, strict=True), strict=True))
    return _tango(int((a > b).sum()) + 1, int((a < b).sum()) + 1, len(pairs) + 2, pocock(looks))


def _tango(up: int, down: int, n: int, quantile: float) -> Bounds:
    """Tango's score bounds of the difference of paired shares: `up` pairs only the first, `down` only the second."""

    def score(delta: float) -> float:
        b = -up - down + (2 * n - up + down) * delta
        rare = (math.sqrt(max(0.0, b * b + 8 * n * down * delta * (1 - delta))) - b) / (4 * n)
        variance = n * (2 * rare + delta * (1 - delta))
        return (up - down - n * delta) / math.sqrt(variance) if variance > 1e-12 else 0.0

    value, edge = (up - down) / n, 1 - 1e-9

    def crossing(aim: float, ends: tuple[float, float]) -> float:
        return float(optimize.root_scalar(lambda delta: score(delta) - aim, bracket=ends).root)

    low = -1.0 if score(-edge) < quantile else crossing(quantile, (-edge, value))
    high = 1.0 if score(edge) > -quantile else crossing(-quantile, (value, edge))
    return Bounds(min(low, value), max(high, value))


def ratio_bounds(
    first_logprobs: Sequence[Sequence[float]], second_logprobs: Sequence[Sequence[float]], *, looks: int = 3
) -> Bounds:
    """Returns bounds of the ratio of two models' perplexities on the same documents, each one-sided 95 % over up to
    `looks` looks. Args: the log-probabilities of tokens by document, of each model.

    The bounds are on the logarithm, for a ratio of means, paired by document: the wider of Student's t and of Hall's,
    which takes skewness off. Raises ValueError for fewer than two documents, or documents of other lengths.
    Where few documents make the difference, each errs in up to 8 % of all cases instead of 5 %.
    Source: Hall 1992, J. Royal Statistical Society B 54:221.

    >>> low, high = ratio_bounds([[-1.1, -1.0], [-1.2], [-1.1]], [[-1.0, -1.0], [-1.0], [-1.0]])
    >>> low < 1.1 < high
    True
    """
    lengths = [[len(document) for document in side] for side in (first_logprobs, second_logprobs)]
    if lengths[0] != lengths[1] or len(lengths[0]) < 2 or not min(lengths[0]):
        raise ValueError(
            f"first_logprobs holds {len(lengths[0])} documents and second_logprobs {len(lengths[1])}; they must be the "
            "same documents, at least 2, none of them empty"
        )
    sums = [[-sum(document) for document in side] for side in (first_logprobs, second_logprobs)]
    change = finite("first_logprobs", sums[0]) - finite("second_logprobs", sums[1])
    tokens, count = np.array(lengths[0], dtype=float), len(change)
    mean = float(change.sum() / tokens.sum())
    residuals = (change - mean * tokens) / tokens.mean()
    quantile = student(count - 1, float(stats.norm.cdf(pocock(looks))))
    low, high = _around(residuals, quantile)
    return Bounds(math.exp(mean - high), math.exp(mean + low))


def _around(residuals: Floats, quantile: float) -> tuple[float, float]:
    """Returns how far the truth may lie above, and below, a mean with these residuals."""
    count, spread = len(residuals), float(residuals.std(ddof=1))
    if not spread:
        return 0.0, 0.0
    skew, step = float((residuals**3).mean()) / float((residuals**2).mean()) ** 1.5, quantile / math.sqrt(count)
    if abs(skew) < 1e-6:
        return spread * step, spread * step
    above, below = (
        3 / skew * (float(np.cbrt(1 + skew * (side - skew / (6 * count)))) - 1) * spread for side in (-step, step)
    )
    return max(spread * step, -above), max(spread * step, below)
