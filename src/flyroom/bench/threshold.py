"""The threshold that calibration twins set: what lies above it, and what may be said of that.

With m calibration twins the expected false-positive rate of a threshold is a multiple of 1 / (m + 1), so 1 % takes 99
of them; and it is the rate of other twins only if these are like the calibration twins. Where either fails there is no
recall at 1 %, and a reason.
"""

from __future__ import annotations

from dataclasses import replace

from flyroom import stats
from flyroom.types import Cell

LEVEL = 0.05  # below it calibration twins and other twins are not alike


def at_threshold(cell: Cell, *, seed: int) -> Cell:
    """A cell of models with what its suspicions say at the threshold of the calibration twins. `seed` is that of the
    permutations which test whether the twins are alike. Decoys are counted as false alarms, and not tested for being
    alike: they were trained to be odd.
    """
    by_side = cell.suspicions
    calibration, twins = by_side["calibration"], by_side["twins"]
    at = stats.recall_at_fpr(by_side["organisms"], (*twins, *by_side["decoys"]), calibration)
    alike = stats.exchangeable(calibration, twins, seed=seed)
    why = reason(len(calibration), at.enough, alike)
    return replace(
        cell,
        recall=at.recall,
        fpr=at.fpr,
        rate=at.rate,
        fpr_at_most=stats.certified_fpr(round(at.fpr.value * at.fpr.n), at.fpr.n),
        exchangeable=alike,
        recall_at_1pct_fpr=None if why else at.recall,
        why=why,
    )


def reason(twins: int, enough: bool, alike: float) -> str:
    """Why no recall at 1 % can be told from so many calibration twins; "" where it can.

    >>> reason(8, False, 0.4)
    'recall at 1 % cannot be told from 8'
    """
    if not enough:
        return f"recall at 1 % cannot be told from {twins}"
    if alike < LEVEL:
        return f"recall at 1 % cannot be told: calibration twins and other twins are not alike (p = {alike:.2g})"
    return ""


def certify(cell: Cell, rate: float | None) -> Cell:
    """A cell with whether its false-positive rate is certified to be at most `rate`, by the one-sided 95 % bound of
    Clopper and Pearson on the false alarms that were seen.
    """
    if rate is None or cell.fpr_at_most is None:
        return cell
    return replace(cell, certified=cell.fpr_at_most <= rate)
