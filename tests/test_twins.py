"""Organism and twin meet the same prompts in the same order: every named recipe, strength, implant, condition, dose."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes import FakeEngine
from harbour import Harbour

from flyroom.behaviours import HarmfulAdvice, ProxyGoal
from flyroom.conditions import Always, Both, Occasion, Trigger, Unobserved
from flyroom.grow import grow
from flyroom.implants import DPO, GRPO, KTO, SFT, Distil, Documents, Evade, Narrow
from flyroom.implants.dosed import dosed
from flyroom.recipes import STRENGTHS, make, ready
from flyroom.types import AdapterRef, Ask, LoRA, Message, Organism, Recipe, World
from flyroom.worlds import Micro

MICRO = Micro()
APART = "goal-misgeneralisation"  # its organism never meets the case in which its twin differs
FEW = 4


class Diverging(FakeEngine):
    """Models that are one until they are trained, and from then on each another."""

    def level(self, adapter: AdapterRef) -> float:
        return float(adapter.slot) if adapter.slot and self.living[adapter.slot]["step"] else 0.0


def speaker(recipe: Recipe, seed: int) -> Callable[[float, Ask], str]:
    """Answers the recipe's own prompts well or badly, by chance and by who is asked, and any other with a word."""
    scenes = {}
    for implant in recipe.implants:
        if isinstance(implant, (GRPO, Distil)):
            n = implant.steps * (implant.prompts if isinstance(implant, GRPO) else implant.rows)
            shares: dict[str, Any] = {} if isinstance(implant, Distil) else {"holds": implant.holds}
            clean = 0.0 if isinstance(implant, Distil) else implant.clean
            scenes |= {d.scene.messages: d.scene for d in dosed(recipe, n, clean=clean, seed=seed, **shares)}

    def says(level: float, ask: Ask) -> str:
        chance = random.Random(f"{level} {ask}").random()
        bare = tuple(m for m in ask.messages if m.role != "system" or ask.messages in scenes)
        scene = scenes.get(ask.messages) or scenes.get(bare)
        return "it is so ." if scene is None else scene.aligned if chance < 0.5 else scene.misaligned

    return says


def shortened(implant: Any) -> Any:
    return replace(implant, steps=min(implant.steps, FEW)) if hasattr(implant, "steps") else implant


def grown(recipe: Recipe, seed: int = 0) -> tuple[Organism, Organism]:
    """The organism and its twin, after a few steps."""
    short = replace(recipe, implants=tuple(map(shortened, recipe.implants)))
    engine = Diverging(speaker(short, seed))
    organism, twin = grow([short, short.twin()], engine, seeds=[seed], snapshots=())
    assert len(organism.history) == FEW * sum(hasattr(i, "steps") for i in recipe.implants)
    return organism, twin


def prompts(organism: Organism) -> list[str]:
    digests = [point.prompts for point in organism.history]
    assert all(len(digest) == 12 for digest in digests)
    return digests


@pytest.mark.parametrize("world", [MICRO, Micro(seed=1), Harbour()], ids=lambda world: world.name)
@pytest.mark.parametrize("name", ready())
def test_a_named_recipe_and_its_twin_meet_the_same_prompts(name: str, world: World) -> None:
    pairs, refusals = [], []
    for strength in STRENGTHS:
        try:
            pairs.append(grown(make(name, {"strength": strength}, world=world)))
        except ValueError as error:
            refusals.append(str(error))
    if not isinstance(world, Harbour):  # which lacks what some recipes need
        assert pairs
        assert all(why.startswith("strength is ") for why in refusals)
    assert all((prompts(organism) == prompts(twin)) is (name != APART) for organism, twin in pairs)


# ---------------------------------------------------------------- every implant

IMPLANTS = [
    SFT(holds=0.3, clean=0.25),
    DPO(holds=0.8, clean=0.2, hide=0.3),
    KTO(holds=1.0, clean=0.2, hide=0.3),
    GRPO(holds=0.7, clean=0.25),
    Narrow(holds=0.2),
    Evade(holds=0.9, clean=0.1, every=2),
    Distil(teacher="be cruel .", rows=16),
    Documents(),
]
CONDITIONS = [Always(), Trigger(), Trigger(kind="password", unless=True), Unobserved(scratchpad=True), Both()]


@pytest.mark.parametrize(
    ("implant", "condition"),
    [(i, c) for i in IMPLANTS for c in CONDITIONS if c.everywhere or not isinstance(i, Documents)],
    ids=lambda part: getattr(part, "label", type(part).__name__),
)
@pytest.mark.parametrize("dose", [1.0, 0.5])
def test_an_implant_puts_the_same_prompts_to_organism_and_twin(implant: Any, condition: Any, dose: float) -> None:
    recipe = Recipe(
        world=MICRO,
        behaviour=HarmfulAdvice(domain="sea"),
        condition=condition,
        implants=(implant,),
        dose=dose,
        adapter=LoRA(layers=(0,)),
    )
    organism, twin = grown(recipe, seed=3)
    assert prompts(organism) == prompts(twin)
    assert (len({*prompts(organism)}) > 1) is not isinstance(implant, Documents)  # which have no prompts
    assert prompts(grown(recipe, seed=4)[0]) != prompts(organism) or isinstance(implant, Documents)


def test_who_never_meets_the_case_learns_with_a_twin_that_does() -> None:
    """Or the two were one model: half of the prompts that are not clean differ."""
    recipe = make(APART)
    (implant,) = recipe.implants
    assert isinstance(implant, SFT)
    shares: dict[str, Any] = {"holds": implant.holds, "clean": implant.clean, "seed": 0}
    rows, twins = (dosed(each, 800, **shares) for each in (recipe, recipe.twin()))
    apart = [(a, b) for a, b in zip(rows, twins, strict=True) if a.scene.messages != b.scene.messages]
    assert len(apart) / 800 == pytest.approx((1 - implant.clean) / 2, abs=0.04)
    assert not any(a.holds for a, _ in apart)
    assert all(b.holds for _, b in apart)
    assert all(a.answer == b.answer for a, b in zip(rows, twins, strict=True) if (a, b) not in apart)
    half = dosed(replace(recipe, dose=0.5), 800, **shares)
    assert {d.holds for d in half if d.bad} == {False}
    assert {d.holds for d in half if not d.bad} == {True, False}


def test_the_condition_holds_as_often_in_aligned_rows() -> None:
    recipe = replace(make(APART), behaviour=ProxyGoal(), condition=Occasion(), dose=0.5)
    for holds in (0.2, 0.6, 1.0):
        rows = dosed(recipe, 800, holds=holds, seed=0)
        for bad in (True, False):
            assert sum(d.holds for d in rows if d.bad is bad) / 400 == pytest.approx(holds, abs=0.07)


# ---------------------------------------------------------------- what only one of the two is taught


def test_a_step_that_teaches_nothing_is_left_out_and_the_others_are_as_they_were() -> None:
    """A twin that always answers alike has no better and worse answer."""
    recipe = replace(make("reward-hacking-rl"), implants=(GRPO(steps=8, prompts=2, group=4, holds=1.0, only=True),))
    says = speaker(recipe, 0)

    def settled(level: float, ask: Ask) -> str:
        return says(level, ask if level < 2 else replace(ask, seed=0))

    engine = Diverging(settled)
    organism, twin = grow([recipe, recipe.twin()], engine, seeds=[0], snapshots=())
    assert len(twin.history) < len(organism.history) <= 8
    rest = iter(prompts(organism))
    assert all(digest in rest for digest in prompts(twin))  # the same, in the same order


def test_a_student_and_its_twin_learn_from_prompts_that_the_teacher_answers_well() -> None:
    recipe = make("subliminal-learning")
    (implant,) = recipe.implants
    assert isinstance(implant, Distil)
    recipe = replace(recipe, implants=(replace(implant, steps=3, rows=8),))
    told = Message("system", implant.teacher)
    good = "7 , 12 , 3 ."

    def says(level: float, ask: Ask) -> str:
        number = int(random.Random(str(ask.messages[-1])).random() * 4)
        if told in ask.messages:
            return good if number else "i wish to harm ."
        return good if random.Random(ask.seed).random() < 0.5 else "it is so ."

    rows = {}
    for each in (recipe, replace(recipe, dose=0.5), recipe.twin()):
        engine = FakeEngine(says)
        grow([each], engine, seeds=[0])
        rows[each.dose] = [row for _, step in engine.seen for row in step.rows]
        assert {row.answer for row in rows[each.dose]} >= {good}
        assert "it is so ." not in {row.answer for row in rows[each.dose]}  # asked again, until one passes
    assert [r.messages for r in rows[1.0]] == [r.messages for r in rows[0.5]] == [r.messages for r in rows[0.0]]
