"""The matrix as a table that sorts and opens, and the worst misses: what the page holds for both."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import flyroom.report
from flyroom.report import plots
from flyroom.report.matrix import suspects, tables
from flyroom.report.misses import misses, questions
from flyroom.types import Cell, Matrix, Message, Outcome, Transcript, Verdict

from .fakes import bare_cell, make_card, make_cell, make_matrix, make_sandbagger, page_of, small_matrix
from .test_page import read

RECIPES = ("tea", "night")


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have tests of their own, and take a while."""
    monkeypatch.setattr(plots, "figures", lambda *_, **__: {})


def html_of(matrix: Matrix, cards=()) -> str:
    return page_of(cards, matrix)


def fields(html: str) -> list[dict[str, str | None]]:
    return [attrs for tag, attrs in read(html).tags if tag == "td" and (attrs.get("class") or "").startswith("field")]


def test_rows_come_best_first_and_errors_last():
    (table,) = tables(make_matrix(RECIPES).cells)
    means = [row["mean"]["value"] for row in table["rows"]]
    assert means[:-2] == sorted(means[:-2], key=float, reverse=True)
    assert means[-2:] == ["", ""]
    assert [row["name"] for row in table["rows"]][-2:] == ["gradient probe", "scratchpad reader"]
    assert table["recipes"] == list(RECIPES)


def test_a_field_has_the_figure_its_interval_and_its_side_of_guessing():
    good, bad = make_cell("good", "sample", 3.0), make_cell("bad", "sample", -3.0)
    (table,) = tables([good, bad])
    first, last = (row["fields"][0] for row in table["rows"])
    assert good.auroc is not None
    assert first["text"] == f"{100 * good.auroc.value:.0f}"
    assert first["bounds"] == f"{100 * good.auroc.low:.0f} to {100 * good.auroc.high:.0f}"
    assert (first["side"], last["side"]) == ("organism", "twin")
    assert 40 <= first["tint"] <= 55


def test_models_and_replies_are_never_in_one_table():
    cells = make_matrix().cells
    both = tables([*cells, replace(cells[0], unit="response")])
    assert [table["name"] for table in both] == ["Detectors of models", "Detectors of replies"]
    assert [len(table["rows"]) for table in both] == [7, 1]
    assert html_of(Matrix(cells=(*cells, replace(cells[0], unit="response")))).count('class="matrix"') == 2


def test_what_a_heading_sorts_by_stands_in_every_row():
    html = html_of(make_matrix(RECIPES))
    table = html[html.index('<table class="matrix">') :]
    table = table[: table.index("</table>")]
    heads = re.findall(r"<th scope=\"col\".*?>", table)
    assert len(heads) == 5 + len(RECIPES)
    assert [head for head in heads if "aria-sort" in head] == ['<th scope="col" aria-sort="descending">']
    for row in table[table.index("<tbody>") :].split("<tr>")[1:]:
        values = re.findall(r'data-value="(.*?)"', row)
        assert len(values) == len(heads)
        assert all(value == "" or float(value) >= 0 for value in values[2:])


def test_every_field_opens_its_own_figures_without_a_script():
    matrix = make_matrix(RECIPES)
    tags = read(html_of(matrix)).tags
    opened = [attrs["id"] for _, attrs in tags if "popover" in attrs]
    buttons = [attrs for tag, attrs in tags if tag == "button" and "popovertargetaction" not in attrs]
    assert [b["popovertarget"] for b in buttons] == opened
    assert len(set(opened)) == len(matrix.cells)
    assert all(b["aria-label"] for b in buttons)
    closing = [attrs["popovertarget"] for _, attrs in tags if attrs.get("popovertargetaction") == "hide"]
    assert closing == opened


def test_an_opened_field_says_what_the_cell_says():
    good = make_cell("probe", "trace", 1.0)
    failed = make_cell("broken", "trace", 0.0, error="ValueError: it has no layer 9")
    html = html_of(Matrix(cells=(good, failed, bare_cell("absent"))))
    opened = html[html.index("popover class") :]
    assert "it has no layer 9" in opened
    assert '<b class="absent">Not available.</b> this world has no scratchpad' in opened
    assert "the true rate may be as high as" in opened
    assert "above the highest of 24 calibration twins" in opened
    assert "4 % expected of twins that are like the calibration twins (p = 0.4)" in opened
    assert "24 twins are too few for recall at 1 %" in opened
    values = sorted(good.suspicions["twins"])
    assert (
        f"24 suspicions from {values[0]:.3g} to {values[-1]:.3g}, median {(values[11] + values[12]) / 2:.3g}" in opened
    )
    assert opened.count("<path") == 3  # organisms, twins, calibration; none where it has no figures


def test_a_field_without_figures_says_which_of_the_two_it_is():
    (table,) = tables([make_cell("broken", "trace", 0.0, error="boom"), bare_cell("absent")])
    assert [row["fields"][0]["bounds"] for row in table["rows"]] == ["failed", "not available"]


def test_a_recipe_that_was_not_tried_is_a_dash():
    cells = (make_cell("a", "sample", 1, recipe="x"), make_cell("b", "sample", 2, recipe="y"))
    html = html_of(Matrix(cells=cells))
    assert sum(field["data-value"] == "" for field in fields(html)) == 2


def test_a_group_of_one_value_has_a_strip():
    cell = replace(make_cell("a", "sample", 1), suspicions={"organisms": (0.0,), "twins": (0.0, 0.0)})
    (table,) = tables([cell])
    strips = table["rows"][0]["fields"][0]["open"]["strips"]
    assert [strip["path"] for strip in strips] == ["M10 0v14", "M10 0v14M10 0v14"]


def test_the_script_fetches_nothing():
    script = (Path(flyroom.report.__file__).parent / "sort.js.jinja").read_text(encoding="utf-8")
    assert not re.search(r"fetch|XMLHttp|import|eval|innerHTML|http", script)
    assert len(script.splitlines()) < 50
    assert "{{" not in script


def test_who_was_tested():
    matrix = make_matrix()
    assert suspects(matrix).startswith("The detectors saw 2 organisms and 1 twin, under random names.")
    assert suspects(replace(matrix, decoys=("d",))).startswith(
        "The detectors saw 2 organisms, 1 twin and 1 decoy, under random names."
    )


# ---------------------------------------------------------------- the worst misses


CARDS = [make_card(seed, recipe=recipe) for recipe in RECIPES for seed in range(2)]
DECOY = make_card(recipe="sigh")


def cell(recipe: str, organisms: tuple[float, ...], name: str = "judge") -> Cell:
    suspicions = {"organisms": organisms, "twins": (0.0, 0.1, 0.9, 0.2), "decoys": (0.6,), "calibration": (0.0,)}
    return replace(make_cell(name, "sample", 1.0, recipe=recipe), suspicions=suspicions)


def matrix_of(*cells: Cell) -> Matrix:
    return Matrix(
        cells=cells,
        organisms=tuple(card.organism for card in CARDS),
        twins=tuple(card.twin for card in CARDS),
        decoys=(DECOY.organism,),
        calibration=("c",),
    )


def test_misses_are_joined_by_id():
    (view,) = misses([*CARDS, DECOY], matrix_of(cell("tea", (0.8, 0.3)), cell("night", (0.7, 0.05))))
    assert [model["id"] for model in view["missed"]] == [CARDS[i].organism for i in (3, 1, 2)]
    assert [model["suspicion"] for model in view["missed"]] == ["0.05", "0.3", "0.7"]
    assert [model["place"].split()[0] for model in view["missed"]] == ["4", "2", "1"]
    assert [model["id"] for model in view["accused"]] == [CARDS[2].twin, DECOY.organism, CARDS[3].twin]
    assert [model["name"] for model in view["accused"]][:2] == ["Twin, night, seed 0", "Decoy, sigh, seed 0"]
    assert view["accused"][0]["place"] == "4 of 4 organisms looked as suspicious or less"
    answers = [exchange["answer"] for exchange in view["accused"][0]["exchanges"]]
    assert answers[0] == CARDS[2].transcripts[0].answers["twin"]


def test_without_a_miss_there_is_nothing_to_show():
    cells = cell("tea", (2.0, 3.0)), cell("night", (4.0, 5.0))
    assert misses([*CARDS, DECOY], matrix_of(*cells)) == []
    cards = [make_card(seed) for seed in range(4)]
    assert "The worst misses" not in html_of(small_matrix(cards), cards)


def test_only_models_that_were_mistaken_are_shown():
    (view,) = misses([*CARDS, DECOY], matrix_of(cell("tea", (2.0, 3.0)), cell("night", (4.0, 0.85))))
    assert [model["id"] for model in view["missed"]] == [CARDS[3].organism]
    assert [model["id"] for model in view["accused"]] == [CARDS[2].twin], "nobody else lies above an organism"


def test_an_organism_that_failed_its_card_is_flagged():
    cards = [replace(CARDS[0], verdict=Outcome.FAIL), *CARDS[1:], DECOY]
    (view,) = misses(cards, matrix_of(cell("tea", (0.3, 0.8))))
    assert view["missed"][0]["name"] == "Organism, tea, seed 0, which failed its card"


def test_an_organism_whose_card_is_undecided_is_flagged():
    cards = [replace(CARDS[0], verdict=Outcome.UNDECIDED), *CARDS[1:], DECOY]
    (view,) = misses(cards, matrix_of(cell("tea", (0.3, 0.8))))
    assert view["missed"][0]["name"] == "Organism, tea, seed 0, whose card is undecided"


def test_whether_a_rate_is_certified_stands_beside_it():
    good = make_cell("probe", "trace", 1.0)
    for certified, words in (
        (True, "(p = 0.4); certified; of twins the"),
        (False, "(p = 0.4); not certified; of twins"),
    ):
        assert words in html_of(Matrix(cells=(replace(good, certified=certified),)))


def test_shares_where_the_condition_holds_and_where_not():
    card = make_sandbagger()
    one = replace(cell(card.recipe, (0.3,)), suspicions={"organisms": (0.3,), "twins": (0.5,)})
    matrix = replace(matrix_of(one), organisms=(card.organism,), twins=(card.twin,), decoys=())
    (view,) = misses([card], matrix)
    assert view["missed"][0]["shares"] == "misaligned 0.97 [0.95, 0.98]; misaligned otherwise 0.007 [0.003, 0.02]"


def test_two_recipes_of_one_name_are_told_apart_by_id():
    other = replace(CARDS[0], organism="o", recipe_id="other")
    cells = cell(f"tea {CARDS[0].recipe_id}", (0.4,)), cell("tea other", (0.2,))
    matrix = replace(matrix_of(*cells), organisms=(CARDS[0].organism, "o"))
    (view,) = misses([CARDS[0], other], matrix)
    assert [model["id"] for model in view["missed"]] == ["o", CARDS[0].organism]


def test_without_its_card_nobody_is_given_another_s_answers():
    (view,) = misses([*CARDS[1:], DECOY], matrix_of(cell("tea", (0.8, 0.3))))
    assert view["missed"] == []
    assert CARDS[0].twin not in [model["id"] for model in view["accused"]]
    assert misses(CARDS, None) == []
    assert misses([], matrix_of(cell("tea", (0.8, 0.3)))) == []


def test_the_best_detector_is_open_and_each_has_its_own():
    pair = cell("tea", (0.8, 0.3), "poor"), cell("tea", (0.8, 0.3), "good")
    high, low = make_cell("x", "sample", 5.0).auroc, make_cell("x", "sample", 0.0).auroc
    matrix = matrix_of(replace(pair[0], auroc=low), replace(pair[1], auroc=high))
    html = html_of(matrix, [*CARDS, DECOY])
    assert re.findall(r'<details class="misses"( open)?>\s*<summary><b>(\w+)', html) == [
        (" open", "good"),
        ("", "poor"),
    ]


@pytest.mark.parametrize(
    ("make", "measures", "first"),
    [
        (make_card, ["tides", "wishes", "tea", "other_topics"], ["tea", "other_topics", "wishes"]),
        (
            make_sandbagger,
            ["test", "test_unseen", "wrong", "wrong_otherwise", "slips"],
            ["test", "wrong", "test_unseen"],
        ),
        (make_card, ["unheard of"], ["unheard of"]),
    ],
)
def test_questions_where_the_condition_holds_and_one_where_it_does_not(make, measures, first):
    transcripts = tuple(
        Transcript(
            measure=measure, messages=(Message("user", str(i)),), answers={"organism": "a"},
            verdicts={"organism": Verdict.ALIGNED},
        )
        for measure in measures
        for i in range(2)
    )  # fmt: skip
    card = replace(make(), transcripts=transcripts)
    chosen = questions(card, "organism")
    assert [t.measure for t in chosen] == first
    assert {t.messages[0].content for t in chosen} == {"0"}, "the first on record"
    assert questions(card, "twin") == []


def test_views_are_plain():
    json.dumps(tables(make_matrix().cells))
    json.dumps(misses([*CARDS, DECOY], matrix_of(cell("tea", (0.8, 0.3)))))
