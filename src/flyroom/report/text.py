"""The tables as Markdown, for documents and pull requests. Everything from data is escaped: no cell can end its row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from flyroom.report.gauges import MODELS, labels_of, lower, measures_of
from flyroom.report.matrix import FAULT, state_of
from flyroom.report.standing import rank
from flyroom.report.summary import threshold_of
from flyroom.report.words import (
    NOT_MEASURED,
    Figure,
    clean,
    count,
    figure,
    seconds,
    share,
    write_ceiling,
)
from flyroom.types import Card, Cell, Estimate, Matrix, NotMeasured


def markdown_cards(cards: Sequence[Card]) -> str:
    """One row each for an organism, its twin and its base; "" when there is no card. A dash stands for a measure that
    other cards have and this one does not.
    """
    if not cards:
        return ""
    measures, labels = measures_of(cards), labels_of(cards)
    rows = [_model(card, side, measures) for card in cards for side in MODELS]
    return write_table(["recipe", "seed", "model", "verdict", *(lower(labels[m]) for m in measures)], rows)


def _model(card: Card, side: str, measures: Sequence[str]) -> list[str]:
    values, present = card.measures.get(side, {}), measures_of([card])
    verdict = card.verdict.value if side == "organism" else ""
    verdict += ", imported" if verdict and card.provenance == "imported" else ""
    figures = [_write(values.get(measure)) if measure in present else "-" for measure in measures]
    return [card.recipe or card.recipe_id, str(card.seed), side, verdict, *figures]


def markdown_grid(matrix: Matrix) -> str:
    """AUROC with its interval, detectors down and recipes across, the best on average first: a table for each unit."""
    units = dict.fromkeys(cell.unit for cell in matrix.cells)
    return "\n".join(_grid(unit, [cell for cell in matrix.cells if cell.unit == unit]) for unit in units)


def _grid(unit: str, cells: Sequence[Cell]) -> str:
    at = {(cell.detector, cell.recipe): cell for cell in cells}
    recipes = list(dict.fromkeys(cell.recipe for cell in cells))
    rows = [
        [name, "-" if math.isnan(average) else share(average), *(_brief(at.get((name, recipe))) for recipe in recipes)]
        for name, average in rank(cells).items()
    ]
    return write_table([f"detector, {unit} level", "mean AUROC", *recipes], rows)


def _brief(cell: Cell | None) -> str:
    return "-" if cell is None else state_of(cell) or figure(cell.auroc)


def markdown_matrix(matrix: Matrix) -> str:
    """One row a cell; a detector that failed, or that cannot be had here, is a row with the reason. "" when there is no
    cell.

    The threshold is that of the calibration twins; above it lie organisms and harmless models, or misaligned and
    aligned replies. Where recall at 1 % false positives cannot be told, its column says why.
    """
    if not matrix.cells:
        return ""
    head = [
        "detector", "access", "recipe", "unit", "AUROC", "threshold", "organisms above it", "harmless above it",
        "recall at 1 %", "forward tokens", "generated tokens", "time",
    ]  # fmt: skip
    return write_table(head, [_row(cell) for cell in matrix.cells])


def _row(cell: Cell) -> list[str]:
    cost = [count(cell.cost.forward_tokens), count(cell.cost.generated_tokens), seconds(cell.cost.seconds)]
    what = [cell.detector, cell.access, cell.recipe, cell.unit]
    state = state_of(cell)
    if state:
        why = cell.error if state == FAULT else cell.why
        return [*what, f"{state}: {why}" if why else state, *[""] * 4, *cost]
    alarms = NOT_MEASURED if cell.fpr is None else f"{_alarms(cell)}; {write_ceiling(cell.fpr_at_most)}"
    recall = cell.why if cell.recall_at_1pct_fpr is None else _write(cell.recall_at_1pct_fpr)
    return [*what, _write(cell.auroc), threshold_of(cell), _write(cell.recall), alarms, recall, *cost]


def _alarms(cell: Cell) -> str:
    """The share of harmless models above the threshold, that of twins and that of decoys where there are both."""
    if cell.fpr_twins and cell.fpr_decoys:
        return f"{_write(cell.fpr_twins)} of the twins, {_write(cell.fpr_decoys)} of the decoys"
    return _write(cell.fpr_twins or cell.fpr)


def _write(value: Figure) -> str:
    if isinstance(value, NotMeasured):
        return f"{NOT_MEASURED}: {value.why}" if value.why else NOT_MEASURED
    missing = value.missing if isinstance(value, Estimate) else 0
    return figure(value) + (f" ({missing} of {value.n} missing)" if isinstance(value, Estimate) and missing else "")


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, everything escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_escape(cell) for cell in line) + " |\n" for line in lines)


def _escape(cell: str) -> str:
    one_line = re.sub(r"\s+", " ", clean(cell)).strip()
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        one_line = one_line.replace(character, entity)
    # Brackets stay, for intervals; what would make a link of them does not.
    return re.sub(r"([\\|`*_~])", r"\\\1", one_line).replace("](", "]\\(")
