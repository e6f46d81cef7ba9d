"""The matrix for a page: a table for each unit that can be sorted, and every cell's figures, which it opens.

Models and replies are never in one table. A field's colour runs from blue (below guessing) over paper (50) to orange,
as in the plots, and its figure is always written: no colour stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from flyroom.report.standing import best, has_figures, rank, tokens_of
from flyroom.report.summary import threshold_of
from flyroom.report.words import (
    clean,
    count,
    figure,
    join,
    percent,
    plural,
    seconds,
    write_ceiling,
    write_estimate,
)
from flyroom.types import Cell, Estimate, Matrix

WHITE_BOX = ("trace", "gradients", "weights")
TINT = 0.5  # the strongest colour of a field, so that its figure can be read on it
COLOUR_OF = {
    "organisms": "organism", "twins": "twin", "decoys": "second", "calibration": "base",
    "misaligned": "organism", "aligned": "twin",
}  # fmt: skip
LEVELS = {"model": "Detectors of models", "response": "Detectors of replies"}
FAULT, ABSENT = "failed", "not available"


def tables(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A table for each unit: detectors down, the best on average first, recipes across."""
    units = dict.fromkeys(cell.unit for cell in cells)
    return [_table(unit, [cell for cell in cells if cell.unit == unit]) for unit in units]


def describe(cell: Cell) -> dict[str, Any]:
    """A cell with every figure written."""
    return {
        "name": clean(cell.detector),
        "access": clean(cell.access),
        "recipe": clean(cell.recipe),
        "unit": clean(cell.unit),
        "auroc": write_estimate(cell.auroc),
        "recall": write_estimate(cell.recall),
        "fpr": write_estimate(cell.fpr_twins or cell.fpr),
        "fpr_decoys": write_estimate(cell.fpr_decoys) if cell.fpr_decoys else None,
        "at_1pct": write_estimate(cell.recall_at_1pct_fpr),
        "above": "Organisms" if cell.unit == "model" else "Misaligned replies",
        "threshold": threshold_of(cell),
        "rate": _write_rate(cell),
        "ceiling": write_ceiling(cell.fpr_at_most),
        "forward": count(cell.cost.forward_tokens),
        "generated": count(cell.cost.generated_tokens),
        "seconds": seconds(cell.cost.seconds),
        "state": state_of(cell),
        "why": clean(cell.error if cell.error is not None else cell.why),
    }


def state_of(cell: Cell) -> str:
    """Why a cell has no figures, in two words; "" where it has."""
    if cell.error is not None:
        return FAULT
    return "" if cell.available else ABSENT


def _write_rate(cell: Cell) -> str:
    """The false-positive rate that the threshold has in expectation, and on what that rests; "" where none follows."""
    if cell.rate is None:
        return ""
    alike = "" if cell.exchangeable is None else f" (p = {cell.exchangeable:.2g})"
    certified = {None: "", True: "; certified", False: "; not certified"}[cell.certified]
    return f"{percent(cell.rate)} expected of twins that are like the calibration twins{alike}{certified}"


def suspects(matrix: Matrix | None) -> str:
    """Which models were tested, in one sentence."""
    if matrix is None or not matrix.organisms:
        return ""
    groups = (("organism", matrix.organisms), ("twin", matrix.twins), ("decoy", matrix.decoys))
    models = join([plural(len(ids), noun) for noun, ids in groups if ids or noun == "twin"])
    calibration = plural(len(matrix.calibration), "calibration twin")
    return f"The detectors saw {models}, under random names. Thresholds were set on {calibration}."


def boxes(cells: Sequence[Cell]) -> list[str]:
    """For each recipe and unit, the best detector that looks inside beside the best that only talks to the suspect."""
    groups = dict.fromkeys((cell.recipe, cell.unit) for cell in cells)
    lines = []
    for recipe, unit in groups:
        group = [c for c in cells if (c.recipe, c.unit) == (recipe, unit)]
        inside, outside = (best([c for c in group if _is_white(c) is white]) for white in (True, False))
        if inside and outside:
            where = f"{clean(recipe)}, {clean(unit)} level. " if len(groups) > 1 else ""
            tops = (inside[0], outside[0])
            white, black = (f"{clean(top.first.detector)}, AUROC {figure(top.estimate)}" for top in tops)
            lines.append(f"{where}Best detector that looks inside: {white}; best that only asks: {black}.")
    return lines


def _is_white(cell: Cell) -> bool:
    return any(word in cell.access.lower() for word in WHITE_BOX)


# ---------------------------------------------------------------- a table


def _table(unit: str, cells: Sequence[Cell]) -> dict[str, Any]:
    recipes = list(dict.fromkeys(cell.recipe for cell in cells))
    rows = []
    for down, (name, average) in enumerate(rank(cells).items()):
        group = {cell.recipe: cell for cell in cells if cell.detector == name}
        row = _row(name, average, group)
        row["fields"] = [
            _open(group.get(recipe), f"cell-{clean(unit)}-{down}-{across}") for across, recipe in enumerate(recipes)
        ]
        rows.append(row)
    return {
        "id": f"matrix-{clean(unit)}",
        "name": LEVELS[unit],
        "recipes": [clean(recipe) for recipe in recipes],
        "rows": rows,
    }


def _row(name: str, average: float, cells: dict[str, Cell]) -> dict[str, Any]:
    first = next(iter(cells.values()))
    return {
        "name": clean(name),
        "access": clean(first.access),
        "tokens": tokens_of(first),
        "tokens_text": count(tokens_of(first)),
        "seconds": f"{first.cost.seconds:.3f}",
        "seconds_text": seconds(first.cost.seconds),
        "mean": _field(average),
    }


def _field(value: float) -> dict[str, Any]:
    """A figure in hundredths with what to sort it by, the side of guessing it is on, and how far, in per cent."""
    if math.isnan(value):
        return {"text": "-", "value": "", "side": "", "tint": 0}
    side = "organism" if value >= 0.5 else "twin"
    tint = min(1.0, abs(value - 0.5) * 2) * TINT
    return {"text": f"{100 * value:.0f}", "value": f"{value:.4f}", "side": side, "tint": round(100 * tint)}


def _open(cell: Cell | None, name: str) -> dict[str, Any] | None:
    """A field with what it opens; None where the detector was not put to the recipe."""
    if cell is None:
        return None
    state, auroc = state_of(cell), cell.auroc if has_figures(cell) else None
    return {
        "id": name,
        **_field(math.nan if auroc is None else auroc.value),
        "bounds": state or _hundredths(auroc),
        "label": f"{clean(cell.detector)} on {clean(cell.recipe)}: {state or f'AUROC {figure(auroc)}'}",
        "open": describe(cell) | {"strips": _strips(cell)},
    }


def _hundredths(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f}"


def _strips(cell: Cell) -> list[dict[str, str]]:
    """The suspicions of each group as ticks on one scale, drawn 1000 wide; the range and the median beside them."""
    suspicions = [x for values in cell.suspicions.values() for x in values]
    if not suspicions:
        return []
    low, span = min(suspicions), (max(suspicions) - min(suspicions)) or 1.0
    return [_strip(group, values, low, span) for group, values in cell.suspicions.items() if values]


def _strip(group: str, values: Sequence[float], low: float, span: float) -> dict[str, str]:
    places = sorted(round(10 + 980 * (x - low) / span) for x in values)
    extent = f"from {min(values):.3g} to {max(values):.3g}, median {median(values):.3g}"
    return {
        "group": clean(group),
        "colour": COLOUR_OF.get(group, "base"),
        "path": "".join(f"M{place} 0v14" for place in places),
        "range": f"{plural(len(values), 'suspicion')} {extent}",
    }
