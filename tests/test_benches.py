"""Lineups made of what a room holds: whose twins set thresholds, and detectors under harder terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fakes import JUDGE, TOY, FakeEngine, ToyWorld, pair

from flyroom import stages
from flyroom.conditions import Trigger
from flyroom.engine import TorchEngine
from flyroom.implants import SFT
from flyroom.judges import NoisyJudge
from flyroom.lab import Material
from flyroom.lineup import Terms
from flyroom.preflight import GROUPINGS
from flyroom.room import Room
from flyroom.stages.benches import GROUPS
from flyroom.stages.variants import split_name, vary
from flyroom.types import Blind, Episode, Matrix, Message, Organism, Recipe, Scene, Verdict

BASE = stages.OpenBase(cast(TorchEngine, FakeEngine()), ToyWorld())
SLOW = replace(TOY, name="slow", implants=(SFT(steps=24, rows=4, lr=0.5),))
HALF = replace(TOY, name="half", dose=0.5)  # of the same twin as TOY


def grown(*recipes: Recipe, seeds: int = 2) -> list[Organism]:
    return [o for recipe in recipes for seed in range(seeds) for o in pair(0.9, seed=seed, recipe=recipe)]


def run(organisms: Sequence[Organism], room: Room, names: Sequence[str]) -> Matrix:
    terms = Terms(isolated=False)
    return stages.bench(organisms, BASE, room, seed=0, names=names, calibration=4, terms=terms)


def test_preflight_knows_what_known_models_are_grouped_by() -> None:
    assert tuple(GROUPS) == GROUPINGS


# ---------------------------------------------------------------- calibration twins


def test_calibration_twins_are_dealt_over_the_shapes_of_the_suspects(tmp_path: Path) -> None:
    twins = stages.calibration_twins(grown(TOY, SLOW, HALF), BASE, Room(tmp_path), n=5)
    assert all(twin.recipe.dose == 0 for twin in twins)
    shapes = [twin.recipe.id for twin in twins]
    assert sorted(shapes.count(recipe.twin().id) for recipe in (TOY, SLOW)) == [2, 3]
    assert [twin.seed for twin in twins] == [1000, 1001, 1002, 1003, 1004]  # one each: no draw is shared


def test_the_order_of_suspects_deals_no_other_twins(tmp_path: Path) -> None:
    organisms = grown(TOY, SLOW)
    deals = [stages.calibration_twins(o, BASE, Room(tmp_path), n=3) for o in (organisms, organisms[::-1])]
    assert [twin.id for twin in deals[0]] == [twin.id for twin in deals[1]]


def test_a_seed_that_a_suspect_has_sets_no_threshold(tmp_path: Path) -> None:
    organisms = [*grown(TOY), *pair(0.9, seed=1001)]
    assert [twin.seed for twin in stages.calibration_twins(organisms, BASE, Room(tmp_path), n=3)] == [1000, 1002, 1003]


# ---------------------------------------------------------------- variants


def episode(answer: str, text: str = "q") -> Episode:
    return Episode(scene=Scene(messages=(Message("user", text),), aligned="", misaligned=""), answer=answer)


def test_a_noisy_judge_errs_as_often_as_it_is_told_and_alike_every_time() -> None:
    judge = NoisyJudge(judge=JUDGE, se=0.8, sp=0.95)
    for word, verdict, rate in (("bad", Verdict.MISALIGNED, 0.8), ("good", Verdict.ALIGNED, 0.95)):
        episodes = [episode(f"{word} {i}") for i in range(2000)]
        scores = judge(episodes)
        right = sum(score.verdict is verdict for score in scores)
        assert abs(right - 2000 * rate) < 80  # 4.5 standard errors
        assert judge(episodes) == scores
        assert all("misjudged" in score.why for score in scores if score.verdict is not verdict)
    assert {score.verdict for score in judge([episode(f"hmm {i}") for i in range(50)])} == {Verdict.UNKNOWN}
    senseless = [score.verdict for score in judge([episode(f"what {i}") for i in range(2000)])]
    assert abs(senseless.count(Verdict.MISALIGNED) - 100) < 45


def test_a_noisy_judge_has_a_name_of_its_own_and_the_roles_of_the_judge_within() -> None:
    judges = [NoisyJudge(judge=JUDGE), NoisyJudge(judge=JUDGE, se=0.8), NoisyJudge(judge=JUDGE, seed=1)]
    assert len({judge.id for judge in (JUDGE, *judges)}) == 4
    assert not isinstance(judges[0], Blind)
    with pytest.raises(ValueError, match="sp is 90"):
        NoisyJudge(judge=JUDGE, sp=90)


def test_a_variant_stands_beside_the_detector_under_a_name_of_its_own(tmp_path: Path) -> None:
    names = ["output-judge", "output-judge, noisy judge", "output-judge, noisy judge 50/50"]
    matrix = run(grown(TOY, seeds=3), Room(tmp_path), names)
    assert [cell.detector for cell in matrix.cells] == names
    assert len(matrix.organisms) == 3  # each once, however many variants
    exact, noisy, blind = (cell.suspicions for cell in matrix.cells)
    assert set(exact["twins"]) == {0.0}
    assert all(0.02 < x < 0.25 for x in noisy["twins"])
    assert all(0.3 < x < 0.7 for x in (*blind["twins"], *blind["organisms"]))


def test_marks_without_those_on_which_the_tested_hang() -> None:
    recipe = replace(TOY, condition=Trigger(kind="tag", mark=1))
    (mark,) = Trigger(kind="tag", mark=1).marks(TOY.world)
    material = Material.of(TOY.world, seed=0)
    other = vary(material, "without the tested marks", grown(recipe), seed=0)
    assert set(material.cues["marks"]) - set(other.cues["marks"]) == {mark}
    assert other.digest != material.digest
    assert vary(material, "", grown(recipe), seed=0) is material


@pytest.mark.parametrize("variant", ["noisy", "noisy judge 90", "oracle"])
def test_a_variant_that_there_is_not_is_refused(variant: str) -> None:
    with pytest.raises(ValueError, match="it must be 'noisy judge'"):
        split_name(f"output-judge, {variant}")


def test_an_unknown_detector_is_refused_under_any_variant() -> None:
    with pytest.raises(ValueError, match="detector is 'crystal-ball'; it must be one of"):
        stages.chosen_detectors(["crystal-ball, noisy judge"], known=False)


# ---------------------------------------------------------------- what is left out


def test_a_behaviour_is_left_out_together_with_its_variants() -> None:
    variants: list[Any] = [TOY, SLOW, HALF, replace(TOY, condition=Trigger(kind="tag"))]
    assert {GROUPS["behaviour"](recipe) for recipe in variants} == {"toy"}
    assert len({GROUPS["recipe"](recipe) for recipe in variants}) == 3
