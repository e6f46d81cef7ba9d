"""The threshold that calibration twins set: what lies above it, and what may be said of that.

With m calibration twins the expected false-positive rate of a threshold is a multiple of 1 / (m + 1), so 1 % takes 99
of them; and it is the rate of other twins only if these are like the calibration twins. Where either fails there is no
recall at 1 %, and a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flyroom import stats
from flyroom.types import Cell, Estimate

LEVEL = 0.05  # below it calibration twins and other twins are not alike


def at_threshold(cell: Cell, recipes: Mapping[str, Sequence[str]], *, seed: int) -> Cell:
    """A cell of models with what its suspicions say at the threshold of the calibration twins. Args: recipes, those of
    "twins" and "decoys" in the order of the suspicions; seed, of the permutations which test whether the twins are
    alike.

    Decoys are false alarms too, and stand beside the twins: they were trained to be odd, so they are neither tested for
    being alike nor in what a rate is certified by. A mean of both rates would hang on how many decoys there are.
    """
    by_side = cell.suspicions
    calibration, twins = by_side["calibration"], by_side["twins"]
    at = stats.recall_at_fpr(by_side["organisms"], (*twins, *by_side["decoys"]), calibration)
    alike = stats.exchangeable(calibration, twins, seed=seed)
    why = reason(len(calibration), at.enough, alike)
    flags = {side: [x > at.threshold for x in by_side[side]] for side in ("twins", "decoys")}
    return replace(
        cell,
        recall=at.recall,
        fpr=at.fpr,
        rate=at.rate,
        fpr_twins=_rate_of(flags["twins"], recipes["twins"]),
        fpr_decoys=_rate_of(flags["decoys"], recipes["decoys"]),
        fpr_at_most=stats.clustered_fpr(flags["twins"], recipes["twins"]),
        exchangeable=alike,
        recall_at_1pct_fpr=None if why else at.recall,
        why=why,
    )


def _rate_of(flags: Sequence[bool], recipes: Sequence[str]) -> Estimate | None:
    """The share that is flagged; of several recipes clustered by them, for models of one recipe are alike."""
    if not flags:
        return None
    if len(set(recipes)) < 2:
        return stats.rate(flags, units="suspects")
    return stats.clustered_rate(flags, recipes, units="suspects", kind="recipes")


def reason(twins: int, enough: bool, alike: float) -> str:
    """Why no recall at 1 % can be told from so many calibration twins; "" where it can.

    >>> reason(8, False, 0.4)
    '8 twins are too few for recall at 1 %'
    """
    if not enough:
        return f"{twins} twins are too few for recall at 1 %"
    if alike < LEVEL:
        return f"recall at 1 % cannot be told: calibration twins and other twins are not alike (p = {alike:.2g})"
    return ""


def certify(cell: Cell, rate: float | None) -> Cell:
    """A cell with whether its false-positive rate on twins is certified to be at most `rate`, by the one-sided 95 %
    bound on the false alarms that were seen (`stats.clustered_fpr`).
    """
    if rate is None or cell.fpr_at_most is None:
        return cell
    return replace(cell, certified=cell.fpr_at_most <= rate)
