"""The matrix: each stored detector with its cells, those of one lineup together, and a dot for each suspect.

Cells do not name the lineup that they are of. Those with the same models in them were one; cells of before that name
no models go together by their recipes and by how many models each side has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from flyroom.report.matrix import state_of
from flyroom.report.summary import summary_of
from flyroom.types import Cell, Entry, digest
from flyroom.view.figures import brief
from flyroom.view.shelf import Shelf

CELLS = TypeAdapter(list[Cell])


def cells_of(entry: Entry) -> list[Cell]:
    """The cells of an entry, one a recipe."""
    return CELLS.validate_python(entry.payload["cells"])


def matrix_page(shelf: Shelf) -> dict[str, Any]:
    """The lineups of a room, the newest first, each with its detectors, the best first."""
    groups: dict[str, list[tuple[str, list[Cell]]]] = {}
    for item in shelf.index.by_kind.get("cells", ()):
        entry = shelf.room.get("cells", item.key)
        if entry is not None:
            cells = cells_of(entry)
            groups.setdefault(_lineup_of(entry, cells), []).append((entry.key, cells))
    return {"lineups": [_lineup(name, rows) for name, rows in reversed(groups.items())]}


def _lineup_of(entry: Entry, cells: Sequence[Cell]) -> str:
    models = entry.payload.get("models")
    return digest([cell.recipe for cell in cells] + (models or [len(x) for c in cells for x in c.suspicions.values()]))


def _lineup(name: str, rows: Sequence[tuple[str, list[Cell]]]) -> dict[str, Any]:
    detectors = [_detector(key, cells) for key, cells in rows]
    order = sorted(detectors, key=lambda row: (row["unit"] != "model", -row["mean"]))
    return {
        "id": name,
        "recipes": list(dict.fromkeys(c.recipe for _, cells in rows for c in cells)),
        "detectors": order,
    }


def _detector(key: str, cells: Sequence[Cell]) -> dict[str, Any]:
    values = [cell.auroc.value for cell in cells if cell.auroc is not None]
    first = cells[0]
    return {
        "key": key,
        "name": first.detector,
        "unit": first.unit,
        "access": first.access,
        "mean": sum(values) / len(values) if values else -1.0,
        "cells": [{"recipe": c.recipe, "auroc": brief(c.auroc), "state": state_of(c)} for c in cells],
    }


# ---------------------------------------------------------------- one detector


def cells_page(entry: Entry) -> dict[str, Any]:
    """One detector in full: every cell, and of each suspect what it was suspected of."""
    cells = cells_of(entry)
    models: Sequence[Mapping[str, Sequence[str]]] = entry.payload.get("models") or [{} for _ in cells]
    return {
        "key": entry.key,
        "name": cells[0].detector,
        "unit": cells[0].unit,
        "access": cells[0].access,
        "asks": bool(entry.payload.get("episodes")),
        "cells": [_cell(cell, sides) for cell, sides in zip(cells, models, strict=True)],
    }


def _cell(cell: Cell, models: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    return {
        "recipe": cell.recipe,
        "summary": summary_of(cell),
        "state": state_of(cell),
        "why": cell.error or cell.why,
        "auroc": brief(cell.auroc),
        "recall": brief(cell.recall),
        "fpr": brief(cell.fpr),
        "fpr_twins": brief(cell.fpr_twins),
        "fpr_decoys": brief(cell.fpr_decoys),
        "tokens": cell.cost.forward_tokens + cell.cost.generated_tokens,
        "seconds": cell.cost.seconds,
        "threshold": max(cell.suspicions.get("calibration", ()), default=None),
        "strips": [
            {"side": side, "dots": list(_dots(cell, side, values, models))}
            for side, values in cell.suspicions.items()
            if values
        ],
    }


def _dots(
    cell: Cell, side: str, values: Sequence[float], models: Mapping[str, Sequence[str]]
) -> Iterable[dict[str, Any]]:
    """Each suspicion with the model that it is of, "" where the room does not say."""
    owners = models.get("calibration" if side == "calibration" else "organisms", ())
    numbers = [origin[0] for origin in cell.origins.get(side, ())]
    ids = [owners[n] if n < len(owners) else "" for n in numbers] if numbers else list(models.get(side, ()))
    for place, value in enumerate(values):
        yield {"x": value, "model": ids[place] if len(ids) == len(values) else ""}
