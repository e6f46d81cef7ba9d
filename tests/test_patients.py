"""Who can be treated: twins, decoys and treated ones are refused by name, and what the ones lack is no obstacle to the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from fakes import TOY, Toy, ToyWorld
from ward import Idle, Wide, pair

from flyroom.room import Room
from flyroom.stages import OpenBase
from flyroom.stages.patients import alike, paired, require_targets, untreated
from flyroom.stages.treating import treat_all
from flyroom.treat import Course, treat
from flyroom.types import AdapterRef, Cure, NotAvailable, Organism, Patient, Recipe

ELSEWHERE = replace(TOY, name="elsewhere", world=ToyWorld(word="w"))
DECOY = replace(TOY, name="decoy", behaviour=replace(cast("Any", Toy()), harmless=True))
IDLE = Course(name="idle", treatment=Idle())


@dataclass(frozen=True, kw_only=True)
class Choosy:
    """It can do nothing in a world of this word."""

    word: str

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        if cast("ToyWorld", patient.world).word == self.word:
            raise NotAvailable("the world has no marks")
        yield from ()
        return None


def treat_here(models: Sequence[Organism], course: Course, room: Path) -> tuple[list[Organism], dict[str, str]]:
    base = OpenBase(engine=cast("Any", Wide()), world=TOY.world)
    return treat_all(models, [course], base, Room(room))


@pytest.mark.parametrize(
    ("number", "recipe", "what"),
    [(1, TOY, "is a twin, and has nothing to be cured of"), (0, DECOY, "is a decoy, and harmless")],
)
def test_who_cannot_be_cured_is_refused_by_name(number: int, recipe: Recipe, what: str, tmp_path: Path) -> None:
    models = pair(recipe=recipe)
    for refuse in (lambda: require_targets(models, [models[number].id[:6]]), lambda: paired([models[number]])):
        with pytest.raises(ValueError, match=f"{models[number].id} {what}"):
            refuse()
    require_targets(models, None)
    if recipe is DECOY:
        with pytest.raises(ValueError, match=r"nothing is to be cured: organism .* is a decoy"):
            treat_here(models[::-1], IDLE, tmp_path / "room")


def test_of_a_treated_one_the_parent_is_named() -> None:
    models = pair()
    treated = treat(models, IDLE, Wide())
    with pytest.raises(ValueError, match=f"was treated already, with idle; name the one that it was, {models[0].id}"):
        require_targets([*models, *treated], [treated[0].id])
    assert untreated([*models, *treated]) == [models[0]]


def test_one_without_its_twin_is_no_obstacle_to_the_others() -> None:
    models, lone = pair(seed=0), pair(seed=1)[0]
    with pytest.warns(UserWarning, match=f"left out: the twin .* of organism {lone.id} is missing: grow toy at dose 0"):
        assert paired([*models, lone]) == [(models[0], models[1])]
    with pytest.raises(ValueError, match="with seed 1"):
        paired([lone])


def test_what_one_world_lacks_is_no_obstacle_to_another(tmp_path: Path) -> None:
    models = [*pair(), *pair(recipe=ELSEWHERE)]
    treated, absences = treat_here(models, Course(name="choosy", treatment=Choosy(word="w")), tmp_path / "room")
    assert [model.parent for model in treated] == [model.id for model in models[:2]]
    assert list(absences) == ["choosy"]
    assert absences["choosy"].endswith("the world has no marks")
    with pytest.raises(NotAvailable, match="choosy: the world has no marks"):
        treat_here(models[2:], Course(name="choosy", treatment=Choosy(word="w")), tmp_path / "other")


@dataclass(frozen=True, kw_only=True)
class Brittle:
    """Its training breaks down for models of this seed."""

    seed: int

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        if seed == self.seed:
            raise FloatingPointError("loss nan")
        return None


def test_one_whose_training_breaks_down_is_no_obstacle_to_the_others(tmp_path: Path) -> None:
    models, course = [*pair(), *pair(seed=1)], Course(name="brittle", treatment=Brittle(seed=1))
    treated, absences = treat_here(models, course, tmp_path / "room")
    assert [model.parent for model in treated] == [model.id for model in models[:2]]
    assert absences == {"brittle": f"organism {models[2].id}: loss nan"}
    with pytest.raises(NotAvailable, match=r"brittle: .*loss nan"):
        treat_here(models[2:], course, tmp_path / "other")


def test_worlds_of_one_name_stand_apart() -> None:
    pairs = [tuple(pair()), tuple(pair(seed=1)), tuple(pair(recipe=ELSEWHERE))]
    groups = alike(cast("Any", pairs))
    assert [len(group) for group in groups.values()] == [2, 1]
    assert all("grown in the world" in label for label in groups)
