"""How well suspicion tells organisms from twins: AUROC of suspects, of answers in clusters, and of two detectors.

Suspicions are on any scale, and higher is worse. Left out: bootstraps, whose percentile interval of an AUROC at 4 + 4
suspects holds the true value in only 10 to 91 % of simulated cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize, stats

from flyroom.stats.common import Floats, Z, finite, hybrid, size_at
from flyroom.types import Estimate


def auroc(
    positives: Sequence[float], negatives: Sequence[float], *, units: str = "suspects", target: str = ""
) -> Estimate:
    """Returns how often a positive's suspicion is above a negative's; ties count half, and 0.5 is chance.

    The interval holds every true value from which the observed one lies within 1.96 standard errors, where the error is
    that at the true value: Newcombe's method 5, on Hanley and McNeil's variance. Where DeLong's variance, which assumes
    no distribution, is larger, the variance is scaled up by their ratio. At 4 + 4 suspects and perfect separation the
    interval is [0.58, 1], not [1, 1]. `n` counts both classes.
    Raises ValueError for an empty class, and for a suspicion that is not finite.
    The interval is too narrow (coverage 87 %) where 4 positives spread four times as widely as 40 negatives.
    Source: Newcombe 2006, Statistics in Medicine 25:559; DeLong et al. 1988, Biometrics 44:837.

    >>> estimate = auroc([0.9, 0.8, 0.7, 0.95], [0.1, 0.3, 0.2, 0.4])
    >>> round(estimate.low, 2), estimate.value, estimate.high
    (0.58, 1.0, 1.0)
    """
    above, below = finite("positives", positives), finite("negatives", negatives)
    wins_P, wins_N = wins_of(above, below), 1.0 - wins_of(below, above)
    delong = sum(float(wins.var(ddof=1)) / len(wins) for wins in (wins_P, wins_N) if len(wins) > 1)
    estimate = score_auroc(float(wins_P.mean()), delong, len(above), len(below), Z, len(above) + len(below))
    return replace(estimate, units=units, target=target)


def score_auroc(
    value: float, variance: float, positives: int, negatives: int, quantile: float, n: int, least: float = 1.0
) -> Estimate:
    """Newcombe's method 5, with Hanley and McNeil's variance for this many suspects scaled to `variance`, by a factor
    of at least `least`.
    """
    pairs, extra = positives * negatives, (positives + negatives) / 2 - 1

    def hanley(true: float) -> float:
        return true * (1 - true) * (1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)) / pairs

    scale = max(least, variance / hanley(value)) if 0 < value < 1 else 1.0

    def excess(true: float) -> float:
        return abs(value - true) - quantile * math.sqrt(scale * hanley(true))

    tiny = 1e-9  # at 0 and 1 the variance is 0, which would be a trivial root
    low = optimize.root_scalar(excess, bracket=(0.0, value - tiny)).root if value > tiny else 0.0
    high = optimize.root_scalar(excess, bracket=(value + tiny, 1.0)).root if value < 1 - tiny else 1.0
    size = size_at(value, float(low), float(high))
    return Estimate(value=value, low=float(low), high=float(high), n=n, n_effective=size)


def clustered_auroc(
    suspicions: Sequence[float],
    positive: Sequence[bool],
    clusters: Sequence[Hashable],
    *,
    units: str = "answers",
    kind: str = "prompts",
    target: str = "",
) -> Estimate:
    """Returns the AUROC over answers that come in clusters, such as the answers of an organism or those to a prompt.

    A cluster may hold both classes. The interval is that of `auroc` at the variance between clusters, with Student's t
    on clusters - 2 degrees of freedom. Where clusters show no spread, each counts as one answer. `n` counts answers.
    Raises ValueError for an empty class, fewer than two clusters, and for a suspicion that is not finite.
    Source: Obuchowski 1997, Biometrics 53:567.

    >>> estimate = clustered_auroc([3, 2, 2, 1, 1, 0], [True, True, False, True, False, False], "aabbcc")
    >>> round(estimate.value, 3), estimate.n, estimate.low < 0.5
    (0.778, 6, True)
    """
    values, is_positive = finite("suspicions", suspicions), np.asarray(positive, dtype=bool)
    if not len(values) == len(is_positive) == len(clusters):
        raise ValueError(
            f"suspicions has {len(values)} items, positive {len(is_positive)} and clusters {len(clusters)}; "
            "they must be as many"
        )
    number = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    if len(number) < 2:
        raise ValueError(f"clusters holds {len(number)}; an interval needs at least 2")
    index = np.array([number[name] for name in clusters])
    above, below = finite("positives", values[is_positive].tolist()), finite("negatives", values[~is_positive].tolist())
    wins_P, wins_N = wins_of(above, below), 1.0 - wins_of(below, above)
    value, count = float(wins_P.mean()), len(number)
    parts = [
        np.bincount(index[side], weights=wins - value, minlength=count) / len(wins)
        for side, wins in ((is_positive, wins_P), (~is_positive, wins_N))
    ]
    # How many clusters hold a positive, and how many a negative.
    cluster_counts = [len({*index[side].tolist()}) for side in (is_positive, ~is_positive)]
    variance = sum(k / max(1, k - 1) * float((part**2).sum()) for k, part in zip(cluster_counts, parts, strict=True))
    variance += 2 * count / (count - 1) * float((parts[0] * parts[1]).sum())
    sides, least = (len(above), len(below)), 1e-3
    if variance < 1e-12:  # clusters without spread count as one answer each
        sides, least = (cluster_counts[0], cluster_counts[1]), 1.0
    quantile = float(stats.t.ppf(0.975, max(1, count - 2)))
    estimate = score_auroc(value, variance, *sides, quantile, len(values), least)
    return replace(estimate, units=units, clusters=kind, target=target)


def auroc_difference(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]]
) -> Estimate:
    """Returns the AUROC of one detector minus that of another on the same suspects, such as the uplift of white box
    over black box. Each is given as (positives, negatives), with the suspects in the same order.

    The interval is Newcombe's hybrid of the two intervals of `auroc`, with DeLong's correlation. `n` counts suspects.
    Raises ValueError for unequal numbers of suspects, and as `auroc`. Choose the two detectors on other suspects.
    Source: DeLong et al. 1988, Biometrics 44:837; Zou and Donner 2008, Statistics in Medicine 27:1693.

    >>> white, black = ([3, 4, 5], [0, 1, 2]), ([3, 1, 5], [0, 4, 2])
    >>> uplift = auroc_difference(white, black)
    >>> round(uplift.value, 3), uplift.low < 0 < uplift.high
    (0.333, True)
    """
    if [len(side) for side in first] != [len(side) for side in second]:
        raise ValueError("first and second must hold as many positives, and as many negatives")
    p, q = auroc(*first), auroc(*second)
    parts = []
    for above, below in (first, second):
        up, down = finite("positives", above), finite("negatives", below)
        parts.append((wins_of(up, down), 1.0 - wins_of(down, up)))
    variances = [sum(float(side.var(ddof=1)) / len(side) for side in part if len(side) > 1) for part in parts]
    shared = sum(float(np.cov(*sides)[0, 1]) / len(sides[0]) for sides in zip(*parts, strict=True) if len(sides[0]) > 1)
    phi = shared / math.sqrt(variances[0] * variances[1]) if min(variances) > 0 else 0.0
    low, high = hybrid(p, q, phi)
    return Estimate(value=p.value - q.value, low=low, high=high, n=p.n, units="suspects")


def wins_of(scores: Floats, rivals: Floats) -> Floats:
    """Returns, for each score, the share of rivals below it; ties count half."""
    order = np.sort(rivals)
    return (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")) / (2 * len(rivals))
