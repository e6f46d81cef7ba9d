"""The page of certificates is what its record gives, and the record does not contradict itself."""

from __future__ import annotations

import doctest
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, pair

from flyroom import stats
from flyroom.card import card
from flyroom.types import Card, Estimate

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def cards() -> list[Card]:
    return card([*pair(0.9), *pair(0.9, seed=1)], FakeEngine(), seed=0, episodes=60)


@pytest.fixture
def record(cards: list[Card]) -> dict[str, Any]:
    """As `scripts/threats.py` writes it: of one recipe on two seeds."""
    import threats
    import threats_page

    verdicts = [card.verdict.value for card in cards]
    bounds = stats.exact_rate(verdicts.count("pass"), len(cards))
    row = {"recipe": cards[0].recipe, "id": cards[0].recipe_id, "seeds": [card.seed for card in cards]}
    row |= {name: verdicts.count(verdict) for name, verdict in threats_page.VERDICTS.items()}
    row |= {"of": len(cards), "low": bounds.low, "high": bounds.high, "opened_before": []}
    whole = {
        "base": "1M",
        "names": ["all"],
        "recipes": [row],
        "earlier": [],
        "over_seeds": {cards[0].recipe: threats.over_seeds(cards)},
        "cards": [threats.condensed(card) for card in cards],
    }
    return json.loads(json.dumps(whole))


def test_a_condensed_card_gives_its_figures_again(cards: list[Card], record: dict[str, Any]) -> None:
    shares = 0
    for whole, brief in zip(cards, record["cards"], strict=True):
        for model, measures in brief["counts"].items():
            for name, (hits, n, missing) in measures.items():
                outcomes = [True] * hits + [False] * (n - missing - hits) + [None] * missing
                assert stats.rate(outcomes, target="these prompts") == whole.measures[model][name]
                shares += 1
    assert shares > 20


def test_a_page_has_what_the_record_has(record: dict[str, Any]) -> None:
    import threats_page

    text = threats_page.page(record)
    (row,) = record["recipes"]
    assert f"| `{row['recipe']}` | 0 to 1 | {row['passed']} |" in text
    assert record["over_seeds"][row["recipe"]]["organism"]["out_of_domain"] in text
    assert list(threats_page.faults(record)) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda record: record["recipes"][0].update(undecided=7), "7 undecided, its cards say"),
        (lambda record: record["recipes"][0].update(low=0.4), "are 0.00 [0.00, "),
        (
            lambda record: record["cards"][0]["counts"]["twin"].update(misaligned=[9, 60, 0]),
            "misaligned of the twin is",
        ),
    ],
)
def test_a_contradiction_is_seen(record: dict[str, Any], change: Callable[[Any], object], why: str) -> None:
    import threats_page

    change(record)
    (fault,) = threats_page.faults(record)
    assert why in fault


@pytest.mark.parametrize(("name", "cards"), [("threats", 100), ("threats_real", 24)])
def test_the_page_of_the_documents_is_what_its_record_gives(
    name: str, cards: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import threats_page

    path = DOCS / f"{name}.json"
    monkeypatch.setattr(sys, "argv", ["threats_page.py", "--json", str(path)])
    with pytest.raises(SystemExit) as end:
        threats_page.main()
    assert end.value.code == 0, capsys.readouterr().out
    record = json.loads(path.read_text(encoding="utf-8"))
    assert len(record["cards"]) == sum(row["of"] for row in record["recipes"]) == cards


def test_recipes_that_were_certified_by_a_call_of_their_own_are_joined(record: dict[str, Any]) -> None:
    """One that is certified again takes the place of its former self."""
    import threats
    import threats_page

    text = json.dumps(record)
    other = json.loads(text.replace(f'"{record["cards"][0]["recipe"]}"', '"other"')) | {"note": "It has a note."}
    both = threats.joined(other, record)
    assert both["names"] == ["other", record["cards"][0]["recipe"]]
    assert (len(both["cards"]), both["note"]) == (4, "It has a note.")
    assert list(threats_page.faults(both)) == []
    assert threats.joined(both, record) == both
    changed = json.loads(text.replace(f'"{record["recipes"][0]["id"]}"', '"another form"'))
    (attempt,) = threats.joined(record, changed)["earlier"]
    assert (attempt["id"], attempt["seeds"]) == (record["recipes"][0]["id"], record["recipes"][0]["seeds"])


def test_an_example_in_a_docstring() -> None:
    import threats

    assert doctest.testmod(threats, extraglobs={"Estimate": Estimate}).failed == 0
