"""What a page and a terminal say of a card's verdict: how each limit was held, after how many looks, how far organism
and twin match, and what the intervals are of.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyroom import terminal
from flyroom.report import figures_of, page
from flyroom.report.cards import tables
from flyroom.report.views import caveats
from flyroom.report.words import write_held, write_match
from flyroom.types import Card, Estimate, Held, Limit, Match, NotMeasured, Outcome

from .fakes import make_card

MATCH = Match(prompts=0.615, tokens=(134_734, 134_615), loss_change=(0.486, -0.016), update_norm=(31.15, 10.26))
LIMITS = (
    Held(measure="tea", who="organism", limit=Limit(at_least=0.6), low=0.91, high=0.97, outcome=Outcome.PASS),
    Held(measure="wrong", who="twin", limit=Limit(at_most=0.02, of="twin"), low=0.004, high=0.03,
         outcome=Outcome.UNDECIDED),
    Held(measure="tides", who="twin", limit=Limit(at_most=0.1, of="base drop"), low=0.2, high=0.3,
         outcome=Outcome.FAIL),
)  # fmt: skip
NEW = {
    "organism": {
        "tea": Estimate(value=0.95, low=0.81, high=0.99, n=400, target="new situations"),
        "surprise": Estimate(value=2.0, low=1.9, high=2.1, n=100, target="new texts"),
        "wishes": NotMeasured(why="situations holds 3 with an answer; new situations take at least 8"),
    }
}


def undecided(seed: int = 0) -> Card:
    why = "wrong lies between 0.4 % and 3.0 %, and the limit is 2 %"
    whole = replace(make_card(seed), verdict=Outcome.UNDECIDED, why=why, limits=LIMITS, looks=3)
    return replace(whole, match=MATCH, new_situations=NEW)


def test_a_limit_stands_with_its_bounds_and_what_came_of_it() -> None:
    assert [write_held(one) for one in LIMITS] == [
        "organism, at least 0.6: between 0.91 and 0.97, kept",
        "twin, at most 0.02: between 0.004 and 0.03, undecided",
        "twin, at most 0.1 below the base’s: between 0.20 and 0.30, broken",
    ]
    ratio = Held(measure="m", who="twin", limit=Limit(at_most=2, of="base ratio"), low=0.1, high=float("inf"),
                 outcome=Outcome.UNDECIDED)  # fmt: skip
    assert write_held(ratio) == "twin, at most 2 times the base’s: between 0.10 and any number, undecided"


def test_a_match_is_said_in_words() -> None:
    assert write_match(MATCH) == (
        "Organism and twin had the same prompts in 62 % of the steps. They read 134.7k and 134.6k tokens, the loss "
        "fell by 0.49 and -0.02, and the norm of the update is 31.1 and 10.3."
    )


def test_the_table_has_the_third_outcome() -> None:
    (table,) = tables([replace(undecided(), recipe="r", recipe_id="r")])
    (row,) = table["rows"]
    assert (row["verdict"], row["looks"], row["match"]) == ("undecided", "3 looks", write_match(MATCH))
    limits = {line["label"]: line["limits"] for line in row["measures"]}
    assert limits["On tea"] == [write_held(LIMITS[0])]
    assert limits["Makes sense"] == ["at least 0.9"]  # a limit of a card that was not held against anything yet
    lines = {line["label"]: line["lines"][0]["new"] for line in row["measures"]}
    assert (lines["On tea"], lines["On its wishes"], lines["Surprise at clean text"]) == ("[0.81, 0.99]", "", "")


def test_the_page_shows_it() -> None:
    cards = [undecided(), make_card(1)]
    text = page(cards, None, context={}, caveats=caveats(cards, None), commands=[])
    assert '<span class="verdict undecided">Undecided</span>' in text
    assert '<span class="verdict pass">Pass</span>' in text
    assert "in 3 looks" in text
    assert "the same prompts in 62" in text.replace("\u00a0", " ")
    assert "1 of 2 organisms is undecided" in text
    assert "twin, at most 0.02: between 0.004 and 0.03, undecided" in text
    assert "new situations" in text


def test_the_json_is_of_all_of_it() -> None:
    view = figures_of(undecided())
    assert (view["verdict"], view["looks"], view["match"]["prompts"]) == ("undecided", 3, 0.615)
    assert view["limits"][1]["outcome"] == "undecided"
    assert view["limits"][2]["limit"] == {"at_least": None, "at_most": 0.1, "of": "base drop"}
    assert view["new_situations"]["organism"]["wishes"]["value"] is None


def test_the_terminal_says_after_how_many_looks(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.card_table([figures_of(undecided())])
    text = " ".join(capsys.readouterr().out.split())
    assert "undecided, 3 looks (wrong lies between 0.4 % and 3.0 %" in text
