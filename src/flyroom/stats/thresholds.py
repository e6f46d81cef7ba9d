"""Who is flagged: a threshold that other suspects set, what it catches, and what its false alarms rule out.

A threshold set on m calibration twins can have no other expected false-positive rate than a multiple of 1 / (m + 1).
So 1 % needs 99 of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from flyroom.stats.common import finite
from flyroom.stats.estimates import rate
from flyroom.types import Estimate


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Recall at a threshold that other suspects fixed, and the false-positive rate on test negatives.

    `rate` is the expected false-positive rate of the threshold; `enough`: whether that is at most what was wanted.
    """

    recall: Estimate
    fpr: Estimate
    threshold: float  # a suspicion above it is flagged
    rate: float
    enough: bool


class RocPoint(NamedTuple):
    """One corner of a ROC curve."""

    fpr: float
    tpr: float


def recall_at_fpr(
    positives: Sequence[float],
    test_negatives: Sequence[float],
    calibration: Sequence[float],
    *,
    fpr: float = 0.01,
) -> Recall:
    """Returns the share of positives above the lowest threshold whose expected false-positive rate is at most `fpr`.

    A suspicion strictly above the threshold is flagged. Where m calibration twins and the negatives are exchangeable, a
    negative lies above the (k + 1)-th highest of them with a chance of at most (k + 1) / (m + 1). So the threshold is
    the one with k + 1 = floor(fpr (m + 1)). Where that is 0 (1 % needs 99) the threshold is the highest calibration
    twin, `rate` is 1 / (m + 1), and `enough` is False: recall at `fpr` cannot be told. The false-positive rate that
    was seen is that of the test negatives, which do not influence the threshold; `certified_fpr` says what it proves.
    Intervals are Wilson's, given the threshold. Raises ValueError for an empty class, a suspicion that is not finite,
    or an `fpr` outside (0, 1).
    Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, chapter 2.

    >>> result = recall_at_fpr([0.9, 0.8, 0.3], [0.1, 0.2], [0.1, 0.3, 0.2])
    >>> result.threshold, round(result.recall.value, 3), result.fpr.value, result.rate, result.enough
    (0.3, 0.667, 0.0, 0.25, False)
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr is {fpr}; it must be above 0 and below 1")
    twins = np.sort(finite("calibration", calibration))[::-1]
    above = math.floor(fpr * (len(twins) + 1) + 1e-9)  # 0.07 * 100 is 7.000000000000001
    threshold = float(twins[max(above, 1) - 1])
    flagged = (finite("positives", positives) > threshold).tolist()
    alarms = (finite("test_negatives", test_negatives) > threshold).tolist()
    return Recall(
        recall=rate(flagged, units="suspects"),
        fpr=rate(alarms, units="suspects"),
        threshold=threshold,
        rate=max(above, 1) / (len(twins) + 1),
        enough=above >= 1,
    )


def exchangeable(
    calibration: Sequence[float], negatives: Sequence[float], *, seed: int, permutations: int = 2000
) -> float:
    """Returns the p-value of calibration twins and negatives being alike: how often a random division of them all is
    as uneven as theirs. Below 5 % a threshold of the ones says nothing of the others.

    Unevenness is Anderson and Darling's distance, which looks at the tails too; ties are handled. Raises ValueError for
    an empty side, and for a suspicion that is not finite.
    Source: Scholz and Stephens 1987, J. American Statistical Association 82:918.

    >>> exchangeable([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16], seed=0) < 0.01
    True
    """
    first, second = finite("calibration", calibration), finite("negatives", negatives)
    _, place, counts = np.unique(np.concatenate([first, second]), return_inverse=True, return_counts=True)
    if len(counts) == 1:
        return 1.0
    m, n = len(first), len(second)
    labels = np.tile(np.arange(m + n) < m, (permutations + 1, 1))
    labels[1:] = np.random.default_rng(seed).permuted(labels[1:], axis=1)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(counts)[:-1] - 1  # the last of each value, but for the highest
    below = labels[:, order].cumsum(1)[:, ends].astype(float)
    middles = below - np.diff(below, axis=1, prepend=0.0) / 2
    pooled = np.cumsum(counts)[:-1] - counts[:-1] / 2
    share = pooled / (m + n)
    distance = ((middles / m - (pooled - middles) / n) ** 2 * counts[:-1] / (share * (1 - share))).sum(1)
    return float((distance >= distance[0] - 1e-9).mean())


def certified_fpr(flagged: int, n: int) -> float:
    """Returns the highest false-positive rate that is consistent with `flagged` of `n` negatives, at 95 % one-sided.

    Raises ValueError unless 0 <= flagged <= n and n > 0. Source: Clopper and Pearson 1934, Biometrika 26:404.

    >>> round(certified_fpr(0, 8), 3), round(certified_fpr(0, 299), 4)
    (0.312, 0.01)
    """
    if not 0 <= flagged <= n or n == 0:
        raise ValueError(f"flagged {flagged}, n {n}: it must be 0 <= flagged <= n and n > 0")
    return 1.0 if flagged == n else float(stats.beta.ppf(0.95, flagged + 1, n - flagged))


def clustered_fpr(flags: Sequence[bool], clusters: Sequence[Hashable]) -> float:
    """Returns the highest false-positive rate that the negatives do not rule out where they come in clusters, such as
    twins of several recipes, at 95 % one-sided and for recipes like these.

    The bound takes negatives of one cluster for all alike: it is Clopper and Pearson's at the sample size n^2 / sum of
    m^2, for m negatives to a cluster, which is the number of clusters where they are of one size. So it holds however
    alike they are, and is wide where there are few clusters. Of one cluster it is `certified_fpr`, for negatives like
    those of that cluster. Raises ValueError for no negative, and for clusters of another number.
    Source: Kish 1965, Survey Sampling; Korn and Graubard 1998, Survey Methodology 24:193.

    >>> round(clustered_fpr([False] * 68, [i % 17 for i in range(68)]), 3)
    0.162
    """
    if len(flags) != len(clusters) or not len(flags):
        raise ValueError(f"flags has {len(flags)} items and clusters {len(clusters)}; they must be as many, at least 1")
    counts = list(Counter(clusters).values())
    flagged, n = sum(map(bool, flags)), len(flags)
    if len(counts) == 1 or flagged == n:
        return certified_fpr(flagged, n)
    size = n**2 / sum(count**2 for count in counts)
    hits = flagged / n * size
    return float(stats.beta.ppf(0.95, hits + 1, size - hits))


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
