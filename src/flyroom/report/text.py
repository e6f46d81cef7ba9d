"""The tables as Markdown, for documents and pull requests. Everything from data is escaped: no cell can end its row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from flyroom.report.words import (
    NOT_MEASURED,
    WHO,
    certifies,
    clean,
    count,
    figure,
    label,
    measures_of,
    ranked,
    seconds,
    share,
)
from flyroom.types import Card, Cell, Estimate, Matrix


def markdown_cards(cards: Sequence[Card]) -> str:
    """One row each for an organism, its twin and its base; "" when there is no card."""
    if not cards:
        return ""
    measures = measures_of(cards)
    rows = [
        [
            card.recipe or card.recipe_id,
            str(card.seed),
            who,
            card.verdict.value if who == "organism" else "",
            *(_counted(card.measures.get(who, {}).get(measure)) for measure in measures),
        ]
        for card in cards
        for who in WHO
    ]
    return _table(["recipe", "seed", "model", "verdict", *(label(m).lower() for m in measures)], rows)


def markdown_grid(matrix: Matrix) -> str:
    """AUROC with its interval, detectors down and recipes across, the best on average first: a table for each unit."""
    tables = []
    for unit in dict.fromkeys(cell.unit for cell in matrix.cells):
        own = [cell for cell in matrix.cells if cell.unit == unit]
        at = {(cell.detector, cell.recipe): cell for cell in own}
        recipes = list(dict.fromkeys(cell.recipe for cell in own))
        rows = [
            [
                name,
                "-" if math.isnan(average) else share(average),
                *(_brief(at.get((name, recipe))) for recipe in recipes),
            ]
            for name, average in ranked(own).items()
        ]
        tables.append(_table([f"detector, {unit} level", "mean AUROC", *recipes], rows))
    return "\n".join(tables)


def _brief(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return "failed" if cell.error is not None else figure(cell.auroc)


def markdown_matrix(matrix: Matrix) -> str:
    """One row a cell; a detector that failed is a row with its error. "" when there is no cell."""
    if not matrix.cells:
        return ""
    head = [
        "detector", "access", "recipe", "unit", "AUROC", "recall at 1 % FPR", "realised FPR",
        "forward tokens", "generated tokens", "time",
    ]  # fmt: skip
    return _table(head, [_row(cell) for cell in matrix.cells])


def _row(cell: Cell) -> list[str]:
    spent = [count(cell.cost.forward_tokens), count(cell.cost.generated_tokens), seconds(cell.cost.seconds)]
    who = [cell.detector, cell.access, cell.recipe, cell.unit]
    if cell.error is not None:
        return [*who, f"failed: {cell.error}", "", "", *spent]
    realised = NOT_MEASURED if cell.fpr is None else f"{_counted(cell.fpr)}; {certifies(cell.fpr)}"
    return [*who, _counted(cell.auroc), _counted(cell.recall_at_1pct_fpr), realised, *spent]


def _counted(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOT_MEASURED
    return figure(estimate) + (f" ({estimate.missing} of {estimate.n} missing)" if estimate.missing else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_escape(cell) for cell in line) + " |\n" for line in lines)


def _escape(cell: str) -> str:
    one_line = re.sub(r"\s+", " ", clean(cell)).strip()
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        one_line = one_line.replace(character, entity)
    # Brackets stay, for intervals; what would make a link of them does not.
    return re.sub(r"([\\|`*_~])", r"\\\1", one_line).replace("](", "]\\(")
