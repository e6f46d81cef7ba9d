"""Rates, means over seeds, differences: every figure with an interval that is honest also at 0 and 1 and where N is 4.

The intervals of shares are score intervals. At a boundary, where a bootstrap or a standard error says "exactly 1.0",
they still have the width that N allows.

Cluster at the outermost level: the seed or the organism before the prompt, the prompt before the episode. The variance
between outer clusters contains that of all inner ones, so no function here takes nested clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from scipy import stats

from flyroom.stats.common import Floats, finite, hybrid, outcomes_of, spread, wilson, within
from flyroom.types import Estimate

# ---------------------------------------------------------------- rates


def rate(hits: int | Iterable[bool | None], n: int | None = None, *, missing: int = 0) -> Estimate:
    """Returns a share with its Wilson interval.

    `hits` is the number of true units among `n`, of which `missing` gave no answer. Or it is the list of outcomes, None
    for no answer, from which `n` and `missing` are counted. Raises ValueError where no unit gave an answer. Source:
    Wilson 1927; Newcombe 1998, Statistics in Medicine 17:857.

    >>> estimate = rate([True, True, False, None])
    >>> round(estimate.low, 3), round(estimate.value, 3), round(estimate.high, 3), estimate.n, estimate.missing
    (0.208, 0.667, 0.939, 4, 1)
    >>> rate(0, 300).high < 0.013
    True
    """
    if not isinstance(hits, int | np.integer):
        if n is not None or missing:
            raise ValueError("n and missing are counted where hits are outcomes; leave them out")
        outcomes = list(hits)
        answers = outcomes_of("hits", outcomes)
        hits, n, missing = int(answers.sum()), len(outcomes), len(outcomes) - len(answers)
    if n is None:
        raise ValueError("n is missing; say how many units were asked")
    answered = n - missing
    if missing < 0 or answered < 0 or not 0 <= hits <= max(answered, 0):
        raise ValueError(f"hits {hits}, n {n}, missing {missing}: it must be 0 <= hits <= n - missing and missing >= 0")
    if answered == 0:
        raise ValueError(f"no unit gave an answer (n {n}, missing {missing}), so there is no rate")
    low, high = wilson(hits / answered, answered)
    return Estimate(value=hits / answered, low=low, high=high, n=n, missing=missing)


def clustered_rate(values: Sequence[float | bool | None], clusters: Sequence[Hashable]) -> Estimate:
    """Returns the mean of values in [0, 1] that come in clusters: episodes of a prompt, or prompts of an organism.

    The interval is Wilson's at the effective sample size, mean (1 - mean) over the variance between clusters, at most
    the number of values, with Student's t on clusters - 1 degrees of freedom. Where clusters do not differ at all, it
    is Wilson's on the number of clusters. `n` counts values.
    Raises ValueError for fewer than two clusters with an answer.
    The interval is too narrow where a few prompts alone make a rate of a few per cent (coverage 80 to 93 %), and where
    there are five clusters that disagree (90 %).
    Source: Franco, Little, Louis and Slud 2019, J. Survey Statistics and Methodology 7:334.

    >>> values = [1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
    >>> estimate = clustered_rate(values, [prompt for prompt in "abcd" for _ in range(3)])
    >>> round(estimate.low, 3), round(estimate.value, 3), round(estimate.high, 3)
    (0.082, 0.333, 0.738)
    """
    if len(values) != len(clusters):
        raise ValueError(f"values has {len(values)} items and clusters {len(clusters)}; they must be as many")
    answered = [(float(value), name) for value, name in zip(values, clusters, strict=True) if value is not None]
    array = finite("values", [value for value, _ in answered])
    within("values", array, 0.0, 1.0)
    number = {name: index for index, name in enumerate(dict.fromkeys(name for _, name in answered))}
    if len(number) < 2:
        raise ValueError(f"clusters holds {len(number)} cluster with an answer; an interval needs at least 2")
    index = np.array([number[name] for _, name in answered])
    mean, count = float(array.mean()), len(number)
    residuals_C = np.bincount(index, weights=array - mean)
    variance = count / (count - 1) * float((residuals_C**2).sum()) / len(array) ** 2
    low, high = spread(mean, variance, count, limit=len(array))
    return Estimate(value=mean, low=low, high=high, n=len(values), missing=len(values) - len(array))


def perplexity(logprobs: Sequence[Sequence[float]]) -> Estimate:
    """Returns exp of the mean negative log-probability of a token, from the tokens' log-probabilities by document.

    The interval is Student's t on the logarithm, clustered by document, for a ratio of means, since documents differ in
    length.
    `n` counts documents. Raises ValueError for fewer than two, or an empty one.

    >>> round(perplexity([[-1.0, -1.0], [-1.0]]).value, 3)
    2.718
    """
    if len(logprobs) < 2 or not all(len(document) for document in logprobs):
        raise ValueError(f"logprobs holds {len(logprobs)} documents; it needs at least 2, none of them empty")
    lost = finite("logprobs", [-sum(document) for document in logprobs])
    tokens = np.array([len(document) for document in logprobs], dtype=float)
    mean, count = float(lost.sum() / tokens.sum()), len(logprobs)
    residuals = lost - mean * tokens
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / float(tokens.sum())
    wide = float(stats.t.ppf(0.975, count - 1)) * error
    low, value, high = (math.exp(min(mean + by, 700.0)) for by in (-wide, 0.0, wide))
    return Estimate(value=value, low=low, high=high, n=count)


def over_seeds(values: Sequence[Estimate | float | None], *, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Returns the mean over seeds of a rate, of an AUROC or, with `bounds` (-1, 1), of a gap.

    The interval is Student's t on seeds - 1 degrees of freedom in Wilson's form, which keeps it within `bounds`. Where
    all seeds agree, it is Wilson's on the number of seeds. `n` counts seeds. Raises ValueError for fewer than two.
    Source: that of `clustered_rate`, where each seed is a cluster.

    >>> estimate = over_seeds([0.81, 0.74, 0.90, None])
    >>> round(estimate.low, 3), round(estimate.value, 3), round(estimate.high, 3), estimate.n, estimate.missing
    (0.561, 0.817, 0.939, 4, 1)
    >>> round(over_seeds([1.0, 1.0, 1.0]).low, 3)
    0.439
    """
    figures = [value.value if isinstance(value, Estimate) else value for value in values if value is not None]
    array = finite("values", figures)
    within("values", array, *bounds)
    if len(array) < 2:
        raise ValueError(f"values holds {len(array)} seed with an answer; an interval over seeds needs at least 2")
    bottom, span = bounds[0], bounds[1] - bounds[0]
    mean, variance = float(array.mean()), float(array.var(ddof=1)) / len(array) / span**2
    low, high = spread((mean - bottom) / span, variance, len(array), limit=math.inf)
    low, high = min(bottom + span * low, mean), max(bottom + span * high, mean)
    return Estimate(value=mean, low=low, high=high, n=len(values), missing=len(values) - len(array))


# ---------------------------------------------------------------- differences


def difference(a: Sequence[bool | None], b: Sequence[bool | None], *, paired: bool) -> Estimate:
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
    return Estimate(value=p.value - q.value, low=low, high=high, n=n, missing=missing)


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
    return Estimate(value=value, low=value - half, high=value + half, n=n)


# ---------------------------------------------------------------- inside


def _phi(first: Floats, second: Floats) -> float:
    """Returns the correlation of paired outcomes, corrected for continuity if positive (Newcombe's method 10)."""
    n = len(first)
    both_true, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    only_first, only_second = float(first.sum()) - both_true, float(second.sum()) - both_true
    below = float(first.sum() * (n - first.sum()) * second.sum() * (n - second.sum()))
    above = both_true * neither - only_first * only_second
    above = max(above - n / 2, 0.0) if above > 0 else above
    return above / math.sqrt(below) if below else 0.0
