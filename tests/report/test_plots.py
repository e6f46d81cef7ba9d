"""The pictures are drawn, hold the figures they are made of, and come out the same twice."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from flyroom.report import figures, png, svg
from flyroom.report.plots import staircase
from flyroom.types import Matrix

from .fakes import make_card, make_cell, make_matrix

CARDS = [make_card(seed) for seed in range(2)]


@pytest.fixture(scope="module")
def charts():
    return figures(CARDS, make_matrix())


def test_names(charts):
    assert list(charts) == ["domains", "curve", "matrix", "roc", "measures"]
    many = figures([make_card(recipe=r) for r in ("a", "b")], make_matrix(("a", "b")))
    assert list(many) == ["domains", "curve: a", "curve: b", "matrix", "roc: a", "roc: b", "measures: a", "measures: b"]


def test_two_recipes_of_one_name_are_kept_apart():
    cards = [make_card(recipe="a"), replace(make_card(recipe="a"), recipe_id="other")]
    assert [name for name in figures(cards, None) if name.startswith("curve")] == [
        f"curve: a ({cards[0].recipe_id})",
        "curve: a (other)",
    ]


@pytest.mark.parametrize("name", ["domains", "curve", "matrix", "roc", "measures"])
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
    assert list(figures([replace(CARDS[0], curve={})], None)) == ["domains", "measures"]


def test_roc_says_the_cell_s_own_auroc(charts):
    drawing = svg(charts["roc"])
    cell = make_matrix().cells[0]
    assert cell.auroc is not None
    assert f"AUROC {cell.auroc.value:.2f}" in drawing
    assert "gradient probe" not in drawing


def test_staircase():
    assert staircase([2, 1], [0, 0]) == [(0, 0), (0, 0.5), (0, 1), (1, 1)]
    assert staircase([1], [1]) == [(0, 0), (1, 1)]  # a tie is a slope
    assert staircase([0], [1]) == [(0, 0), (1, 0), (1, 1)]
