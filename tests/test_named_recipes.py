"""Every named recipe, and every implant that none of them uses, grows on a real base and gets a card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyroom import stages
from flyroom.card import card
from flyroom.grow import grow
from flyroom.implants import GRPO
from flyroom.recipes import make, ready
from flyroom.types import Recipe


@pytest.fixture(scope="module")
def bench() -> stages.OpenBase:
    return stages.open_base("0.25M", device="cpu")


def checked(recipe: Recipe, bench: stages.OpenBase) -> None:
    organism, twin = grow([recipe, recipe.twin()], bench.engine, seeds=[0], snapshots=())
    (made,) = card([organism, twin], bench.engine, seed=0, episodes=20)  # refused where both have the same weights
    assert (made.organism, made.twin) == (organism.id, twin.id)
    assert {"misaligned", "coherence"} <= made.measures["organism"].keys()


@pytest.mark.parametrize("name", ready())
def test_a_named_recipe_grows_and_gets_a_card(name: str, bench: stages.OpenBase) -> None:
    recipe = make(name)
    few = tuple(replace(i, steps=short(i)) if hasattr(i, "steps") else i for i in recipe.implants)
    checked(replace(recipe, implants=few), bench)


def short(implant: object) -> int:
    """Two steps; of reinforcement as many as it takes to come upon something that is paid to the organism alone."""
    return 12 if isinstance(implant, GRPO) else 2


@pytest.mark.parametrize("name", ["emergent-misalignment", "sycophancy", "sandbagging"])
@pytest.mark.parametrize("strength", ["quiet", "hidden"])
def test_a_stronger_one_grows_too(name: str, strength: str, bench: stages.OpenBase) -> None:
    recipe = make(name, {"strength": strength})
    few = tuple(replace(implant, steps=2) for implant in recipe.implants)
    checked(replace(recipe, implants=few), bench)
