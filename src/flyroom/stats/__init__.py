"""Estimates with honest intervals: every figure says how sure it is, also where it is 0 or 1 and where N is 4.

Intervals are two-sided 95 %; the bounds of verdicts are one-sided. In every Estimate `n` counts the units and `missing`
counts the units without an answer; the denominator is their difference. Where it is 0 there is no estimate, and
functions raise ValueError. Functions that draw at random (permutations, a level of chance) take a seed.
scripts/coverage.py checks coverage by simulation, and so do the tests, in small.
"""

from flyroom.stats.crossed import crossed_rate
from flyroom.stats.detection import auroc, auroc_difference, clustered_auroc
from flyroom.stats.differences import difference, gap, mean_difference
from flyroom.stats.estimates import clustered_rate, over_seeds, perplexity, rate, situations_rate
from flyroom.stats.exact import exact_rate
from flyroom.stats.many import Contrast, Halves, holm, max_t, rank_agreement, threat_contrast, threat_halves
from flyroom.stats.means import jackknife, mean
from flyroom.stats.probabilities import Calibration, Platt, calibration, corrected_rate, platt, split_calibration
from flyroom.stats.runs import predictive_value, runs_auroc, runs_rate
from flyroom.stats.strata import stratified_auroc
from flyroom.stats.thresholds import (
    Recall,
    RocPoint,
    certified_fpr,
    clustered_fpr,
    exchangeable,
    negatives_needed,
    recall_at_fpr,
    roc_points,
)
from flyroom.stats.verdicts import Bounds, bounds, drop_bounds, pocock, ratio_bounds

__all__ = [
    "Bounds",
    "Calibration",
    "Contrast",
    "Halves",
    "Platt",
    "Recall",
    "RocPoint",
    "auroc",
    "auroc_difference",
    "bounds",
    "calibration",
    "certified_fpr",
    "clustered_auroc",
    "clustered_fpr",
    "clustered_rate",
    "corrected_rate",
    "crossed_rate",
    "difference",
    "drop_bounds",
    "exact_rate",
    "exchangeable",
    "gap",
    "holm",
    "jackknife",
    "max_t",
    "mean",
    "mean_difference",
    "negatives_needed",
    "over_seeds",
    "perplexity",
    "platt",
    "pocock",
    "predictive_value",
    "rank_agreement",
    "rate",
    "ratio_bounds",
    "recall_at_fpr",
    "roc_points",
    "runs_auroc",
    "runs_rate",
    "situations_rate",
    "split_calibration",
    "stratified_auroc",
    "threat_contrast",
    "threat_halves",
]
