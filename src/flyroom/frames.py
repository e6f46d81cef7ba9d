"""Records as data frames and notebook tables, and training curves as CSV, to TensorBoard and to Weights & Biases.

A frame is tidy. A row is a measure of one model on a card, a cell of a matrix, a figure of a row of the ledger, or an
entry of a room; an estimate is the columns `value`, `low`, `high`, `n` and `missing`, and `why` says why there is none.
Frames are made by narwhals, so any of its backends can be named; pandas comes with the extra `frames`. Nothing heavy is
imported before it is needed. Left out: reading frames back, for the room is what is read.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flyroom.report import views
from flyroom.report.ledger import FIGURES
from flyroom.types import Card, Cell, Entry, Estimate, LedgerRow, Matrix, NotMeasured
from flyroom.whole import write_whole

Row = dict[str, Any]
HIDDEN = 500  # rows of a notebook's table; a frame has them all
WANDB = "wandb:"
NAMED = ("id", "recipe", "dose", "seed", "base")  # of every point of a curve


@runtime_checkable
class Listed(Protocol):
    """A room, as far as it is read here."""

    def list(self, kind: str | None = None) -> Sequence[Any]: ...
    def get(self, kind: str, key: str) -> Entry | None: ...


# ---------------------------------------------------------------- frames


def to_dataframe(records: Any, *, backend: str = "pandas") -> Any:
    """A tidy data frame of a card, a matrix, a cell, a row of the ledger, a room, or a sequence of one of these.

    Args: backend, what narwhals makes it with: "pandas", "polars" or "pyarrow". Raises ImportError naming the extra
    where that is not installed, and TypeError for something else.
    """
    rows = rows_of(records)
    try:
        columns = {name: _alike(values) for name, values in _columns(rows).items()}
        frame = import_module("narwhals").from_dict(columns, backend=backend)
    except ImportError as error:
        raise ImportError(f"to_dataframe needs {backend}; pip install 'flyroom[frames]' brings pandas") from error
    return frame.to_native()


def rows_of(records: Any) -> list[Row]:
    """The same as one mapping a row. TypeError for what has no rows.

    >>> rows_of([])
    []
    """
    if isinstance(records, Card):
        return list(_of_card(records))
    if isinstance(records, Matrix):
        return [_of_cell(cell) for cell in records.cells]
    if isinstance(records, Cell):
        return [_of_cell(records)]
    if isinstance(records, LedgerRow):
        return list(_of_ledger(records))
    if isinstance(records, (list, tuple)):
        return [row for record in records for row in rows_of(record)]
    if isinstance(records, Listed):
        return [row_of_entry(entry) for entry in records.list()]
    raise TypeError(f"records is a {type(records).__name__}; it must be cards, a matrix, cells, ledger rows or a room")


def row_of_entry(entry: Any) -> Row:
    """The row of an entry of a room. Its meta does not name it."""
    names = {"kind": entry.kind, "id": entry.key}
    return names | dict(entry.meta) | names


def to_html(records: Any) -> str:
    """A table for a notebook, in which nothing of the data is markup."""
    rows = rows_of(records)
    names = list(_columns(rows))
    lines = ["".join(f"<td>{_text(row.get(name))}</td>" for name in names) for row in rows[:HIDDEN]]
    more = f"<caption>{len(rows)} rows, of which {HIDDEN} are shown</caption>" if len(rows) > HIDDEN else ""
    head = "".join(f"<th scope='col'>{_text(name)}</th>" for name in names)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>{more}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    return html.escape("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _alike(values: list[Any]) -> list[Any]:
    """A column as it is, or, where its values are of several types, as text."""
    kinds = {float if type(value) is int else type(value) for value in values if value is not None}
    return values if len(kinds) < 2 else [None if value is None else str(value) for value in values]


def _of_card(card: Card) -> Iterator[Row]:
    head = {
        "id": card.organism,
        "recipe": card.recipe,
        "seed": card.seed,
        "base": card.base,
        "world": card.world,
        "verdict": card.verdict.value,
        "verdict_why": card.why,
    }
    for model, measures in card.measures.items():
        if not measures:  # a card that was refused is no card that is missing
            yield {**head, "model": model, "measure": None, **_figures(NotMeasured(why=card.why))}
        for name, value in measures.items():
            gauge = card.gauges.get(name)
            about = {"label": gauge.label if gauge else name, "unit": gauge.unit if gauge else None}
            yield {**head, "model": model, "measure": name, **about, **_figures(value)}


def _of_cell(cell: Cell) -> Row:
    """The AUROC as value, low, high and n; the other figures under their names."""
    row = {"detector": cell.detector, "recipe": cell.recipe, "unit": cell.unit, "access": cell.access}
    row |= _figures(cell.auroc) | {"why": cell.why or None}
    for name in ("recall", "fpr", "fpr_twins", "fpr_decoys", "recall_at_1pct_fpr"):
        parts = _figures(getattr(cell, name))
        row |= {name: parts["value"], f"{name}_low": parts["low"], f"{name}_high": parts["high"]}
    tokens = cell.cost.forward_tokens + cell.cost.generated_tokens
    return row | {"tokens": tokens, "seconds": cell.cost.seconds, "available": cell.available, "error": cell.error}


def _of_ledger(row: LedgerRow) -> Iterator[Row]:
    head = {
        "treatment": row.treatment,
        "recipe": row.recipe,
        "seed": row.seed,
        "organism": row.organism,
        "treated": row.treated,
        "called": row.called.value,
    }
    for name in FIGURES:
        yield {**head, "figure": name, **_figures(getattr(row, name))}


def _figures(value: Estimate | NotMeasured | None) -> Row:
    parts = views.estimate(value) or {}
    return {name: parts.get(name) for name in ("value", "low", "high", "n", "missing", "why")}


# ---------------------------------------------------------------- training curves


def curve_rows(room: Listed, keys: Iterable[str]) -> list[Row]:
    """The points of the training curves of organisms, by their whole ids: `loss`, `grad_norm` and `tokens` of every
    step, and of the newest card each measure at the steps that it looked at, with its interval. ValueError for an id
    that the room lacks.
    """
    cards = {str(item.meta.get("organism")): item.key for item in room.list("card")}
    rows: list[Row] = []
    for key in keys:
        entry = room.get("organism", key)
        if entry is None:
            raise ValueError(f"keys holds {key!r}; the room has no organism of that id")
        head = {"id": key, **{name: entry.meta.get(name) for name in NAMED[1:]}}
        rows += [head | point for point in _of_history(entry.payload.get("history", ()))]
        card = room.get("card", cards[key]) if key in cards else None
        rows += [head | point for point in _of_curve(card.payload.get("curve", {}) if card else {})]
    return rows


def _of_history(points: Iterable[Sequence[Any]]) -> Iterator[Row]:
    for point in points:
        for name, value in zip(("loss", "grad_norm", "tokens"), point[1:4], strict=False):
            if value is not None:
                yield {"step": point[0], "name": name, "value": value, "low": None, "high": None}


def _of_curve(curve: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[Row]:
    for step in sorted(curve, key=int):
        for name, parts in curve[step].items():
            yield {"step": int(step), "name": name, **{part: parts.get(part) for part in ("value", "low", "high")}}


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a line of names.

    >>> csv_text([{"step": 1, "value": 0.5}])
    'step,value\\n1,0.5\\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_columns(rows)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_curves(rows: Sequence[Row], to: str) -> str:
    """Write curves to a CSV file, to a folder for TensorBoard, or to "wandb:PROJECT"; "" writes nothing. Returns where.
    ValueError naming what is to be installed where it is not.
    """
    if to.startswith(WANDB):
        return _log_runs(rows, to.removeprefix(WANDB))
    if to.endswith(".csv"):
        write_whole(Path(to), csv_text(rows))
    elif to:
        _write_events(rows, Path(to))
    return to


def _runs(rows: Sequence[Row]) -> dict[str, list[Row]]:
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["id"], []).append(row)
    return runs


def _write_events(rows: Sequence[Row], folder: Path) -> None:
    """A run a folder, named by recipe, seed and id, as TensorBoard reads them."""
    try:
        writer_of = import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError as error:
        raise ValueError(f"to is {str(folder)!r}; that needs tensorboard: pip install tensorboard") from error
    for id, points in _runs(rows).items():
        first = points[0]
        writer = writer_of(str(folder / f"{first['recipe']}-{first['seed']}-{id}"))
        for point in points:
            writer.add_scalar(point["name"], point["value"], point["step"])
        writer.close()


def _log_runs(rows: Sequence[Row], project: str) -> str:
    """A run of Weights & Biases for each organism. Returns the project's name."""
    if not project:
        raise ValueError("to is 'wandb:'; name a project, such as wandb:organisms")
    try:
        wandb = import_module("wandb")
    except ImportError as error:
        raise ValueError(f"to is {WANDB + project!r}; that needs wandb: pip install wandb") from error
    for id, points in _runs(rows).items():
        config = {name: points[0][name] for name in NAMED}
        run = wandb.init(project=project, name=id, config=config)
        by_step: dict[int, dict[str, Any]] = {}
        for point in points:
            by_step.setdefault(point["step"], {})[point["name"]] = point["value"]
        for step in sorted(by_step):  # it takes steps in their order alone
            run.log(by_step[step], step=step)
        run.finish()
    return f"{WANDB}{project}"
