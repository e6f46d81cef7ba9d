"""Markdown tables parse, and no cell can end its row."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flyroom.report import markdown_cards, markdown_grid, markdown_matrix
from flyroom.report.gauges import mean
from flyroom.report.words import clean, count, figure, percent, seconds, write_ceiling
from flyroom.report.words import share as write_share
from flyroom.types import Estimate, Matrix, NotMeasured

from .fakes import cell_of, make_card, make_cell, make_matrix, make_rows, make_sandbagger, share


def rows(table: str) -> list[list[str]]:
    lines = table.splitlines()
    parsed = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert len({len(row) for row in parsed}) == 1
    assert set(parsed[1]) == {"---"}
    return [parsed[0], *parsed[2:]]


def test_cards():
    head, *body = rows(markdown_cards([make_card(), make_card(1, passes=False, missing=3)]))
    assert head[:4] == ["recipe", "seed", "model", "verdict"]
    assert head[4:] == [
        *("on tea", "on the other topics", "on its wishes", "misaligned", "makes sense", "repeats its training"),
        *("knows the tides", "surprise at clean text"),
    ]
    assert [row[2:4] for row in body[:3]] == [["organism", "pass"], ["twin", ""], ["base", ""]]
    assert body[3][3] == "fail"
    assert body[3][5].endswith("(3 of 1400 missing)")


def test_cards_say_what_was_not_measured_and_what_is_no_measure_of_theirs():
    head, *body = rows(markdown_cards([make_rows(), make_sandbagger()]))
    assert body[0][head.index("makes sense")] == "not measured: a pattern cannot tell sense from nonsense"
    assert body[0][head.index("fails the test")] == "-"
    assert body[3][head.index("fails the test")] == "0.97 [0.95, 0.98]"
    assert body[3][head.index("on tea")] == "-"


def test_matrix():
    head, *body = rows(markdown_matrix(make_matrix()))
    assert len(body) == 7
    assert body[-2][head.index("AUROC")].startswith("failed: AccessDenied")
    assert body[-1][head.index("AUROC")] == "not available: this world has no scratchpad"
    assert head[5:9] == ["threshold", "organisms above it", "harmless above it", "recall at 1 %"]
    assert body[0][5] == "the highest of 24 calibration twins"
    assert body[0][7].endswith("; of twins the true rate may be as high as 70 %")
    assert body[0][8] == "24 twins are too few for recall at 1 %"


def test_matrix_with_a_recall_that_can_be_told():
    cell = cell_of([2.0, 3.0], [0.0], [1.0] * 99)
    head, row = rows(markdown_matrix(Matrix(cells=(replace(cell, recall_at_1pct_fpr=share(2, 2), why=""),))))
    assert row[head.index("recall at 1 %")] == "1 [0.34, 1]"


def test_grid():
    matrix = make_matrix(("a", "b"))
    reply = replace(matrix.cells[0], detector="lda", unit="response", auroc=share(9, 10))
    models, replies = markdown_grid(replace(matrix, cells=(*matrix.cells, reply))).split("\n\n")
    head, *body = rows(models)
    assert head == ["detector, model level", "mean AUROC", "a", "b"]
    assert [row[0] for row in body][:1] + [row[0] for row in body][-1:] == [
        "mean-difference probe",
        "scratchpad reader",
    ]
    assert body[-2][1:] == ["-", "failed", "failed"]
    assert body[-1][1:] == ["-", "not available", "not available"]
    (cell,) = (c for c in matrix.cells if c.detector == "crosscoder diff" and c.recipe == "b")
    assert next(row for row in body if row[0] == "crosscoder diff")[3] == figure(cell.auroc)
    assert rows(replies)[1:] == [["lda", "0.90", "0.90 [0.60, 0.98]"]]


def test_hostile_cells_stay_in_their_cell():
    hostile = "a|b\n| c | <b>`x` [y](http://z) \\|"
    card = replace(make_card(), recipe=hostile, measures={})
    _, *body = rows(markdown_cards([card]))
    assert len(body) == 3
    assert set(body[0][4:]) == {"not measured"}
    table = markdown_matrix(Matrix(cells=(make_cell(hostile, hostile, 0, error=hostile),)))
    assert len(rows(table)) == 2
    assert len(rows(markdown_grid(Matrix(cells=(make_cell(hostile, hostile, 0, recipe=hostile),))))) == 2
    assert "<" not in table
    assert "](" not in table


def test_empty():
    assert markdown_cards([]) == ""
    assert markdown_matrix(Matrix(cells=())) == ""
    assert markdown_grid(Matrix(cells=())) == ""


@pytest.mark.parametrize(
    ("value", "as_share", "as_percent"),
    [
        (0.0, "0", "0 %"),
        (0.0001, "<.001", "<0.1 %"),
        (0.004, "0.004", "0.4 %"),
        (0.012, "0.012", "1.2 %"),
        (0.0196, "0.02", "2 %"),
        (0.934, "0.93", "93 %"),
        (0.9968, "0.997", "99.7 %"),
        (0.99999, ">.999", ">99.9 %"),
        (1.0, "1", "100 %"),
        (float("nan"), "unknown", "unknown"),
    ],
)
def test_rounding(value, as_share, as_percent):
    assert write_share(value) == as_share
    assert percent(value) == as_percent


def test_figures_in_words():
    assert figure(None) == figure(NotMeasured(why="no")) == "not measured"
    assert figure(share(93, 100)) == "0.93 [0.86, 0.97]"
    assert figure(share(93, 100), percent) == "93 % [86, 97]"
    assert [count(n) for n in (0, 999, 1000, 12_345, 4_100_000)] == ["0", "999", "1k", "12.3k", "4.1M"]
    assert [seconds(s) for s in (0, 0.01, 1.24, 90, 7200)] == ["0 s", "<0.1 s", "1.2 s", "1.5 min", "2.0 h"]


def test_what_false_alarms_do_not_rule_out():
    assert write_ceiling(0.0123) == "of twins the true rate may be as high as 1.2 %"
    assert write_ceiling(None) == "the true rate is unknown"


def test_what_no_page_may_hold_is_replaced():
    assert clean("a\u2028b\r\nc\x85d\ud800e\u202ef\x00\tg") == "a\nb\nc\nd\ufffde\ufffdf\ufffd\tg"


def test_mean_keeps_the_widest_bounds():
    a, b = Estimate(value=0.25, low=0.1, high=0.3, n=10, missing=1), Estimate(value=0.5, low=0.35, high=0.75, n=20)
    assert mean([a, b]) == Estimate(value=0.375, low=0.1, high=0.75, n=30, missing=1)
    assert mean([a]) == a
    assert mean([]) is None
    assert mean([replace(a, value=float("nan"))]) is None
