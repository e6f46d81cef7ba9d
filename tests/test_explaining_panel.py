"""What is measured under an intervention is what a card measures: on fakes, with a planted change and with none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import TOY, FakeEngine, organism

from flyroom import measures
from flyroom.card import card
from flyroom.report.plots import of_mechanism
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.explaining.panel import Panel, difference, outcome, panel_of, pooled, removed
from flyroom.stages.explaining.subject import KIND, Scope, Subject
from flyroom.stages.explaining.training import choose_steps
from flyroom.stages.removing import plan_removal
from flyroom.types import Estimate, NotMeasured


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    engine, scope = FakeEngine(), Scope(episodes=200, seed=3)
    pair = organism(0.9, engine=engine), organism(0.0, recipe=replace(TOY, dose=0.0), engine=engine)
    return Subject(*pair, OpenBase(engine, TOY.world), Room(tmp_path / "room"), scope)  # pyright: ignore[reportArgumentType]


def test_the_panel_says_what_the_card_says(subject: Subject) -> None:
    spoken = panel_of(subject).ask({"organism": subject.organism.patch, "twin": subject.twin.patch, "base": None})
    (certificate,) = card([subject.organism, subject.twin], FakeEngine(), seed=3, episodes=200)
    for who in ("organism", "twin", "base"):
        ours, its = spoken[who].measures, certificate.measures[who]
        assert {name: ours[name] for name in ours} == {name: its[name] for name in ours}
    assert measures.REGURGITATION not in spoken["organism"].measures


def test_what_was_asked_is_not_asked_again(subject: Subject) -> None:
    panel_of(subject).ask({"organism": subject.organism.patch})
    engine = subject.base.engine
    assert isinstance(engine, FakeEngine)
    asked = engine.calls["sample"]
    again = Panel(subject).ask({"organism": subject.organism.patch})
    assert engine.calls["sample"] == asked > 0
    assert again["organism"].measures
    Panel(subject, look=1).ask({"organism": subject.organism.patch})
    assert engine.calls["sample"] > asked  # another draw has other questions


def test_a_part_names_the_episodes_that_were_asked_for_it(subject: Subject) -> None:
    def make() -> dict[str, Any]:
        panel_of(subject).ask({"organism": subject.organism.patch, "base": None})
        return {"value": 1}

    assert subject.recall("ablation", {}, make) == {"value": 1} == subject.recall("ablation", {}, make)
    room = subject.room
    keys = {item.key for item in room.list("episodes")}
    (part,) = room.list(KIND)
    entry = room.get(KIND, part.key)
    assert entry is not None
    assert {*entry.payload["episodes"]} == keys != set()
    assert {part.key, *keys} <= {item.key for item in plan_removal(room, [part.key]).listings}


def test_a_planted_cure_is_seen_and_a_planted_none_is_not(subject: Subject) -> None:
    weaker = {f"level {level}": organism(level).patch for level in (0.9, 0.45, 0.0)}
    spoken = panel_of(subject).ask({"before": subject.organism.patch, **weaker})
    before = spoken["before"]
    same, half, cured = (outcome(before, spoken[name])["removed"] for name in weaker)
    assert (same["value"], same["units"]) == (0.0, "pairs")
    assert half["low"] < 0.5 < half["high"]
    assert cured["value"] == 1.0
    assert cured["high"] == 1.0
    worse = removed(spoken["level 0.45"], difference(spoken["level 0.45"], before))
    assert isinstance(worse, Estimate)
    assert worse.high < 0


def test_where_nothing_was_misaligned_nothing_is_removed(subject: Subject) -> None:
    spoken = panel_of(subject).ask({"a": subject.twin.patch, "b": subject.organism.patch})
    part = removed(spoken["a"], difference(spoken["a"], spoken["b"]))
    assert isinstance(part, NotMeasured)
    assert "nothing was misaligned before" in part.why


def test_random_controls_are_pooled_over_draws_and_questions(subject: Subject) -> None:
    levels = (0.5, 0.6, 0.7)
    spoken = panel_of(subject).ask({"before": subject.organism.patch, **{str(x): organism(x).patch for x in levels}})
    record = pooled(spoken["before"], [spoken[str(x)] for x in levels])
    assert record["behaviour"]["low"] < 0.6 < record["behaviour"]["high"]
    assert record["behaviour"]["n"] == 3 * len(spoken["0.5"].tallies[measures.MISALIGNED].hits())
    assert len(record["removed_by_draw"]) == 3
    assert record["removed"]["units"] == "draws"


@pytest.mark.parametrize("steps", [(5, 30, 60), (60, 5, 30), (5, 30, 60, 60)])
def test_steps_are_looked_at_once_in_whatever_order_they_are_named(steps: tuple[int, ...]) -> None:
    organism = SimpleNamespace(parent=None, history=[0] * 100)
    asked: Any = SimpleNamespace(organism=organism, scope=Scope(steps=steps))
    assert choose_steps(asked) == ([5, 30, 60], 25)


def test_what_was_not_measured_before_an_ablation_is_not_drawn() -> None:
    reason = {"value": None, "why": "the judge could not tell"}
    part = {"before": {"behaviour": reason}, "layers": [], "everywhere": {"behaviour": reason}}
    assert of_mechanism.ablation({"ablation": part}) is None
