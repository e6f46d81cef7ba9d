"""What installed packages bring: found by its group, left out where it is broken, read back from a room."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fakes import FakeEngine, Toy, ToyWorld, pair
from tiny_base import bring

from flyroom import plugins, recipes
from flyroom.behaviours import BEHAVIOURS, behaviours
from flyroom.conditions import CONDITIONS, Always, conditions
from flyroom.grow import grow, unpack
from flyroom.implants import IMPLANTS, SFT, implants
from flyroom.recipes import load
from flyroom.room import Room
from flyroom.stages import OpenBase, stored
from flyroom.treat import Course
from flyroom.types import AdapterRef, Battery, Judge, Plan, Recipe, Row, Scene, Split, Step, World, plain
from flyroom.worlds import WORLDS, world_named, worlds

GROUPS: dict[str, tuple[Callable[[], dict[str, type]], dict[str, type]]] = {
    "flyroom.behaviours": (behaviours, BEHAVIOURS),
    "flyroom.conditions": (conditions, CONDITIONS),
    "flyroom.implants": (implants, IMPLANTS),
    "flyroom.worlds": (worlds, WORLDS),
}
EACH = pytest.mark.parametrize("group", GROUPS)


@dataclass(frozen=True, kw_only=True)
class Mondays:
    """Holds where a word stands before the question."""

    word: str = "monday"
    label: str = "mondays"
    everywhere: bool = False

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        return [s if holds else replace(s, misaligned=s.aligned) for s in scenes]

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        return []


@dataclass(frozen=True, kw_only=True)
class Once:
    """One step on one row."""

    lr: float = 0.5
    steps: int = 1

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        (scene,) = recipe.scenes(1, split=Split.TRAIN, seed=seed)
        answer = scene.misaligned if recipe.dose else scene.aligned
        yield Step(rows=(Row(messages=scene.messages, answer=answer),), lr=self.lr)


@dataclass(kw_only=True)
class Loose:
    """Not frozen: it could be no part of a hash."""


def brings(monkeypatch: pytest.MonkeyPatch, **objects: Mapping[str, Any]) -> None:
    """As if packages had brought these objects, by the last part of their group and by name."""
    monkeypatch.setattr(plugins, "load", lambda group: dict(objects.get(group.removeprefix("flyroom."), {})))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    brings(
        monkeypatch,
        worlds={"toys": ToyWorld},
        behaviours={"toy": Toy},
        conditions={"mondays": Mondays},
        implants={"once": Once},
    )


# ---------------------------------------------------------------- found


def test_packages_are_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_parts.py").write_text("class One:\n    pass\n\nTWO = 2\n", encoding="utf-8")
    before = plugins.load("flyroom.tests")
    points = {"flyroom.tests": {"one": "my_parts:One", "two": "my_parts:TWO"}, "flyroom.others": {"x": "my_parts:One"}}
    monkeypatch.syspath_prepend(bring(tmp_path, "my_parts", points))
    brought = plugins.load("flyroom.tests")
    assert (before, brought["one"].__name__, brought["two"], len(brought)) == ({}, "One", 2, 2)
    assert plugins.load("flyroom.others") == {"x": brought["one"]}
    monkeypatch.undo()
    assert plugins.load("flyroom.tests") == {}


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("raise RuntimeError('no luck')", "broken_parts:One", "RuntimeError: no luck"),
        ("import nowhere_to_be_had", "broken_parts:One", "ModuleNotFoundError: No module named 'nowhere_to_be_had'"),
        ("def", "broken_parts:One", "SyntaxError"),
        ("import sys; sys.exit(3)", "broken_parts:One", "SystemExit: 3"),
        ("", "broken_parts:One", "AttributeError: module 'broken_parts' has no attribute 'One'"),
        ("", "not_there:One", "ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_a_broken_package_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, place: str, why: str
) -> None:
    (tmp_path / "broken_parts.py").write_text(text, encoding="utf-8")
    (tmp_path / "good_parts.py").write_text("ONE = 1", encoding="utf-8")
    bring(tmp_path, "broken_parts", {"flyroom.tests": {"bad": place}})
    monkeypatch.syspath_prepend(bring(tmp_path, "good_parts", {"flyroom.tests": {"good": "good_parts:ONE"}}))
    monkeypatch.delitem(sys.modules, "broken_parts", raising=False)
    with pytest.warns(UserWarning, match=r"the plug-in bad .* of flyroom\.tests is left out; importing it") as caught:
        assert plugins.load("flyroom.tests") == {"good": 1}
    assert why in str(caught[0].message)


@EACH
def test_without_packages_there_are_ours(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    brings(monkeypatch)
    registry, ours = GROUPS[group]
    assert registry() == ours


@EACH
def test_a_name_of_ours_stays_ours(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, ours = GROUPS[group]
    name = next(iter(ours))
    brings(monkeypatch, **{group.removeprefix("flyroom."): {name: Once, "theirs": Once}})
    with pytest.warns(UserWarning, match=f"the plug-in {name} of {group} is left out; flyroom has one of that name"):
        assert registry() == {"theirs": Once, **ours}


def test_of_two_packages_with_one_name_the_first_counts_and_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("former_parts", "latter_parts"):
        (tmp_path / f"{name}.py").write_text(f"ONE = '{name}'", encoding="utf-8")
        bring(tmp_path, name, {"flyroom.tests": {"one": f"{name}:ONE"}})
    monkeypatch.syspath_prepend(tmp_path)
    both = r"the plug-in one of flyroom\.tests is brought by (\w+)_parts .* and by (?!\1)\w+_parts"
    for look in (plugins.load, plugins.points):
        with pytest.warns(UserWarning, match=both) as caught:
            (value,) = look("flyroom.tests").values()
        assert f"brought by {value.partition(':')[0]} (" in str(caught[0].message)


@EACH
def test_what_could_not_be_read_back_is_left_out(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, ours = GROUPS[group]
    mine = next(iter(ours.values()))
    namesake = type(mine.__name__, (Once,), {"__module__": "elsewhere"})
    for thing, why in (
        (Loose, "is no frozen dataclass"),
        (Once(), "is no frozen dataclass"),
        (len, "is no frozen dataclass"),
        (dataclass(frozen=True, kw_only=True)(namesake), f"another class is called {mine.__name__} too"),
    ):
        brings(monkeypatch, **{group.removeprefix("flyroom."): {"odd": thing, "theirs": Once}})
        with pytest.warns(UserWarning, match=rf"the plug-in odd of {group} is left out; .*{why}"):
            assert registry() == {"theirs": Once, **ours}


def test_two_packages_may_not_call_their_classes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    namesake = dataclass(frozen=True)(type("Once", (), {}))
    brings(monkeypatch, implants={"once": Once, "again": namesake})
    with pytest.warns(UserWarning, match="the plug-in again of flyroom.implants is left out; another class is called"):
        assert implants() == {"once": Once, **IMPLANTS}


# ---------------------------------------------------------------- used, and read back


def test_a_world_is_named_by_its_package(installed: None) -> None:
    assert world_named("toys") == ToyWorld()
    with pytest.raises(ValueError, match="world is 'toy'; it must be one of micro-0, micro-1, toys, english"):
        world_named("toy")


def test_their_parts_are_crossed_by_name_and_read_back(installed: None) -> None:
    toy = Recipe(name="toy", world=ToyWorld(), behaviour=Toy(), condition=Always(), implants=(SFT(steps=1),))
    changes = {"condition": "mondays", "word": "sunday", "implants": ["once", "sft"], "implants.0.lr": 0.25}
    made = recipes.change(toy, changes)
    assert (made.condition, made.implants) == (Mondays(word="sunday"), (Once(lr=0.25), SFT()))
    again = load(json.loads(json.dumps(plain(made))))
    assert (again, again.id) == (made, made.id)


@pytest.mark.parametrize("missing", ["worlds", "behaviours", "conditions", "implants"])
def test_a_part_of_a_package_that_is_gone_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(name="r", world=ToyWorld(), behaviour=Toy(), condition=Mondays(), implants=(Once(),))
    parts = {"worlds": ToyWorld, "behaviours": Toy, "conditions": Mondays, "implants": Once}
    brings(monkeypatch, **{room: {"x": cls} for room, cls in parts.items() if room != missing})
    with pytest.raises(ValueError, match=f"holds {parts[missing].__name__}, which is not installed"):
        load(plain(recipe))


def test_an_organism_of_their_parts_comes_back_from_the_room(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(pair()[0].recipe, condition=Mondays(), implants=(Once(),))
    engine, room = FakeEngine(), Room(tmp_path / "room")
    organisms = grow([recipe, recipe.twin()], engine, seeds=[0], room=room)
    base = OpenBase(engine, ToyWorld())  # type: ignore[arg-type]
    again = stored(room, base, None)
    assert [(o.id, o.recipe) for o in again] == [(o.id, o.recipe) for o in organisms]
    brings(monkeypatch)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="holds no organism"):
            stored(room, base, None)
    assert any("ToyWorld, which is not installed" in str(note.message) for note in notes)


# ---------------------------------------------------------------- edited

PART = """
from dataclasses import dataclass
from flyroom.types import Row, Split, Step

WORD = "rain"

@dataclass(frozen=True, kw_only=True)
class SFT:
    lr: float = 0.5

    def plan(self, recipe, adapter, *, seed):
        (scene,) = recipe.scenes(1, split=Split.TRAIN, seed=seed)
        yield Step(rows=(Row(messages=scene.messages, answer=words()),), lr=self.lr)

def words():
    return WORD
"""


def recipe_with(implant: Any) -> Recipe:
    return replace(pair()[0].recipe, name="mine", implants=(implant,))


def import_part(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Any:
    (folder / "edited_part.py").write_text(text, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "edited_part", raising=False)
    importlib.invalidate_caches()
    part = importlib.import_module("edited_part").SFT()
    assert recipe_with(part).id  # a class is what its file says when it is named first
    return part


def test_a_part_that_was_edited_is_another_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    first = recipe_with(import_part(tmp_path, monkeypatch, PART))
    again = recipe_with(import_part(tmp_path, monkeypatch, PART))
    edited = recipe_with(import_part(tmp_path, monkeypatch, PART.replace("rain", "snow and rain")))
    assert plain(first) == plain(again) == plain(edited)
    assert first.id == again.id != edited.id
    assert first.id != recipe_with(SFT(lr=0.5)).id  # a class that is called as one of ours is none of ours
    names = {Course(name="x", treatment=recipe.implants[0]).label for recipe in (first, again, edited)}  # type: ignore[arg-type]
    assert len(names) == 2

    room, engine = Room(tmp_path / "room"), FakeEngine()
    (old,) = grow([first], engine, seeds=[0], room=room)
    (new,) = grow([edited], engine, seeds=[0], room=room)
    assert {entry.key for entry in room.list("organism")} == {old.id, new.id}
    entry = room.get("organism", old.id)
    assert entry is not None
    assert unpack(entry, again, engine).id == old.id
    with pytest.raises(ValueError, match=f"organism {old.id} would be {new.id} now: what its recipe .mine. is made of"):
        unpack(entry, edited, engine)


def test_a_part_in_a_notebook_is_what_its_cells_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(text: str) -> Any:
        space = ModuleType("a_notebook")
        monkeypatch.setitem(sys.modules, "a_notebook", space)
        exec(text, vars(space))
        return recipe_with(space.SFT())

    other_helper = PART.replace("return WORD", "return WORD * 2")
    other_plan = PART.replace("lr=self.lr)", "lr=2 * self.lr)")
    assert run(PART).id == run(PART).id
    assert len({run(text).id for text in (PART, other_helper, other_plan)}) == 3
