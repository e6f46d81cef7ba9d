"""Rates, means over seeds, perplexity: every figure with an interval that is honest also at 0 and 1 and where N is 4.

The intervals of shares are score intervals. At a boundary, where a bootstrap or a standard error says "exactly 1.0",
they still have the width that N allows.

A cluster contains what is inside it: situations contain prompts, prompts contain answers, and clustering by the outer
one suffices. Seeds that are asked the same prompts are crossed with them, and neither contains the other: see
`crossed`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from scipy import stats

from flyroom.stats.common import ICC_SEED, ICC_SITUATION, at_variance, finite, numbers_of, outcomes_of, wilson, within
from flyroom.types import Estimate

FEWEST_SITUATIONS = 8

# ---------------------------------------------------------------- rates


def rate(
    hits: int | Iterable[bool | None],
    n: int | None = None,
    *,
    missing: int = 0,
    units: str = "answers",
    target: str = "",
) -> Estimate:
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
    return Estimate(
        value=hits / answered,
        low=low,
        high=high,
        n=n,
        missing=missing,
        n_effective=float(answered),
        units=units,
        target=target,
    )


def clustered_rate(
    values: Sequence[float | bool | None],
    clusters: Sequence[Hashable],
    *,
    units: str = "answers",
    kind: str = "prompts",
    target: str = "",
) -> Estimate:
    """Returns the mean of values in [0, 1] that come in clusters: answers to a prompt, or models of a recipe.

    The interval is Wilson's at the effective sample size, mean (1 - mean) over the variance between clusters, at most
    the number of values, with Student's t on clusters - 1 degrees of freedom. Below 20 independent events it is at
    least as wide as at n / (1 + (m - 1) ICC), with m values to a cluster and the upper bound of how alike they are
    (`common.ICC_SITUATION`): so where clusters do not differ at all, and where a few of them make a rate of a few per
    cent. `n` counts values. `kind` says what a cluster is.
    Raises ValueError for fewer than two clusters with an answer.
    Source: Franco, Little, Louis and Slud 2019, J. Survey Statistics and Methodology 7:334; Kish 1965, Survey Sampling.

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
    index = numbers_of([name for _, name in answered])
    mean, n, sizes_C = float(array.mean()), len(array), np.bincount(index)
    count = len(sizes_C)
    if count < 2:
        raise ValueError(f"clusters holds {count} cluster with an answer; an interval needs at least 2")
    residuals_C = np.bincount(index, weights=array - mean)
    variance = count / (count - 1) * float((residuals_C**2).sum()) / n**2
    safe = n / (1 + (float((sizes_C**2).sum()) / n - 1) * ICC_SITUATION)
    low, high, size = at_variance(mean, variance, count - 1, limit=n, safe=safe)
    return Estimate(
        value=mean,
        low=low,
        high=high,
        n=len(values),
        missing=len(values) - n,
        n_effective=float(size),
        units=units,
        clusters=kind,
        target=target,
    )


def situations_rate(
    hits: Sequence[float | bool | None], situations: Sequence[Hashable], *, units: str = "answers"
) -> Estimate:
    """Returns a share of answers with the interval for situations that nobody has asked about yet.

    situations[i] is what answer i was about; the interval is that of `clustered_rate`, by situation. Raises ValueError
    for fewer than 8 situations with an answer.

    >>> estimate = situations_rate([False] * 80, [i % 8 for i in range(80)])
    >>> round(estimate.high, 3), estimate.clusters, estimate.target
    (0.101, 'situations', 'new situations')
    """
    if len(hits) != len(situations):
        raise ValueError(f"hits has {len(hits)} items and situations {len(situations)}; they must be as many")
    number = len({name for hit, name in zip(hits, situations, strict=True) if hit is not None})
    if number < FEWEST_SITUATIONS:
        raise ValueError(f"situations holds {number} with an answer; new situations take at least {FEWEST_SITUATIONS}")
    return clustered_rate(hits, situations, units=units, kind="situations", target="new situations")


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
    return Estimate(value=value, low=low, high=high, n=count, units="documents")


def over_seeds(values: Sequence[Estimate | float | None], *, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """Returns the mean over seeds of a figure of which only one number a seed is known: an AUROC or, with `bounds`
    (-1, 1), a gap.

    It covers where each seed had draws and prompts of its own. Where organisms of several seeds were asked the same
    prompts, as cards do, they are right or wrong together, which this function cannot see: 5 seeds on shared draws
    cover half of the time. `crossed_rate` is right for those.
    The interval is Student's t on seeds - 1 degrees of freedom in Wilson's form, which keeps it within `bounds`. Where
    estimates know their effective n, the interval is, below 20 independent events, at least as wide as at n / (1 + (m
    - 1) ICC), with n of all seeds together, m a seed, and the upper bound of how alike answers of one seed are
    (`common.ICC_SEED`). Where seeds agree and no n is known, it is Wilson's on the number of seeds. `n` counts seeds.
    Raises ValueError for fewer than two.
    Source: that of `clustered_rate`, where each seed is a cluster.

    >>> estimate = over_seeds([0.81, 0.74, 0.90, None])
    >>> round(estimate.low, 3), round(estimate.value, 3), round(estimate.high, 3), estimate.n, estimate.missing
    (0.561, 0.817, 0.939, 4, 1)
    >>> round(over_seeds([1.0] * 5).low, 3), round(over_seeds([rate(400, 400)] * 5).low, 3)
    (0.566, 0.987)
    """
    figures = [value for value in values if value is not None]
    array = finite("values", [value.value if isinstance(value, Estimate) else value for value in figures])
    within("values", array, *bounds)
    if len(array) < 2:
        raise ValueError(f"values holds {len(array)} seed with an answer; an interval over seeds needs at least 2")
    bottom, span = bounds[0], bounds[1] - bounds[0]
    mean, variance = float(array.mean()), float(array.var(ddof=1)) / len(array) / span**2
    sizes = [value.n_effective for value in figures if isinstance(value, Estimate) and value.n_effective]
    limit, safe = math.inf, math.inf
    if len(sizes) == len(figures):
        limit, safe = sum(sizes), sum(sizes) / (1 + max(0.0, sum(sizes) / len(sizes) - 1) * ICC_SEED)
    elif variance < 1e-18:
        limit = safe = float(len(array))
    low, high, size = at_variance((mean - bottom) / span, variance, len(array) - 1, limit=limit, safe=safe)
    return Estimate(
        value=mean,
        low=min(bottom + span * low, mean),
        high=max(bottom + span * high, mean),
        n=len(values),
        missing=len(values) - len(array),
        n_effective=size,
        units="seeds",
        target="new seeds",
    )
