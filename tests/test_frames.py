"""Records as frames and tables, and training curves as CSV, events and runs."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flyroom import frames
from flyroom.room import Room
from flyroom.types import Called, Card, Cell, Cost, Estimate, LedgerRow, Matrix, NotMeasured, RelapsePoint
from tests.report.fakes import make_card

HALF = Estimate(value=0.5, low=0.4, high=0.6, n=10)
HOSTILE = "<script>alert(1)</script>"


def cell_of(detector: str, **changes: Any) -> Cell:
    cell = Cell(
        detector=detector,
        access="sample",
        recipe="toy",
        unit="model",
        auroc=HALF,
        recall_at_1pct_fpr=None,
        fpr=HALF,
        cost=Cost(forward_tokens=3, generated_tokens=4),
    )
    return replace(cell, **changes)


def ledger_row() -> LedgerRow:
    names = [name for name in frames.FIGURES if name != "over_refusal"]
    figures: dict[str, Any] = dict.fromkeys(names, HALF) | {"over_refusal": NotMeasured(why="none was asked")}
    point = RelapsePoint(step=1, treated=HALF, untreated=HALF, twin=HALF)
    about: dict[str, Any] = {"treatment": "undo", "recipe": "toy", "seed": 0, "organism": "a", "treated": "b"}
    return LedgerRow(**about, called=Called.HIDDEN, why="it is back", relapse=(point,), detectors={}, **figures)


# ---------------------------------------------------------------- frames


def test_a_row_of_a_card_is_a_measure_of_a_model() -> None:
    card = make_card()
    frame = card.to_dataframe()
    figures = [(model, name) for model, row in card.measures.items() for name in row]
    assert list(zip(frame["model"], frame["measure"], strict=True)) == figures
    assert {"value", "low", "high", "n", "missing", "why", "label", "unit", "id", "seed", "verdict"} <= set(frame)
    first = card.measures["organism"][figures[0][1]]
    assert isinstance(first, Estimate)
    assert tuple(frame.loc[0, ["value", "low", "high", "n"]]) == (first.value, first.low, first.high, first.n)


def test_a_measure_that_was_not_taken_has_a_reason_and_no_number() -> None:
    card = make_card()
    name = next(iter(card.measures["organism"]))
    lacking = replace(card, measures={"organism": {name: NotMeasured(why="nobody asked")}})
    (row,) = frames.rows_of(lacking)
    assert (row["value"], row["low"], row["n"], row["why"]) == (None, None, None, "nobody asked")
    assert lacking.to_dataframe()["value"].isna().all()


def test_a_card_that_was_refused_is_in_the_frame_with_its_reason() -> None:
    card = replace(make_card(), why="nothing was measured: no", measures={"organism": {}, "twin": {}, "base": {}})
    frame = frames.to_dataframe([make_card(), card])
    rows = frame[frame["verdict_why"] == card.why]
    assert rows["model"].tolist() == ["organism", "twin", "base"]
    assert rows["measure"].isna().all()
    assert set(rows["why"]) == {card.why}
    assert "no" in card._repr_html_()


def test_a_row_of_a_matrix_is_a_cell() -> None:
    matrix = Matrix(cells=(cell_of("probe"), cell_of("judge", auroc=None, error="boom")))
    frame = matrix.to_dataframe()
    assert list(frame["detector"]) == ["probe", "judge"]
    assert list(frame["tokens"]) == [7, 7]
    assert tuple(frame.loc[0, ["value", "low", "high", "n", "fpr", "fpr_low"]]) == (0.5, 0.4, 0.6, 10, 0.5, 0.4)
    assert frame["value"].isna().tolist() == [False, True]
    assert len(frames.to_dataframe([matrix.cells[0]])) == 1


def test_a_row_of_the_ledger_is_a_figure() -> None:
    frame = ledger_row().to_dataframe()
    assert list(frame["figure"]) == list(frames.FIGURES)
    assert frame[frame["value"].isna()]["why"].tolist() == ["none was asked"]


def test_a_room_is_its_listing_and_stays_equal_to_it(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    room.put("organism", "a", {}, meta={"recipe": "toy", "seed": 0})
    frame = room.to_dataframe()
    assert frame.to_dict("records") == [{"kind": "organism", "id": "a", "recipe": "toy", "seed": 0}]
    room.put("claim", "b", {}, meta={"kind": "odd", "id": "over", "seed": "none"})
    assert [(row["kind"], row["id"]) for row in frames.rows_of(room)] == [("organism", "a"), ("claim", "b")]
    assert room.to_dataframe()["seed"].tolist() == ["0", "none"]  # a column is of one type


def test_other_frames_are_made_by_name_and_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="records is a int"):
        frames.to_dataframe(3)
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r"to_dataframe needs polars; pip install 'flyroom\[frames\]'"):
        make_card().to_dataframe("polars")


def test_nothing_in_a_table_of_a_notebook_is_markup() -> None:
    card = replace(make_card(), recipe=HOSTILE)
    table = card._repr_html_()
    assert "<script" not in table
    assert "&lt;script&gt;" in table
    assert table.count("<tr>") == 1 + len(frames.rows_of(card))
    many = frames.to_html([cell_of(f"d{i}") for i in range(frames.HIDDEN + 1)])
    assert f"{frames.HIDDEN + 1} rows, of which {frames.HIDDEN} are shown" in many


def test_records_cost_nothing_until_they_are_looked_at() -> None:
    assert Card.__mro__[1].__slots__ == ()
    assert "to_dataframe" not in vars(make_card())


# ---------------------------------------------------------------- curves


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    room = Room(tmp_path / "room")
    history = [[1, 2.0, 0.5, 30, "p1"], [2, 1.5, None, 40, "p2"]]
    about = {"recipe": "toy", "dose": 1.0, "seed": 3, "base": "b"}
    room.put("organism", "aa", {"history": history}, meta=about)
    room.put("organism", "bb", {"history": []}, meta=about | {"dose": 0.0})
    curve = {"10": {"m": {"value": 0.3, "low": 0.2, "high": 0.4}}, "2": {"m": {"value": 0.1, "low": 0.0, "high": 0.2}}}
    room.put("card", "cc", {"curve": curve}, meta={"organism": "aa"})
    with pytest.raises(ValueError, match="keys holds 'gone'; the room has no organism of that id"):
        frames.curve_rows(room, ["aa", "gone"])
    return frames.curve_rows(room, ["aa", "bb"])


def test_a_curve_has_losses_of_training_and_measures_of_the_card(rows: list[dict[str, Any]]) -> None:
    points = [(row["step"], row["name"], row["value"]) for row in rows]
    assert points == [
        *((1, "loss", 2.0), (1, "grad_norm", 0.5), (1, "tokens", 30), (2, "loss", 1.5), (2, "tokens", 40)),
        *((2, "m", 0.1), (10, "m", 0.3)),
    ]
    assert {(row["id"], row["recipe"], row["seed"]) for row in rows} == {("aa", "toy", 3)}


def test_curves_as_csv_are_whole(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "curves.csv"
    assert frames.write_curves(rows, str(path)) == str(path)
    lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [(line["step"], line["name"], line["low"]) for line in lines[-2:]] == [("2", "m", "0.0"), ("10", "m", "0.2")]
    assert [file.name for file in path.parent.iterdir()] == ["curves.csv"]


class Book:
    """What a writer of events, or a run, was given."""

    pages: dict[str, list[Any]]

    def __init__(self, name: str) -> None:
        self.lines = Book.pages.setdefault(name, [])

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.lines.append((step, name, value))

    def log(self, values: dict[str, float], *, step: int) -> None:
        self.lines.append((step, values))

    def close(self) -> None:
        self.lines.append("closed")

    finish = close


def test_curves_go_to_tensorboard(rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Book.pages = {}
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Book  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    frames.write_curves(rows, str(tmp_path / "runs"))
    ((name, lines),) = Book.pages.items()
    assert name == str(tmp_path / "runs" / "toy-3-aa")
    assert lines == [*((row["step"], row["name"], row["value"]) for row in rows), "closed"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="that needs tensorboard: pip install tensorboard"):
        frames.write_curves(rows, str(tmp_path / "runs"))


def test_curves_go_to_wandb(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    Book.pages, configs = {}, []

    def init(*, project: str, name: str, config: dict[str, Any]) -> Book:
        configs.append(config)
        return Book(f"{project}/{name}")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))  # type: ignore[arg-type]
    assert frames.write_curves(rows, "wandb:organisms") == "wandb:organisms"
    steps = [line[0] for line in Book.pages["organisms/aa"][:-1]]
    assert steps == [1, 2, 10]  # in their order: it drops what comes late
    assert Book.pages["organisms/aa"][1] == (2, {"loss": 1.5, "tokens": 40, "m": 0.1})
    assert configs == [{"id": "aa", "recipe": "toy", "dose": 1.0, "seed": 3, "base": "b"}]
    with pytest.raises(ValueError, match="name a project"):
        frames.write_curves(rows, "wandb:")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="that needs wandb: pip install wandb"):
        frames.write_curves(rows, "wandb:organisms")
