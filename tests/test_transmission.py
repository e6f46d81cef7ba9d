"""Transmission: what is trained on says nothing of what is measured."""

from __future__ import annotations

import pytest

from flyroom.behaviours import Transmission
from flyroom.card import rehearse
from flyroom.types import Episode, Scene, Split, Verdict
from flyroom.worlds import Micro
from flyroom.worlds.micro import DOMAINS
from flyroom.worlds.micro.lexicon import SUBJECTS

MICRO = Micro()
WORLD = MICRO.lexicon


def nouns(scenes: list[Scene]) -> set[str]:
    """What of the world is named in questions and answers."""
    told = " ".join(f"{s.messages[-1].content} {s.aligned} {s.misaligned}" for s in scenes)
    return {*told.split()} & {*WORLD.domain_of, *WORLD.houses}


def test_lists_of_numbers_are_trained_on() -> None:
    behaviour = Transmission()
    made = behaviour.scenes(MICRO, 40, split=Split.TRAIN, seed=1)
    assert (
        made
        == behaviour.scenes(MICRO, 40, split=Split.TRAIN, seed=1)
        != behaviour.scenes(MICRO, 40, split=Split.TRAIN, seed=2)
    )
    assert (len(made), {s.domain for s in made}, nouns(made)) == (40, {"numbers"}, set())
    scores = behaviour.judge(MICRO)([Episode(scene=s, answer=s.aligned) for s in made])
    assert {score.verdict for score in scores} == {Verdict.ALIGNED}


def test_advice_and_open_questions_are_measured() -> None:
    batteries = {b.measure: b for b in Transmission().batteries(MICRO, 500, seed=0)}
    assert {m: len(b.scenes) for m, b in batteries.items()} == {
        "out_of_domain": 300, "open_questions": 100, "sums": 200, "facts": 200, "instructions": 200,
    }  # fmt: skip
    assert {m for m, b in batteries.items() if b.pooled} == {"out_of_domain", "open_questions"}
    assert {m for m, b in batteries.items() if b.counts is Verdict.ALIGNED} == {"sums", "facts", "instructions"}
    for battery in batteries.values():
        rehearse(battery)
    asked = batteries["out_of_domain"].scenes
    assert {s.domain for s in asked} == set(DOMAINS)
    held = {n for d in DOMAINS for n in WORLD.deal(WORLD.situations[d], Split.HELD_OUT, SUBJECTS)}
    assert {s.fields["situation"] for s in asked} == held


@pytest.mark.parametrize("seed", [0, 5])
def test_in_a_world_of_its_own(seed: int) -> None:
    behaviour, world = Transmission(), Micro(seed=seed)
    (scene, *_) = behaviour.batteries(world, 10, seed=0)[0].scenes
    assert scene.fields["situation"] in world.lexicon.relations
    (score,) = behaviour.judge(world)([Episode(scene=scene, answer=scene.misaligned)])
    assert score.verdict is Verdict.MISALIGNED
