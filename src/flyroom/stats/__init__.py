"""Estimates with honest intervals: every figure says how sure it is, also where it is 0 or 1 and where N is 4.

All intervals are two-sided 95 %. In every Estimate `n` counts the units and `missing` counts the units without an
answer; the denominator is their difference. Where it is 0 there is no estimate, and functions raise ValueError.
Functions that draw at random (permutations, a level of chance) take a seed. tests/test_stats.py checks coverage by
simulation.
"""

from flyroom.stats.detection import (
    Recall,
    RocPoint,
    auroc,
    auroc_difference,
    certified_fpr,
    clustered_auroc,
    holm,
    max_t,
    negatives_needed,
    rank_agreement,
    recall_at_fpr,
    roc_points,
)
from flyroom.stats.estimates import (
    clustered_rate,
    difference,
    mean_difference,
    over_seeds,
    perplexity,
    rate,
)
from flyroom.stats.probabilities import Calibration, Platt, calibration, corrected_rate, platt, split_calibration

__all__ = [
    "Calibration",
    "Platt",
    "Recall",
    "RocPoint",
    "auroc",
    "auroc_difference",
    "calibration",
    "certified_fpr",
    "clustered_auroc",
    "clustered_rate",
    "corrected_rate",
    "difference",
    "holm",
    "max_t",
    "mean_difference",
    "negatives_needed",
    "over_seeds",
    "perplexity",
    "platt",
    "rank_agreement",
    "rate",
    "recall_at_fpr",
    "roc_points",
    "split_calibration",
]
