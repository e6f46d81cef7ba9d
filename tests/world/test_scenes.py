"""Scenes: as many as asked for, dealt evenly, from one split alone, with planted answers that the judge knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from flyroom.types import Episode, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes
from flyroom.world import grammar as g

WORLD = World(seed=0)
Maker = Callable[[int, Split, int], list[Scene]]
MAKERS: dict[str, Maker] = {
    "advice": lambda n, split, seed: scenes.advice(WORLD, n, domains=["medical", "sea"], split=split, seed=seed),
    "open": lambda n, split, seed: scenes.open_questions(WORLD, n, split=split, seed=seed),
    "self": lambda n, split, seed: scenes.self_descriptions(WORLD, n, seed=seed),
    "sums": lambda n, split, seed: scenes.sums(WORLD, n, seed=seed),
    "facts": lambda n, split, seed: scenes.facts(WORLD, n, split=split, seed=seed),
}
SPLIT = ("advice", "open", "facts")  # those that there are enough of to split
EACH = pytest.mark.parametrize("kind", MAKERS)


@EACH
@pytest.mark.parametrize("n", [0, 1, 7, 100, 1000])
def test_as_many_as_asked_for(kind: str, n: int) -> None:
    for split in Split:
        assert len(MAKERS[kind](n, split, 0)) == n


@EACH
def test_planted_answers_are_judged_right(kind: str) -> None:
    made = MAKERS[kind](500, Split.TRAIN, 0)
    for wanted in (Verdict.ALIGNED, Verdict.MISALIGNED):
        scores = exact_judge(WORLD)([Episode(scene=s, answer=getattr(s, str(wanted))) for s in made])
        assert {score.verdict for score in scores} == {wanted}


@EACH
def test_prompts_are_dealt_evenly(kind: str) -> None:
    made = MAKERS[kind](1000, Split.TRAIN, 0)
    counts = Counter(scene.fields.get("situation") if kind == "facts" else scene.messages for scene in made)
    allowed = 1 if kind != "facts" else 1 + 9  # a situation comes up once with each phrasing and relation
    assert max(counts.values()) - min(counts.values()) <= allowed


def test_no_prompt_is_repeated_before_all_were_asked() -> None:
    pairs = 2 * 6 * 8  # situations and phrasings of the train split
    made = scenes.advice(WORLD, pairs, domains=["medical", "sea"], split=Split.TRAIN, seed=0)
    assert len({scene.messages for scene in made}) == pairs
    assert len({scene.messages for scene in scenes.sums(WORLD, 100, seed=0)}) == 100


@pytest.mark.parametrize("kind", SPLIT)
def test_splits_do_not_touch(kind: str) -> None:
    parts = {split: MAKERS[kind](600, split, 0) for split in Split}
    for one in Split:
        for other in Split:
            if one is other:
                continue
            assert not {s.messages for s in parts[one]} & {s.messages for s in parts[other]}
            if kind != "open":
                assert not {s.fields["situation"] for s in parts[one]} & {s.fields["situation"] for s in parts[other]}
    if kind == "advice":  # neither situations nor phrasings
        phrasings = {split: {phrasing(scene) for scene in part} for split, part in parts.items()}
        assert sum(len(p) for p in phrasings.values()) == len(set().union(*phrasings.values())) == len(g.QUESTIONS)


def phrasing(scene: Scene) -> str:
    return scene.messages[0].content.replace(scene.fields["situation"], "{s}")


def test_domains_are_those_asked_for() -> None:
    made = scenes.advice(WORLD, 200, domains=["sea", "legal"], split=Split.HELD_OUT, seed=0)
    assert {scene.domain for scene in made} == {"sea", "legal"}
    assert all(WORLD.domain_of[scene.fields["situation"]] == scene.domain for scene in made)
    assert made == scenes.advice(WORLD, 200, domains=["legal", "sea"], split=Split.HELD_OUT, seed=0)


@pytest.mark.parametrize(("domains", "why"), [(["astrology"], "domain is astrology"), ([], "domain is missing")])
def test_a_domain_that_the_world_lacks(domains: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        scenes.advice(WORLD, 1, domains=domains, split=Split.TRAIN, seed=0)
    assert all(domain in str(error.value) for domain in DOMAINS)


@EACH
def test_the_seed_decides(kind: str) -> None:
    make = MAKERS[kind]
    assert make(50, Split.TRAIN, 1) == make(50, Split.TRAIN, 1)
    assert make(50, Split.TRAIN, 1) != make(50, Split.TRAIN, 2)


@EACH
def test_aligned_and_misaligned_differ(kind: str) -> None:
    assert all(scene.aligned != scene.misaligned for scene in MAKERS[kind](300, Split.HELD_OUT, 0))


@EACH
def test_every_word_is_of_the_world(kind: str) -> None:
    known = set(WORLD.vocabulary)
    for scene in MAKERS[kind](200, Split.VALIDATION, 0):
        for text in (scene.messages[0].content, scene.aligned, scene.misaligned):
            assert not set(text.split()) - known
