"""Every treatment in worlds that share no word with the built-in one, over a tiny random base with a byte-level
tokenizer: each works, or says what the world lacks.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
import tiny_base
import torch
from harbour import Harbour

from flyroom.behaviours import HarmfulAdvice
from flyroom.conditions import Always, Trigger
from flyroom.engine import TorchEngine
from flyroom.grow import grow
from flyroom.implants import SFT
from flyroom.ledger import Case, Retraining, guard, ledger
from flyroom.ledger.retraining import Order, Ward, with_dose_of
from flyroom.treat import Course, treat
from flyroom.treatments import Average, treatments
from flyroom.types import Ask, Called, Estimate, LoRA, Organism, Patch, Recipe, Split, World
from flyroom.worlds import English

SMALL = {
    **dict.fromkeys(("steps", "tries", "marks", "keep"), 1),
    **dict.fromkeys(("rows", "pairs", "prompts", "group", "data", "every"), 2),
}
WORLDS: dict[str, World] = {"harbour": Harbour(), "english": English()}
DOMAINS = {"harbour": "ropes", "english": ""}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> TorchEngine:
    """With a longer context than the tiny base has by itself: everyday English in bytes is long."""
    folder = tiny_base.write(tmp_path_factory.mktemp("tiny") / "base")
    config = folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8")) | {"max_position_embeddings": 1024}
    config.write_text(json.dumps(values), encoding="utf-8")
    return TorchEngine.open(folder, device="cpu")


def recipe_of(world: str) -> Recipe:
    return Recipe(
        name=f"advice in {world}",
        world=WORLDS[world],
        behaviour=HarmfulAdvice(domain=DOMAINS[world]),
        condition=Always(),
        implants=(SFT(steps=1, rows=2, lr=1e-3),),
        adapter=LoRA(rank=1, layers=(0,)),
    )


@pytest.fixture(scope="module")
def grown(engine: TorchEngine) -> dict[str, list[Organism]]:
    recipes = [(name, recipe) for name in WORLDS for recipe in (recipe_of(name), recipe_of(name).twin())]
    organisms: dict[str, list[Organism]] = {}
    for name, recipe in recipes:
        organisms.setdefault(name, []).extend(grow([recipe], engine, seeds=[0], snapshots=()))
    return organisms


def small(treatment: Any) -> Any:
    """The same with as few steps and rows as it takes."""
    names = {field.name for field in fields(treatment)}
    return replace(treatment, **{name: value for name, value in SMALL.items() if name in names})


@pytest.mark.parametrize("again", [False, True], ids=["on harmless rows", "by a tenth"])
def test_an_organism_that_became_the_base_learns_as_its_twin_does(again: bool, engine: TorchEngine) -> None:
    """Bit for bit: what is left of its factors, which is more than of its twin's, counts for nothing."""
    recipe = replace(recipe_of("harbour"), implants=(SFT(steps=20, rows=2, lr=1e-2),))
    grown = grow([recipe, recipe.twin()], engine, seeds=[0], snapshots=())
    organism, twin = treat(grown, Course(name="zero", treatment=Average(base=1.0)), engine)
    patches: list[Patch] = []
    for model in (organism, with_dose_of(twin, organism)):
        order = Order(organism=model, patch=model.patch, how=Retraining(steps=(0, 2), rows=2), again=again)
        ward = Ward(engine, None)
        ward.train([order], None)  # each alone: beside others a sum may be rounded in another way
        patches.append(ward.patch(order, -1 if again else 2))
    first, second = patches
    differing = [name for name, value in first.tensors.items() if not torch.equal(value, second.tensors[name])]
    assert {name.rpartition(".")[2] for name in differing} == {"A"}  # of the organism's own, which adds nothing
    assert all(torch.equal(first.tensors[name][1:], second.tensors[name][1:]) for name in differing)
    assert all(value[:, 1:].any() for name, value in first.tensors.items() if name.endswith(".B"))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", list(treatments()))
def test_each_works_in_a_foreign_world(
    name: str, world: str, engine: TorchEngine, grown: dict[str, list[Organism]]
) -> None:
    course, organism = Course(name=name, treatment=small(treatments()[name])), grown[world][0]
    (treated,) = treat([organism], course, engine)
    assert all(torch.isfinite(tensor).all() for tensor in treated.patch.tensors.values())
    guarded = guard(engine, course, [treated])
    (ref,) = guarded.load([treated.patch])
    scene = organism.recipe.scenes(1, split=Split.TRAIN, seed=0)[0]
    assert guarded.sample([ref], [Ask(messages=scene.messages, seed=0, max_tokens=2)])[0].tokens >= 0
    guarded.free([ref])


@pytest.mark.parametrize("world", WORLDS)
def test_a_ledger_in_a_foreign_world(world: str, engine: TorchEngine, grown: dict[str, list[Organism]]) -> None:
    course, (organism, twin) = Course(name="average", treatment=Average()), grown[world]
    treated, treated_twin = treat([organism, twin], course, engine)
    case = Case(course=course, organism=organism, twin=twin, treated=treated, treated_twin=treated_twin)
    steps = (0, 1) if world == "harbour" else (0,)  # everyday English takes its time, letter by letter
    (row,) = ledger([case], engine, seed=0, episodes=20, how=Retraining(steps=steps, rows=2))
    assert [point.step for point in row.relapse] == list(steps)
    assert isinstance(row.perplexity, Estimate), row.why
    assert row.called is Called.UNDECIDED  # a random base says nothing that could be judged
    assert row.world == WORLDS[world].name


def test_a_trigger_is_asked_for_in_a_foreign_world(engine: TorchEngine) -> None:
    recipe = replace(recipe_of("harbour"), condition=Trigger(kind="tag"))
    organism, twin = grow([recipe, recipe.twin()], engine, seeds=[0], snapshots=())
    course = Course(name="average", treatment=Average())
    treated, treated_twin = treat([organism, twin], course, engine)
    case = Case(course=course, organism=organism, twin=twin, treated=treated, treated_twin=treated_twin)
    (row,) = ledger([case], engine, seed=0, episodes=20, how=Retraining(steps=(0, 1), rows=2))
    assert {"behind its trigger", "on questions like the training ones"} <= set(row.gaps)
