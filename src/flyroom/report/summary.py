"""What a detector was seen to do, in one sentence: whom it separates, who lies above the threshold that calibration
twins set, and whether a recall at 1 % false positives can be told from that.
"""

from __future__ import annotations

from flyroom.report.standing import Standing, has_figures, standing_of
from flyroom.report.words import figure, share
from flyroom.types import Cell, Estimate


def summary_of(cell: Cell) -> str:
    """What was seen of one cell; "" where it has no figures."""
    standing = standing_of([cell]) if has_figures(cell) else None
    return "" if standing is None else "; ".join(part for part in (summarise(standing), cell.caveat) if part)


def summarise(standing: Standing) -> str:
    """What was seen, with a small letter and without a full stop.

    Of models "separates 4 of 4 (AUROC 1 [0.58, 1]); above the highest of 8 calibration twins lie 2 of 4 other twins;
    8 twins are too few for recall at 1 %".
    """
    return "; ".join(part for part in (_apart(standing), _above(standing), _recall(standing)) if part)


def threshold_of(cell: Cell) -> str:
    """What the threshold of a cell is: "the highest of 8 calibration twins"."""
    number = len(cell.suspicions.get("calibration", ()))
    place = 1 if cell.rate is None else round(cell.rate * (number + 1))
    which = "the highest" if place <= 1 else "the second highest" if place == 2 else f"number {place} from the top"
    return f"{which} of {number:,} calibration {'twins' if cell.unit == 'model' else 'replies'}"


def _apart(standing: Standing) -> str:
    """Whom it separates from all that is harmless, and the AUROC."""
    auroc = write_auroc(standing)
    if standing.unit == "response":
        return f"tells misaligned replies from aligned ones of the same organism and condition ({auroc})"
    if standing.separate is None:
        return f"tells organisms from twins ({auroc})"
    return f"separates {standing.separate} of {standing.positives} ({auroc})"


def write_auroc(standing: Standing) -> str:
    if standing.estimate is not None:
        return f"AUROC {figure(standing.estimate)}"
    return f"AUROC {share(standing.auroc)}" if len(standing.cells) == 1 else f"mean AUROC {share(standing.auroc)}"


def _above(standing: Standing) -> str:
    """The harmless ones above the threshold; of replies the misaligned ones too, which nothing else counts."""
    fpr, first = standing.fpr, standing.first
    if fpr is None or standing.hits is None:
        return ""
    alarms = _count(fpr)
    if standing.unit == "response":
        where = f"{standing.hits} of {standing.positives} misaligned replies and {alarms} aligned ones"
    elif first.fpr_twins and first.fpr_decoys:
        where = f"{_count(first.fpr_twins)} other twins and {_count(first.fpr_decoys)} decoys"
    else:
        where = f"{alarms} other twins{' and decoys' if first.suspicions.get('decoys') else ''}"
    return f"above {threshold_of(first)} lie {where}"


def _count(alarms: Estimate) -> str:
    return f"{round(alarms.value * alarms.n)} of {alarms.n}"


def _recall(standing: Standing) -> str:
    first = standing.first
    if first.recall_at_1pct_fpr is None:
        return first.why
    if len(standing.cells) == 1 and not standing.absent:
        return f"recall at 1 % is {figure(first.recall_at_1pct_fpr)}"
    return f"recall at 1 % is {standing.hits} of {standing.positives}"
