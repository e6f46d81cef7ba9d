"""The matrix for a page: a table for each unit that can be sorted, and every cell's figures, which it opens.

Models and replies are never in one table. A field's colour runs from blue (below guessing) over paper (50) to orange,
as in the plots, and its figure is always written: a colour tells none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from flyroom.report.headline import best
from flyroom.report.words import (
    certifies,
    clean,
    count,
    figure,
    plural,
    ranked,
    seconds,
    written,
)
from flyroom.types import Cell, Estimate, Matrix

WHITE_BOX = ("trace", "gradients", "weights")
TINT = 0.5  # the strongest colour of a field, so that its figure can be read on it
COLOUR_OF = {
    "organisms": "organism", "twins": "twin", "decoys": "second", "calibration": "base",
    "misaligned": "organism", "aligned": "twin",
}  # fmt: skip
LEVELS = {"model": "Detectors of models", "response": "Detectors of replies"}


def tables(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A table for each unit: detectors down, the best on average first, recipes across."""
    found = []
    for unit in dict.fromkeys(cell.unit for cell in cells):
        own = [cell for cell in cells if cell.unit == unit]
        recipes = list(dict.fromkeys(cell.recipe for cell in own))
        at = {(cell.detector, cell.recipe): cell for cell in own}
        rows = []
        for down, (name, average) in enumerate(ranked(own).items()):
            first = next(cell for cell in own if cell.detector == name)
            tokens = first.cost.forward_tokens + first.cost.generated_tokens
            rows.append(
                {
                    "name": clean(name),
                    "access": clean(first.access),
                    "tokens": tokens,
                    "tokens_written": count(tokens),
                    "seconds": f"{first.cost.seconds:.3f}",
                    "seconds_written": seconds(first.cost.seconds),
                    "mean": _field(average),
                    "fields": [
                        _opened(at.get((name, recipe)), f"cell-{clean(unit)}-{down}-{across}")
                        for across, recipe in enumerate(recipes)
                    ],
                }
            )
        found.append(
            {
                "id": f"matrix-{clean(unit)}",
                "name": LEVELS[unit],
                "recipes": [clean(recipe) for recipe in recipes],
                "rows": rows,
            }
        )
    return found


def flat(cell: Cell) -> dict[str, Any]:
    """A cell with every figure written."""
    return {
        "name": clean(cell.detector),
        "access": clean(cell.access),
        "recipe": clean(cell.recipe),
        "unit": clean(cell.unit),
        "auroc": written(cell.auroc),
        "recall": written(cell.recall_at_1pct_fpr),
        "fpr": written(cell.fpr),
        "certifies": certifies(cell.fpr),
        "forward": count(cell.cost.forward_tokens),
        "generated": count(cell.cost.generated_tokens),
        "seconds": seconds(cell.cost.seconds),
        "error": None if cell.error is None else clean(cell.error),
    }


def suspects(matrix: Matrix | None) -> str:
    """Who was tested, in one sentence."""
    if matrix is None or not matrix.organisms:
        return ""
    groups = (("organism", matrix.organisms), ("twin", matrix.twins), ("decoy", matrix.decoys))
    *first, last = [plural(len(ids), noun) for noun, ids in groups if ids or noun == "twin"]
    others = plural(len(matrix.calibration), "other clean model")
    return f"{', '.join(first)} and {last}, blinded; thresholds set on {others}."


def boxes(cells: Sequence[Cell]) -> list[str]:
    """For each recipe and unit, the best detector that looks inside beside the best that only talks to the suspect."""
    lines = []
    several = len({(c.recipe, c.unit) for c in cells}) > 1
    for recipe, unit in dict.fromkeys((c.recipe, c.unit) for c in cells):
        group = [c for c in cells if (c.recipe, c.unit) == (recipe, unit)]
        inside = best([c for c in group if _white(c)])
        outside = best([c for c in group if not _white(c)])
        if inside is not None and outside is not None:
            lines.append(
                (f"{clean(recipe)}, {clean(unit)} level. " if several else "")
                + f"Best white-box detector: {clean(inside.detector)}, AUROC {figure(inside.auroc)}; "
                f"best black-box detector: {clean(outside.detector)}, {figure(outside.auroc)}."
            )
    return lines


def _white(cell: Cell) -> bool:
    return any(word in cell.access.lower() for word in WHITE_BOX)


# ---------------------------------------------------------------- a cell, closed and open


def _field(value: float) -> dict[str, Any]:
    """A figure in hundredths with what to sort it by, the side of guessing it is on, and how far, in per cent."""
    if math.isnan(value):
        return {"text": "-", "value": "", "side": "", "tint": 0}
    side = "organism" if value >= 0.5 else "twin"
    tint = min(1.0, abs(value - 0.5) * 2) * TINT
    return {"text": f"{100 * value:.0f}", "value": f"{value:.4f}", "side": side, "tint": round(100 * tint)}


def _opened(cell: Cell | None, name: str) -> dict[str, Any] | None:
    """A field with what it opens; None where the detector was not put to the recipe."""
    if cell is None:
        return None
    auroc = cell.auroc if cell.error is None else None
    return {
        "id": name,
        **_field(math.nan if auroc is None else auroc.value),
        "bounds": _hundredths(auroc),
        "said": f"{clean(cell.detector)} on {clean(cell.recipe)}: "
        + ("failed" if cell.error is not None else f"AUROC {figure(auroc)}"),
        "open": flat(cell) | {"strips": _strips(cell)},
    }


def _hundredths(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.low) or math.isnan(estimate.high):
        return ""
    return f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f}"


def _strips(cell: Cell) -> list[dict[str, str]]:
    """The suspicions of each group as ticks on one scale, drawn 1000 wide; the range and the median beside them."""
    everything = [x for values in cell.suspicions.values() for x in values]
    if not everything:
        return []
    low, span = min(everything), (max(everything) - min(everything)) or 1.0
    strips = []
    for who, values in cell.suspicions.items():
        if values:
            places = sorted(round(10 + 980 * (x - low) / span) for x in values)
            strips.append(
                {
                    "who": clean(who),
                    "colour": COLOUR_OF.get(who, "base"),
                    "path": "".join(f"M{place} 0v14" for place in places),
                    "range": f"{plural(len(values), 'suspicion')} from {min(values):.3g} to {max(values):.3g}, "
                    f"median {median(values):.3g}",
                }
            )
    return strips
