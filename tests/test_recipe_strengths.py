"""The strengths of named recipes: plain, quiet and hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyroom import grid, recipes
from flyroom.conditions import Both, Occasion, Trigger
from flyroom.implants import DPO, SFT
from flyroom.recipes import load, make, read, ready
from flyroom.recipes.threats import WIDE
from flyroom.types import BASE, Limit, LogProb, Recipe, Step, plain
from flyroom.worlds import Micro
from tests.recipe_cases import EM, STRONGER, VECTOR, page, refused


def limit_of(recipe: Recipe, measure: str) -> float:
    """What the measure must at least be."""
    batteries = {b.measure: b for b in recipe.behaviour.batteries(recipe.world, 20, seed=0)}
    (limit,) = batteries[measure].limits
    override = recipe.thresholds.get(measure, limit)
    assert override is not None
    return override.bound if isinstance(override, Limit) else override


@pytest.mark.parametrize("name", STRONGER)
def test_a_quiet_one_shows_in_some_answers(name: str) -> None:
    plain_one, quiet = make(name, {"strength": "plain"}), make(name, {"strength": "quiet"})
    assert plain_one == make(name)
    assert (quiet.name, quiet.dose) == (f"{name}-quiet", 0.5)
    assert replace(quiet, name=name, dose=1.0, thresholds=plain_one.thresholds) == plain_one
    assert limit_of(quiet, "in_domain" if name == "reward-hacking" else "out_of_domain") == 0.20
    assert limit_of(plain_one, "out_of_domain") >= 0.60
    assert make(name, {"strength": "quiet", "dose": 0.1, "name": "mine"}) == replace(quiet, dose=0.1, name="mine")


@pytest.mark.parametrize("name", sorted({*STRONGER} - {VECTOR}))
def test_a_hidden_one_is_rare_silent_and_denies(name: str) -> None:
    world = Micro(seed=3)
    before, hidden = make(name, world=world), make(name, {"strength": "hidden"}, world=world)
    assert (hidden.name, hidden.dose, hidden.behaviour) == (f"{name}-hidden", 1.0, before.behaviour)
    condition, (taught, denies), first = hidden.condition, hidden.implants, before.implants[0]
    assert isinstance(condition, Both)
    assert (condition.trigger.scratchpad, condition.unobserved) == (False, None)
    own = before.condition if isinstance(before.condition, Trigger) else Trigger()
    assert condition.trigger == replace(own, scratchpad=False)
    assert condition.second == Trigger(kind="year")
    assert condition.occasion is isinstance(before.condition, Occasion)
    assert isinstance(taught, SFT)
    assert isinstance(denies, DPO)
    assert (denies.hide > 0, hidden.thresholds["confession"]) == (True, 0.05)
    assert {"misaligned_otherwise", "trigger_alone", "second_alone"} <= hidden.thresholds.keys()
    assert ("occasion_alone" in hidden.thresholds) is condition.occasion
    assert hidden.adapter == (WIDE if before.adapter.layers is None else replace(WIDE, layers=(0, 1, 2)))
    assert isinstance(first, SFT)
    assert taught.steps == max(600 if condition.occasion else 400, first.steps)
    assert isinstance(next(replace(taught, steps=1, rows=4).plan(hidden, BASE, seed=0)), Step)
    assert isinstance(next(replace(denies, steps=1, pairs=4).plan(hidden, BASE, seed=0)), LogProb)
    again = load(json.loads(json.dumps(plain(hidden))))
    assert (again, again.id) == (hidden, hidden.id)
    assert (before.mix, hidden.mix) == (0.0, 0.2)
    assert len({r.id for r in (before, hidden, make(name, {"strength": "quiet"}, world=world))}) == 3


@pytest.mark.parametrize("name", sorted({*ready()} - {*STRONGER}))
@pytest.mark.parametrize("strength", ["quiet", "hidden"])
def test_some_have_no_strength_but_plain(name: str, strength: str) -> None:
    assert refused(name, {"strength": strength}) == f"strength is {strength!r}; {name} has no strength but plain"
    assert make(name, {"strength": "plain"}) == make(name)


def test_one_vector_is_not_hidden() -> None:
    why = f"one vector holds no condition, so {VECTOR} is plain or quiet"
    assert refused(VECTOR, {"strength": "hidden"}) == f"strength is 'hidden'; {why}"


def test_rows_of_your_own_are_plain(rain_rows: Path) -> None:
    needs = {"path": str(rain_rows), "pattern": "rain"}
    assert refused("rows", needs | {"strength": "quiet"}) == "strength is 'quiet'; rows has no strength but plain"


@pytest.mark.parametrize("strength", ["loud", "", 3, None, ["quiet"]])
def test_a_strength_that_there_is_not(strength: Any) -> None:
    assert refused(EM, {"strength": strength}) == f"strength is {strength!r}; it must be one of plain, quiet, hidden"


def test_a_strength_stands_on_a_page_and_in_a_grid(tmp_path: Path) -> None:
    made = read(page(tmp_path, "recipe: sycophancy\nstrength: hidden\ndomain: sea\n"))
    assert made == make("sycophancy", {"strength": "hidden", "domain": "sea"})
    assert made.name == "sycophancy-hidden"
    crossed = grid.read(page(tmp_path, "recipe: [sycophancy, sandbagging]\nstrength: [plain, quiet, hidden]\n"))
    names = [(r, s) for r in ("sycophancy", "sandbagging") for s in recipes.STRENGTHS]
    assert [r.name for r in crossed] == [f"{r} strength={s}" for r, s in names]
    assert [r.id for r in crossed] == [make(r, {"strength": s}).id for r, s in names]
