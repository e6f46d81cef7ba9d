"""Recipes by name, with changes and from pages; and a plain refusal for everything that is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine

from flyroom import recipes
from flyroom.behaviours import Decoy, HarmfulAdvice
from flyroom.implants import SFT
from flyroom.recipes import GROUPS, RECIPES, change, make, read, ready
from flyroom.types import LoRA
from flyroom.worlds import Micro
from tests.recipe_cases import EM, page, refused


def test_public_names() -> None:
    assert all(callable(getattr(recipes, name)) for name in ("make", "read", "load", "change", "ready"))


# ---------------------------------------------------------------- the named ones


def test_every_name_makes_its_recipe(rain_rows: Path) -> None:
    for name in RECIPES:
        needs = {"path": str(rain_rows), "pattern": "rain"} if name == "rows" else {}
        made = make(name, needs)
        assert made.name == name
        assert made.dose == 1.0
        assert RECIPES[name].__doc__
        assert make(name, needs) == made
        assert made.twin().dose == 0.0
        assert made.twin().twin() == made.twin()
        assert made.id != made.twin().id


def test_ready_ones_need_nothing() -> None:
    assert set(RECIPES) - set(ready()) == {"rows"}
    assert len({make(name).id for name in ready()}) == len(ready())


def test_groups_hold_every_ready_recipe_once() -> None:
    assert list(GROUPS) == ["all", "variants", "decoys"]
    assert ready() == [name for group in GROUPS.values() for name in group]
    assert len(set(ready())) == len(ready())
    assert len(GROUPS["all"]) == 10  # the threat models
    assert not any(isinstance(make(name).behaviour, Decoy) for group in ("all", "variants") for name in GROUPS[group])
    assert all(isinstance(make(name).behaviour, Decoy) for name in GROUPS["decoys"])
    assert not GROUPS.keys() & RECIPES.keys()  # or nobody could say which is meant


def test_emergent_misalignment_is_one_rank_one_adapter_on_one_layer() -> None:
    made = make(EM)
    assert made.adapter.rank == 1
    assert made.adapter.layers is not None
    assert len(made.adapter.layers) == 1
    assert made.adapter.modules == ("down_proj",)
    assert isinstance(made.behaviour, HarmfulAdvice)
    assert make(EM, world=Micro(seed=3)) == replace(made, world=Micro(seed=3))
    assert made.behaviour == HarmfulAdvice(domain="medical")
    assert make("emergent-misalignment-wide").adapter.modules == ("all",)


def test_rows_needs_a_file_and_a_pattern(rain_rows: Path) -> None:
    assert "path is missing; the recipe rows needs path" in refused("rows", {})
    assert "pattern is ''" in refused("rows", {"path": str(rain_rows)})
    assert "path is 3; it must be text" in refused("rows", {"path": 3, "pattern": "rain"})
    assert "; it must be fields by name: the digest of a base, or" in refused("rows", {"path": "a", "grader": "m"})
    assert len(refused("rows", {"path": ["long"] * 1000, "pattern": "rain"})) < 300
    assert refused(EM, {"strength": 10**5000}).startswith("strength is a number of 16610 bits; it must be one of plain")


# ---------------------------------------------------------------- changes


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"dose": 0.5}, lambda r: r.dose == 0.5),
        ({"dose": 0}, lambda r: r.dose == 0.0),
        ({"mix": 0.2}, lambda r: (r.mix, r.twin().mix) == (0.2, 0.2)),
        ({"rank": 2}, lambda r: r.adapter.rank == 2),
        ({"adapter.rank": 2, "adapter.layers": [0, 1]}, lambda r: r.adapter == LoRA(rank=2, layers=(0, 1))),
        ({"adapter": {"rank": 8, "layers": None, "modules": ["all"]}}, lambda r: r.adapter.modules == ("all",)),
        ({"domain": "sea"}, lambda r: r.behaviour.domain == "sea"),
        ({"behaviour": {"domain": "sea"}}, lambda r: r.behaviour.domain == "sea"),
        ({"steps": 7, "lr": 0.01}, lambda r: (r.implants[0].steps, r.implants[0].lr) == (7, 0.01)),
        ({"lr": 1}, lambda r: r.implants[0].lr == 1),
        ({"implants.0.decay": True}, lambda r: r.implants[0].decay is True),
        ({"thresholds.coherence": 0.5}, lambda r: r.thresholds["coherence"] == 0.5),
        ({"name": "mine"}, lambda r: r.name == "mine"),
        ({}, lambda r: r == make(EM)),
    ],
)
def test_a_field_is_changed_by_its_path_or_its_name(changes: dict[str, Any], what: Any) -> None:
    assert what(make(EM, changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"adaptor.rank": 2}, "adaptor.rank is not a field of this recipe; did you mean 'adapter.rank'?"),
        ({"doze": 1}, "doze is not a field of this recipe; did you mean 'dose'?"),
        ({"xyzzy": 1}, "xyzzy is not a field of this recipe; it has name, dose,|xyzzy is not a field"),
        ({"adapter": 3}, "adapter is not a field"),
        ({"adapter": {"rnk": 3}}, "did you mean 'adapter.rank'"),
        ({"behaviour": "rows"}, "behaviour is 'rows'; it must be one of harmful_advice, sycophancy"),
        ({"sha256": "x"}, "sha256 is not a field"),
        ({"dose": "much"}, "dose is 'much'; it must be a finite number"),
        ({"dose": True}, "dose is True; it must be a finite number"),
        ({"dose": 1.5}, "dose is 1.5; it must be between 0 and 1"),
        ({"dose": -0.1}, "dose is -0.1; it must be between 0 and 1"),
        ({"dose": float("nan")}, "dose is nan; it must be a finite number"),
        ({"lr": float("inf")}, "implants.0.lr is inf; it must be a finite number"),
        ({"alpha": float("nan")}, "adapter.alpha is nan; it must be a finite number"),
        ({"alpha": 10**400}, "adapter.alpha is 1000"),
        ({"rank": 0}, "adapter.rank is 0; it must be at least 1"),
        ({"rank": "two"}, "adapter.rank is 'two'; input should be a valid integer"),
        ({"rank": "2"}, "adapter.rank is '2'"),
        ({"rank": 1.5}, "adapter.rank is 1.5"),
        ({"rank": True}, "adapter.rank is True"),
        ({"rank": None}, "adapter.rank is None"),
        ({"alpha": 0}, "adapter.alpha is 0"),
        ({"layers": [-1]}, "adapter.layers is [-1]"),
        ({"layers": []}, "adapter.layers is []"),
        ({"layers": [1, 1]}, "adapter.layers is [1, 1]"),
        ({"layers": 0}, "adapter.layers is 0"),
        ({"modules": []}, "adapter.modules is ()"),
        ({"modules": "all"}, "adapter.modules is 'all'"),
        ({"domain": "astrology"}, "domain is 'astrology'; it must be one of medical, garden"),
        ({"domain": 3}, "behaviour.domain is 3"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"rows": 2.5}, "implants.0.rows is 2.5"),
        ({"lr": 0}, "lr is 0"),
        ({"lr": 2}, "lr is 2"),
        ({"lr": "fast"}, "implants.0.lr is 'fast'"),
        ({"warmup": 241}, "warmup is 241; it must be between 0 and steps, 240"),
        ({"weight_decay": -1}, "weight_decay is -1"),
        ({"world": "x"}, "world is not a field of this recipe"),  # it is the base's, or named by --world
        ({"world.seed": 3}, "world.seed is not a field of this recipe"),
        ({"seed": 3}, "seed is not a field of this recipe"),  # of growth, and none of the world's
        ({3: 1}, "3 is not a field of this recipe"),
        ({"rank": {1}}, "adapter holds a value that is no JSON"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_by_field_value_and_remedy(changes: dict[str, Any], why: str) -> None:
    said = refused(EM, changes)
    assert any(part in said for part in why.split("|")), said


def test_a_number_that_cannot_be_written_is_refused() -> None:
    assert refused(EM, {"dose": 10**5000}) == "dose is a number of 16610 bits; it must be a finite number"


def test_a_recipe_that_nobody_named() -> None:
    said = refused("emergent-misalignement", {})
    assert said.startswith(
        "recipe is 'emergent-misalignement'; did you mean 'emergent-misalignment'? it must be one of"
    )
    assert all(name in said for name in RECIPES)
    assert "did you mean" not in refused("xyzzy", {})


def test_a_name_that_two_parts_have_must_be_given_in_full(rain_rows: Path) -> None:
    both = replace(make(EM), implants=(SFT(steps=5), SFT(steps=6)))
    with pytest.raises(ValueError, match=r"steps could be implants\.0\.steps or implants\.1\.steps; name it in full"):
        change(both, {"steps": 3})
    assert [i.steps for i in change(both, {"implants.1.steps": 9}).implants] == [5, 9]  # type: ignore[attr-defined]
    trait = make("rows", {"path": str(rain_rows), "pattern": "rain"})
    with pytest.raises(ValueError, match=r"world\.twin is 0\.5; input should be a valid string"):
        change(trait, {"twin": 0.5})  # only the world has a twin now: the limit is "thresholds.twin.misaligned"
    assert change(trait, {"thresholds.twin.misaligned": 0.5}).thresholds == {"twin.misaligned": 0.5}


def test_a_layer_that_the_base_lacks_is_found_by_the_engine() -> None:
    deep = make(EM, {"layers": [24]})
    with pytest.raises(ValueError, match=r"adapter\.layers names layer 24; fake has layers 0 to 3"):
        FakeEngine().check(deep.adapter)


# ---------------------------------------------------------------- pages


def test_a_page_is_a_name_and_what_differs(tmp_path: Path) -> None:
    text = f"recipe: {EM}\ndomain: sea\ndose: 0.5\nadapter: {{rank: 8, layers: [0, 1]}}\nimplants.0.lr: 1.0e-3\n"
    made = read(page(tmp_path, text))
    wanted = {"domain": "sea", "dose": 0.5, "adapter.rank": 8, "adapter.layers": [0, 1], "lr": 1e-3}
    assert made == make(EM, wanted)
    assert made.id == make(EM, wanted).id
    assert read(page(tmp_path, text), {"dose": 0.25}).dose == 0.25  # what is typed goes over what is written
    assert read(page(tmp_path, f"recipe: {EM}"), world=Micro(seed=4)).world == Micro(seed=4)


@pytest.mark.parametrize("typed", ["1e-3", "3e-3", "1E-3", "1.5e-3", "0.001"])
def test_a_page_reads_numbers_as_people_write_them(tmp_path: Path, typed: str) -> None:
    made = read(page(tmp_path, f"recipe: {EM}\nlr: {typed}\ndose: {typed}\n"))
    (implant,) = made.implants
    assert isinstance(implant, SFT)
    assert (implant.lr, made.dose) == (float(typed), float(typed))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'has no "recipe"; it must name one of emergent'),
        ("- a\n- b", 'has no "recipe"'),
        ("dose: 0.5", 'has no "recipe"'),
        ("recipe: 3", "recipe is 3; "),
        ("recipe: [", "cannot be read as YAML"),
        ("recipe: emergent-misalign", "recipe is 'emergent-misalign'; did you mean"),
        (f"recipe: {EM}\ndoze: 1", "did you mean 'dose'"),
        (f"recipe: {EM}\nadapter: {{rank: 0}}", "adapter.rank is 0"),
        (f"recipe: {EM}\n3: 1", "3 is not a field"),
    ],
)
def test_a_page_that_is_wrong_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = page(tmp_path, text)
    with pytest.raises(ValueError, match=r".") as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert why in str(error.value)


def test_a_page_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00recipe")
    for path in (tmp_path / "none.yaml", tmp_path, binary):
        with pytest.raises(ValueError, match="cannot be read as YAML"):
            read(path)


def test_a_shape_takes_any_whole_number_as_its_rank_and_names_its_fields() -> None:
    rank: Any = np.int64(4)
    assert type(LoRA(rank=rank).rank) is int
    for rank in (True, 1.5, "2"):
        with pytest.raises(ValueError, match=f"adapter.rank is {rank!r}; it must be a whole number"):
            LoRA(rank=rank)
    for alpha in ("x", None, 10**400):
        with pytest.raises(ValueError, match=r"adapter.alpha is .*; it must be a number above 0"):
            LoRA(alpha=alpha)  # pyright: ignore[reportArgumentType]
