"""What many detectors together can say: corrections for how many were tried, tests of two, agreement of rankings."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from flyroom.stats.common import Floats, Z, crossed_variance, finite, numbers_of, student, within
from flyroom.stats.detection import wins_of
from flyroom.types import Estimate


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
        value=value,
        low=min(value, math.tanh(centre - half)),
        high=max(value, math.tanh(centre + half)),
        n=len(a),
        units="detectors",
    )


class Contrast(NamedTuple):
    """How far one detector's mean over threats is ahead of another's, a 95 % interval, and p of their being alike."""

    value: float
    low: float
    high: float
    p: float


def threat_contrast(
    first: tuple[Sequence[Sequence[float]], Sequence[float]],
    second: tuple[Sequence[Sequence[float]], Sequence[float]],
    clusters: Sequence[Hashable] | None = None,
) -> Contrast:
    """Returns the mean over threats of one detector's AUROC minus that of another, for new threats and new harmless
    models. Each is given as (positives, negatives): suspicions of the organisms, [threats][organisms], all beside the
    same harmless models, [negatives]; the same models in the same order. `clusters` names the group of each harmless
    model, such as its recipe; without it each stands alone.

    Luck with the harmless models is in the difference of every threat, so threats and they are crossed: the variance is
    that between threats plus that between clusters minus that between their cells, with Student's t at Satterthwaite's
    degrees of freedom. `holm` corrects several of these. Raises ValueError for fewer than two threats or clusters, and
    for sides that are not of the same models.
    Source: DeLong et al. 1988, Biometrics 44:837; Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics
    29:238.

    >>> white = [[3.0, 4.0], [2.5, 5.0], [3.0, 2.2]], [0.0, 1.0, 2.0, 0.5]
    >>> black = [[1.5, 0.2], [0.7, 1.2], [0.1, 1.0]], [0.0, 1.0, 2.0, 0.5]
    >>> contrast = threat_contrast(white, black)
    >>> round(contrast.value, 2), contrast.low < 0 < contrast.high, round(contrast.p, 2)
    (0.48, True, 0.11)
    """
    wins = [_wins_over_each(*side) for side in (first, second)]
    sizes = [([len(threat) for threat in positives], len(negatives)) for positives, negatives in (first, second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"first is of organisms and negatives {sizes[0]} and second of {sizes[1]}; they must be the same"
        )
    threats, count = wins[0].shape
    names = numbers_of(range(count) if clusters is None else clusters)
    if len(names) != count:
        raise ValueError(f"clusters has {len(names)} names for {count} negatives; they must be as many")
    if min(threats, len(set(names.tolist()))) < 2:
        raise ValueError(f"there are {threats} threats and {len(set(names.tolist()))} clusters; it needs 2 of each")
    ahead = wins[0] - wins[1]
    value, rows = float(ahead.mean()), np.repeat(np.arange(threats), count)
    variance, freedom = crossed_variance((ahead - value).ravel() / ahead.size, rows, np.tile(names, threats))
    error = max(1e-12, math.sqrt(variance))  # detectors that rank all alike have none
    half, p = student(freedom) * error, 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Contrast(value, max(-1.0, value - half), min(1.0, value + half), p)


def _wins_over_each(positives: Sequence[Sequence[float]], negatives: Sequence[float]) -> Floats:
    """Returns the share of a threat's organisms that each harmless model stays below, [threats, negatives]."""
    below = finite("negatives", negatives)
    return np.stack([1.0 - wins_of(below, finite(f"positives[{i}]", threat)) for i, threat in enumerate(positives)])


class Halves(NamedTuple):
    """Rank agreement between halves of the threats, over many splits."""

    median: float
    low: float
    high: float


def threat_halves(figures: Sequence[Sequence[float]], *, splits: int = 1000, seed: int) -> Halves:
    """Returns Spearman's correlation of detectors' means over two random halves of the threats: the median, the 2.5th
    and the 97.5th percentile over splits. It is no interval of the correlation: it says how much the choice of threats
    moves the ranking. Args: figures, [detectors][threats].

    Splits in which a half has all detectors equal have no correlation and are left out. Raises ValueError where that
    is so in all of them, and for fewer than four detectors or two threats.

    >>> threat_halves([[0.9, 0.9], [0.8, 0.7], [0.6, 0.6], [0.5, 0.4]], seed=0).median
    1.0
    """
    table = np.array([finite(f"figures[{i}]", row) for i, row in enumerate(figures)])
    if table.shape[0] < 4 or table.shape[1] < 2:
        raise ValueError(f"figures is of {table.shape[0]} detectors and {table.shape[1]} threats; it needs 4 and 2")
    rng, agreements = np.random.default_rng(seed), list[float]()
    for _ in range(splits):
        order = rng.permutation(table.shape[1])
        sides = [table[:, part].mean(1) for part in (order[::2], order[1::2])]
        if all(np.ptp(side) for side in sides):
            agreements.append(float(np.corrcoef(*(stats.rankdata(side) for side in sides))[0, 1]))
    if not agreements:
        raise ValueError("figures has all detectors equal over half of the threats, so no halves can be compared")
    low, median, high = np.quantile(agreements, [0.025, 0.5, 0.975])
    return Halves(float(median), float(low), float(high))
