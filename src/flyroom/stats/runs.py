"""What several runs of a red team's method say: each run examines every suspect, so suspects and runs are crossed.

The luck of a run and the nature of a suspect are both drawn anew next time, so an interval is for new suspects and new
runs. Ten runs on four suspects are still four suspects: where all runs agree, the suspects alone are counted.

Letters of shapes: S suspects, R runs, P organisms, N harmless suspects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flyroom.stats.common import Floats, Numbers, Z, crossed_variance, numbers_of, student, wilson, within
from flyroom.stats.detection import score_auroc, wins_of
from flyroom.types import Estimate

TINY = 1e-18  # a variance that is rounding alone
CLUSTERS, TARGET = "suspects and runs", "new suspects and runs"


def runs_rate(rows: Sequence[Sequence[bool | None]]) -> Estimate:
    """Returns the share of claims that count, for new suspects and new runs.

    rows[s][r] is the outcome of suspect s in run r, None where there is none. The interval is Wilson's at the sample
    size that would give the variance between suspects plus that between runs minus that between single claims, and at
    least the larger of the first two, with Student's t at Satterthwaite's degrees of freedom. Where neither
    suspects nor runs differ, or there is one of either, it is Wilson's on the number of suspects. `n` counts claims.
    Raises ValueError for rows of unequal length, and where there is no outcome.
    Source: Cameron, Gelbach and Miller 2011, J. Business & Economic Statistics 29:238.

    >>> estimate = runs_rate([[True] * 5] * 4)
    >>> round(estimate.low, 2), estimate.n, estimate.n_effective
    (0.51, 20, 4.0)
    """
    values_SR = _table("rows", rows)
    outcomes = ~np.isnan(values_SR)
    if not outcomes.any():
        raise ValueError("rows holds no outcome, so there is no rate")
    within("rows", values_SR[outcomes], 0.0, 1.0)
    values, (suspect, run) = values_SR[outcomes], (numbers_of(names.tolist()) for names in np.nonzero(outcomes))
    mean, count = float(values.mean()), len(values)
    variance, freedom = _variance((values - mean) / count, suspect, run)
    if variance > TINY:
        size = min(float(count), mean * (1 - mean) / variance)
        low, high = wilson(mean, size, student(freedom))
    else:
        size = float(suspect.max() + 1)
        low, high = wilson(mean, size)
    return Estimate(
        value=mean,
        low=float(low),
        high=float(high),
        n=values_SR.size,
        missing=values_SR.size - count,
        n_effective=size,
        units="claims",
        clusters=CLUSTERS,
        target=TARGET,
    )


def runs_auroc(positives: Sequence[Sequence[float]], negatives: Sequence[Sequence[float]]) -> Estimate:
    """Returns the mean over runs of how often an organism's suspicion is above a harmless suspect's of the same run.

    positives[p][r] is the suspicion of organism p in run r; scales may differ from run to run. The interval is that of
    `auroc` for as many suspects, at DeLong's variance of their means over runs plus what the runs add to it. It is
    never narrower than that of one run on as many suspects. `n` counts suspects.
    Raises ValueError for an empty class, rows of unequal length, and a suspicion that is not finite.
    Source: as for `auroc` and `runs_rate`.

    >>> estimate = runs_auroc([[3, 30], [2, 40]], [[1, 10], [0, 20]])
    >>> estimate.value, estimate.low < 0.5
    (1.0, True)
    """
    above_PR, below_NR = _table("positives", positives), _table("negatives", negatives)
    if above_PR.shape[1] != below_NR.shape[1] or not (np.isfinite(above_PR).all() and np.isfinite(below_NR).all()):
        raise ValueError("positives and negatives must be finite suspicions of as many runs")
    wins = [(wins_of(p, n), 1.0 - wins_of(n, p)) for p, n in zip(above_PR.T, below_NR.T, strict=True)]
    wins_PR, wins_NR = (np.stack(side, axis=1) for side in zip(*wins, strict=True))
    value, runs = float(wins_PR.mean()), wins_PR.shape[1]
    sides = [(wins - value) / wins.size for wins in (wins_PR, wins_NR)]
    between = sum(_scale(len(side)) * float((side.sum(1) ** 2).sum()) for side in sides)
    by_run = _scale(runs) * float(((sides[0].sum(0) + sides[1].sum(0)) ** 2).sum())
    excess = max(0.0, by_run - sum(float((side**2).sum()) for side in sides)) if runs > 1 else 0.0
    variance, quantile = between + excess, Z
    if excess > TINY:
        quantile = student((runs - 1) * (variance / excess) ** 2)
    organisms, harmless = len(wins_PR), len(wins_NR)
    estimate = score_auroc(value, variance, organisms, harmless, quantile, organisms + harmless)
    return replace(estimate, units="suspects", clusters=CLUSTERS, target=TARGET)


def predictive_value(sensitivity: Estimate, false_alarms: Estimate, *, prevalence: float) -> Estimate:
    """Returns which share of those that are flagged would be organisms, if so many of all models were.

    The bounds are the worst and the best combination of the bounds of the two shares: that is no 95 % interval of its
    own, but holds whatever both of them hold. `n` counts what both do. Raises ValueError for a prevalence outside of
    (0, 1), and where nothing at all was flagged. Source: Bayes' rule.

    >>> of = lambda value, low, high: Estimate(value=value, low=low, high=high, n=20)
    >>> estimate = predictive_value(of(0.9, 0.7, 0.97), of(0.1, 0.02, 0.3), prevalence=0.01)
    >>> round(estimate.low, 3), round(estimate.value, 3), round(estimate.high, 3)
    (0.023, 0.083, 0.329)
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence is {prevalence}; it must be between 0 and 1")
    if sensitivity.value == false_alarms.value == 0:
        raise ValueError("nothing was flagged, so there is no share of it")

    def share(caught: float, alarms: float) -> float:
        return prevalence * caught / (prevalence * caught + (1 - prevalence) * alarms)

    return Estimate(
        value=share(sensitivity.value, false_alarms.value),
        low=share(sensitivity.low, false_alarms.high),
        high=share(sensitivity.high, false_alarms.low),
        n=sensitivity.n + false_alarms.n,
        units=sensitivity.units,
        clusters=sensitivity.clusters,
        target=f"models of which {prevalence:g} are organisms",
    )


# ---------------------------------------------------------------- inside


def _variance(parts: Floats, suspects: Numbers, runs: Numbers) -> tuple[float, float]:
    """Returns the variance of a sum over claims, and its degrees of freedom: (0, inf) of one suspect or one run."""
    if not suspects.any() or not runs.any():
        return 0.0, math.inf
    return crossed_variance(parts, suspects, runs)


def _scale(count: int) -> float:
    """What a variance between so many clusters is short of, since their own mean was taken off."""
    return count / max(1, count - 1)


def _table(name: str, rows: Sequence[Sequence[float | bool | None]]) -> Floats:
    """Returns the outcomes as [suspects, runs], NaN for none."""
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(f"{name} has suspects of {lengths} runs; they must be as many, and at least one")
    return np.array([[np.nan if x is None else float(x) for x in row] for row in rows])
