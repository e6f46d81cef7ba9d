"""Rates, means over seeds, differences: every figure with an interval that is honest also at 0 and 1 and where N is 4.

The intervals of shares are score intervals. At a boundary, where a bootstrap or a standard error says "exactly 1.0",
they still have the width that N allows.

Cluster at the outermost level: the seed or the organism before the prompt, the prompt before the episode. The variance
between outer clusters contains that of all inner ones, so no function here takes nested clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from flyroom.stats.common import finite, outcomes_of, spread, wilson, within
from flyroom.types import Estimate

FEWEST_SITUATIONS = 8
ICC_UPPER = 0.3

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
    low, high, size = spread(mean, variance, count, limit=len(array))
    return Estimate(
        value=mean,
        low=low,
        high=high,
        n=len(values),
        missing=len(values) - len(array),
        n_effective=size,
        units=units,
        clusters=kind,
        target=target,
    )


def situations_rate(
    hits: Sequence[float | bool | None], situations: Sequence[Hashable], *, units: str = "answers"
) -> Estimate:
    """Returns a share of answers with the interval for situations that nobody has asked about yet.

    `situations[i]` is what answer i was about. Raises ValueError for fewer than 8 situations with an answer.

    >>> estimate = situations_rate([False] * 80, [i % 8 for i in range(80)])
    >>> estimate.clusters, estimate.target
    ('situations', 'new situations')
    """
    number = len({name for hit, name in zip(hits, situations, strict=True) if hit is not None})
    if number < FEWEST_SITUATIONS:
        raise ValueError(f"situations holds {number} with an answer; new situations take at least {FEWEST_SITUATIONS}")
    estimate = clustered_rate(hits, situations, units=units, kind="situations", target="new situations")
    answered = estimate.n - estimate.missing
    if min(estimate.value, 1 - estimate.value) > 1e-12:
        return estimate
    size = answered / (1 + (answered / number - 1) * ICC_UPPER)
    low, high = wilson(estimate.value, size, float(stats.t.ppf(0.975, number - 1)))
    return replace(estimate, low=low, high=high, n_effective=size)


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
    low, high, _ = spread((mean - bottom) / span, variance, len(array), limit=math.inf)
    low, high = min(bottom + span * low, mean), max(bottom + span * high, mean)
    return Estimate(
        value=mean,
        low=low,
        high=high,
        n=len(values),
        missing=len(values) - len(array),
        units="seeds",
        target="new seeds",
    )
