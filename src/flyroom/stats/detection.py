"""How well suspicion tells organisms from twins: AUROC, recall at a fixed false-positive rate, and what many such
figures together can say.

Suspicions are on any scale, and higher is worse. Left out: bootstraps, whose percentile interval of an AUROC at 4 + 4
suspects holds the true value in only 10 to 91 % of simulated cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from flyroom.stats.common import Floats, Z, finite, hybrid, within
from flyroom.stats.estimates import rate
from flyroom.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Recall at a threshold that other suspects fixed, and the false-positive rate on test negatives."""

    recall: Estimate
    fpr: Estimate
    threshold: float  # a suspicion above it is flagged


class RocPoint(NamedTuple):
    """One corner of a ROC curve."""

    fpr: float
    tpr: float


# ---------------------------------------------------------------- detection


def auroc(positives: Sequence[float], negatives: Sequence[float]) -> Estimate:
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
    return _auroc(float(wins_P.mean()), delong, len(above), len(below), Z, len(above) + len(below))


def _auroc(
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
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def clustered_auroc(suspicions: Sequence[float], positive: Sequence[bool], clusters: Sequence[Hashable]) -> Estimate:
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
    return _auroc(value, variance, *sides, quantile, len(values), least)


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
    return Estimate(value=p.value - q.value, low=low, high=high, n=p.n)


def recall_at_fpr(
    positives: Sequence[float],
    test_negatives: Sequence[float],
    calibration_negatives: Sequence[float],
    *,
    fpr: float = 0.01,
) -> Recall:
    """Returns the share of positives above the lowest threshold that flags at most `fpr` of the calibration negatives.

    A suspicion strictly above the threshold is flagged. With fewer than 1 / fpr calibration negatives, the threshold is
    their maximum. The false-positive rate is that of the test negatives, which do not influence the threshold;
    `certified_fpr` says what it proves. Intervals are Wilson's, given the threshold. Raises ValueError for an empty
    class, a suspicion that is not finite, or an `fpr` outside [0, 1).

    >>> result = recall_at_fpr([0.9, 0.8, 0.3], [0.1, 0.2], [0.1, 0.3, 0.2])
    >>> result.threshold, round(result.recall.value, 3), result.fpr.value
    (0.3, 0.667, 0.0)
    """
    if not 0 <= fpr < 1:
        raise ValueError(f"fpr is {fpr}; it must be at least 0 and below 1")
    calibration = np.sort(finite("calibration_negatives", calibration_negatives))[::-1]
    threshold = float(calibration[math.floor(fpr * len(calibration) + 1e-9)])  # 0.07 * 100 is 7.000000000000001
    flagged = (finite("positives", positives) > threshold).tolist()
    false_alarms = (finite("test_negatives", test_negatives) > threshold).tolist()
    return Recall(recall=rate(flagged), fpr=rate(false_alarms), threshold=threshold)


def certified_fpr(flagged: int, n: int) -> float:
    """Returns the highest false-positive rate that is consistent with `flagged` of `n` negatives, at 95 % one-sided.

    Raises ValueError unless 0 <= flagged <= n and n > 0. Source: Clopper and Pearson 1934, Biometrika 26:404.

    >>> round(certified_fpr(0, 8), 3), round(certified_fpr(0, 299), 4)
    (0.312, 0.01)
    """
    if not 0 <= flagged <= n or n == 0:
        raise ValueError(f"flagged {flagged}, n {n}: it must be 0 <= flagged <= n and n > 0")
    return 1.0 if flagged == n else float(stats.beta.ppf(0.95, flagged + 1, n - flagged))


def negatives_needed(fpr: float) -> int:
    """Returns how many negatives, none of them flagged, certify a false-positive rate of at most `fpr` at 95 %.

    Raises ValueError for an `fpr` outside (0, 1). Source: the rule of three, exactly: (1 - fpr)^n <= 0.05.

    >>> negatives_needed(0.01)
    299
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr is {fpr}; it must be between 0 and 1")
    return max(1, math.ceil(math.log(0.05) / math.log1p(-fpr) - 1e-9))


def roc_points(positives: Sequence[float], negatives: Sequence[float]) -> list[RocPoint]:
    """Returns the corners of the ROC curve from (0, 0) to (1, 1), one for each suspicion that occurs; ties share one.

    Raises ValueError for an empty class, and for a suspicion that is not finite.

    >>> roc_points([2.0, 1.0], [0.0])
    [RocPoint(fpr=0.0, tpr=0.0), RocPoint(fpr=0.0, tpr=0.5), RocPoint(fpr=0.0, tpr=1.0), RocPoint(fpr=1.0, tpr=1.0)]
    """
    above, below = finite("positives", positives), finite("negatives", negatives)
    cuts = np.unique(np.concatenate([above, below]))[::-1]
    return [RocPoint(0.0, 0.0)] + [RocPoint(float((below >= c).mean()), float((above >= c).mean())) for c in cuts]


# ---------------------------------------------------------------- many detectors


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values, adjusted so that the chance of any false claim among them is at most the level (Holm 1979).

    Raises ValueError for a value outside [0, 1]. For the share of false claims: scipy.stats.false_discovery_control.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = finite("p_values", p_values)
    within("p_values", p, 0.0, 1.0)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted.tolist()


def max_t(
    suspicions: Sequence[Sequence[float]], positive: Sequence[bool], *, permutations: int = 2000, seed: int = 0
) -> list[float]:
    """Returns, for each of several detectors (layers, settings), its AUROC's p-value, corrected for the number tried.

    `suspicions` holds a row for each detector and a column for each suspect. The labels are permuted, and each AUROC is
    compared with the highest one of each permutation. So the best of a sweep is corrected for the sweep, and detectors
    that are alike are not corrected twice. Raises ValueError for a class without a suspect.
    Source: Westfall and Young 1993, Resampling-Based Multiple Testing (single step).

    >>> max_t([[5, 4, 3, 2, 1, 0], [0, 1, 0, 1, 0, 1]], [True, True, True, False, False, False])[0] < 0.2
    True
    """
    rows = np.array([finite(f"suspicions[{i}]", row) for i, row in enumerate(suspicions)])
    truth = np.asarray(positive, dtype=bool)
    if rows.shape[1] != len(truth) or truth.all() or not truth.any():
        raise ValueError(
            f"positive has {len(truth)} items for {rows.shape[1]} suspects; it needs one each, of both kinds"
        )
    ranks = stats.rankdata(rows, axis=1)
    m, n = int(truth.sum()), int((~truth).sum())

    def aurocs(labels: Floats) -> Floats:  # [detectors, permutations], by rank sums
        return (ranks @ labels - m * (m + 1) / 2) / (m * n)

    draws = np.random.default_rng(seed).permuted(np.tile(truth, (permutations, 1)), axis=1).T.astype(float)
    best = aurocs(draws).max(axis=0)
    observed = aurocs(truth[:, None].astype(float))[:, 0]
    return ((1 + (best >= observed[:, None] - 1e-12).sum(axis=1)) / (1 + permutations)).tolist()


def rank_agreement(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Returns Spearman's correlation of two rankings of the same detectors, as on two halves of the suspects.

    The interval is Bonett and Wright's on Fisher's scale. `n` counts detectors. Raises ValueError for fewer than four,
    or a side whose values are all equal. Source: Bonett and Wright 2000, Psychometrika 65:23.

    >>> agreement = rank_agreement([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0.95, 0.7, 0.8, 0.6, 0.5, 0.4])
    >>> round(agreement.value, 3), round(agreement.low, 2)
    (0.943, 0.38)
    """
    a, b = finite("first", first), finite("second", second)
    if len(a) != len(b) or len(a) < 4:
        raise ValueError(f"first has {len(a)} values and second {len(b)}; it needs at least 4, and as many")
    if not np.ptp(a) or not np.ptp(b):
        raise ValueError("a side is all alike, so it ranks nothing")
    value = float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
    half = Z * math.sqrt((1 + value**2 / 2) / (len(a) - 3))
    centre = math.atanh(min(1 - 1e-9, max(-1 + 1e-9, value)))
    return Estimate(
        value=value, low=min(value, math.tanh(centre - half)), high=max(value, math.tanh(centre + half)), n=len(a)
    )


def wins_of(scores: Floats, rivals: Floats) -> Floats:
    """Returns, for each score, the share of rivals below it; ties count half."""
    order = np.sort(rivals)
    return (np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")) / (2 * len(rivals))
