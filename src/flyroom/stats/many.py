"""What many detectors together can say: corrections for how many were tried, tests of two, agreement of rankings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from flyroom.stats.common import Floats, Z, finite, within
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


def sign_flip(first: Sequence[float], second: Sequence[float], *, permutations: int = 20_000, seed: int = 0) -> float:
    """Returns the two-sided p-value of two detectors being alike, from a figure of each for every threat.

    The sign of each threat's difference is flipped: in all ways for up to 14 threats that differ, else at random.
    `holm` corrects several of these. Threats are taken for independent: where the organisms of all of them stand beside
    the same twins, p is below 5 % in 8 to 16 % of cases for detectors that are alike (scripts/coverage.py). Raises
    ValueError for sides of unequal number.
    Source: Fisher 1935, The Design of Experiments, section 21.

    >>> sign_flip([0.9, 0.8, 0.9, 1.0, 0.9, 0.8], [0.5, 0.6, 0.5, 0.4, 0.5, 0.6])
    0.03125
    """
    a, b = finite("first", first), finite("second", second)
    if len(a) != len(b):
        raise ValueError(f"first has {len(a)} threats and second {len(b)}; they must be the same")
    change = (a - b)[a != b]
    if len(change) <= 14:
        signs = 1 - 2 * (np.arange(2 ** len(change))[:, None] >> np.arange(len(change)) & 1)
        return float((np.abs(signs @ change) >= abs(change.sum()) - 1e-9).mean())
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (permutations, len(change)))
    return float((1 + (np.abs(signs @ change) >= abs(change.sum()) - 1e-9).sum()) / (1 + permutations))


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
