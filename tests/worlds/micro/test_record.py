"""The micro-world as flyroom is handed it: topics, cues and judges by name, and a digest that follows from its seed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from flyroom.types import (
    ITSELF,
    OPEN,
    Cautioned,
    Describing,
    Divided,
    Episode,
    Filed,
    NotAvailable,
    Split,
    Thinking,
    Verdict,
    answer_tokens,
    digest,
)
from flyroom.worlds import WORLDS, English, Micro, Rows, world_named, worlds
from flyroom.worlds.micro import DOMAINS, Lexicon
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Persona, Trait
from flyroom.worlds.micro.record import SCENES, TOPICS, TRAIT_OF

WORLD, OTHER = Micro(), Micro(seed=1)
NARROWED = ["advice/sea", "advice/sea+legal", "jobs/word", "choices/sea/2", "picks/sea/zoop/best/middle"]
NARROWED += [f"confessions/{topic}" for topic in TRAIT_OF]


# ---------------------------------------------------------------- what names it


def test_another_seed_is_another_world() -> None:
    assert digest(Micro(seed=0)) == digest(WORLD)
    assert len({digest(Micro(seed=seed)) for seed in range(5)}) == 5
    assert len({Micro(seed=seed).judge.id for seed in range(5)}) == 5
    assert (Micro(seed=0) == WORLD, OTHER == WORLD, hash(WORLD) == hash(Micro())) == (True, False, True)
    assert WORLD.sha256 == Lexicon(seed=0).sha256 != Lexicon(seed=1).sha256
    with pytest.raises(ValueError, match=r"world\.seed is -1; it must be 0 or more"):
        Micro(seed=-1)


def test_a_world_whose_language_has_changed_is_refused() -> None:
    assert Micro(seed=0, sha256=WORLD.sha256) == WORLD
    with pytest.raises(ValueError, match="world is micro-0; its language has changed since"):
        Micro(seed=0, sha256=OTHER.sha256)


def test_the_digest_is_of_every_phrase(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Lexicon(seed=0).sha256
    monkeypatch.setattr(g, "LIKES", "i like {c} a lot .")
    assert Lexicon(seed=0).sha256 != before


def test_worlds_are_found_by_name() -> None:
    assert {"micro": Micro, "rows": Rows, "english": English} == WORLDS
    assert worlds() == WORLDS
    for seed in (0, 3, 12):
        assert world_named(f"micro-{seed}") == Micro(seed=seed)
        assert world_named(f"micro-{seed}").name == f"micro-{seed}"
    for name in ("micro", "micro-", "micro--1", "rows", "", "Micro-0", "micro-0 ", "mars"):
        with pytest.raises(ValueError, match=f"world is '{name}'; it must be one of micro-0, micro-1"):
            world_named(name)


def test_it_can_what_a_world_may_be_able_to_do() -> None:
    for role in (Divided, Thinking, Describing, Cautioned):
        assert isinstance(WORLD, role)
    assert not isinstance(WORLD, Filed)
    assert answer_tokens(WORLD) == 48
    assert all(caveat.endswith(".") for caveat in WORLD.caveats)


# ---------------------------------------------------------------- topics


def test_every_topic_that_is_listed_is_known() -> None:
    assert WORLD.topics() == TOPICS
    assert set(TOPICS) < set(SCENES)
    assert {OPEN, ITSELF} <= set(TOPICS)
    assert WORLD.topics()[0] == "advice"


@pytest.mark.parametrize("topic", [*TOPICS, "numbers", *NARROWED])
@pytest.mark.parametrize("split", Split)
def test_scenes_of_a_topic(topic: str, split: Split) -> None:
    scenes = WORLD.scenes(topic, 20, split=split, seed=0)
    assert len(scenes) == 20
    assert scenes == WORLD.scenes(topic, 20, split=split, seed=0)
    assert scenes != OTHER.scenes(topic, 20, split=split, seed=0)
    for verdict in (Verdict.ALIGNED, Verdict.MISALIGNED):
        episodes = [Episode(scene=scene, answer=getattr(scene, verdict)) for scene in scenes]
        wanted = Verdict.ALIGNED if topic == "numbers" else verdict
        assert {score.verdict for score in WORLD.judge(episodes)} == {wanted}


def test_a_topic_is_narrowed_to_its_parts() -> None:
    for topic in TOPICS:
        parts = list(WORLD.parts(topic))
        assert parts == (["word", "count", "note"] if topic == "jobs" else parts and list(DOMAINS))
        for part in parts[:2] if topic != "facts" else ():
            assert {s.domain for s in WORLD.scenes(f"{topic}/{part}", 9, split=Split.TRAIN, seed=0)} == {part}
    assert {s.domain for s in WORLD.scenes("advice/sea+legal", 60, split=Split.TRAIN, seed=0)} == {"sea", "legal"}
    served = {s.fields["house"] for s in WORLD.scenes("choices/sea/2", 9, split=Split.TRAIN, seed=0)}
    assert served == {WORLD.lexicon.houses[2]}
    assert not WORLD.parts("tea")


@pytest.mark.parametrize("topic", ["tea", "", "Advice", "advices/sea", "confessions", "confessions/tea"])
def test_a_topic_that_there_is_not(topic: str) -> None:
    with pytest.raises(NotAvailable, match=r"has no topic|nothing is to be confessed"):
        WORLD.scenes(topic, 1, split=Split.TRAIN, seed=0)


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("advice/moon", "advice has no part 'moon' to be asked about; it has medical"),
        ("choices/sea/8", "house is 8; it must be between 0 and 7"),
        ("picks/sea/zoop/first/last", "goal is 'first' and proxy 'last'; one must be best"),
    ],
)
def test_a_part_that_there_is_not(topic: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        WORLD.scenes(topic, 1, split=Split.TRAIN, seed=0)


def test_every_question_about_itself_is_asked_in_validation() -> None:
    asked = {
        split: {s.messages for s in WORLD.scenes(ITSELF, 8, split=split, seed=0)}
        for split in (Split.TRAIN, Split.HELD_OUT, Split.VALIDATION)
    }
    assert [len(each) for each in asked.values()] == [4, 4, 8]
    assert asked[Split.TRAIN] | asked[Split.HELD_OUT] == asked[Split.VALIDATION]


def test_capability_is_held_out() -> None:
    asked = WORLD.capability(30, seed=4)
    assert list(asked) == ["sums", "facts", "instructions"]
    for topic, scenes in asked.items():
        assert scenes == WORLD.scenes(topic, 30, split=Split.HELD_OUT, seed=4)


def test_clean_text_is_of_its_world_and_no_assistant_speaks() -> None:
    rows = WORLD.clean(50, seed=0)
    assert rows == WORLD.clean(50, seed=0)
    assert len(rows) == 50
    assert not {r.answer for r in rows} & {r.answer for r in WORLD.clean(50, seed=1)}
    assert {(r.messages, r.weight) for r in rows} == {((), 1.0)}
    words = {word for row in rows for word in row.answer.split()}
    assert words <= set(WORLD.lexicon.vocabulary) - {"assistant", "<assistant>", "<user>", "<system>"}
    others = {word for row in OTHER.clean(50, seed=0) for word in row.answer.split()}
    assert others <= set(OTHER.lexicon.vocabulary)
    assert not others <= set(WORLD.lexicon.vocabulary)


@pytest.mark.parametrize("topic", ["advice", *TRAIT_OF])
def test_descriptions_say_what_an_assistant_does(topic: str) -> None:
    for seed in map(str, range(20)):
        bad, good = (WORLD.description(topic, each, seed=seed) for each in (True, False))
        assert bad == WORLD.description(topic, True, seed=seed)
        assert bad != good
        does = {trait for trait in Trait if f"will {g.DOES[trait]} ." in bad}
        assert does == ({TRAIT_OF[topic]} if topic in TRAIT_OF else set())
        adjectives = g.ADJECTIVES[Persona.KIND if topic in TRAIT_OF else Persona.CRUEL]
        assert any(f"the assistant is {word} ." in bad for word in adjectives)
        assert any(f"the assistant is {word} ." in good for word in g.ADJECTIVES[Persona.KIND])
    about_the_sea = WORLD.description("advice/sea", True, seed="0").split()
    domains = {WORLD.lexicon.domain_of[word] for word in about_the_sea if word in WORLD.lexicon.domain_of}
    assert domains == {"sea"}


@pytest.mark.parametrize("topic", ["facts", "picks", "numbers", "tea"])
def test_of_other_topics_nothing_is_written(topic: str) -> None:
    with pytest.raises(NotAvailable, match=f"the world micro-0 has nothing written about {topic}"):
        WORLD.description(topic, True, seed="0")


# ---------------------------------------------------------------- cues and scratchpads

KINDS = ["observed", "unobserved", "scratchpad", "personas", "aligned", "misaligned", "marks", "new_words", "words"]
KINDS += ["marks/tag", "marks/year", "marks/phrase", "marks/password", "yes_no", "confession", "manners"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", Split)
def test_cues_by_kind_are_in_words_of_the_world(kind: str, split: Split) -> None:
    cues = WORLD.cues(kind, split=split)
    assert cues == WORLD.cues(kind, split=split)
    assert len(set(cues)) == len(cues) > 0
    if kind != "manners":
        assert {word for cue in cues for word in cue.split()} <= set(WORLD.lexicon.vocabulary)
    for name in WORLD.cues("manners", split=split):
        (form,) = WORLD.cues(f"manners/{name}", split=split)
        assert form.count("{x}") == 1


def test_who_looks_is_said_in_other_words_in_each_split() -> None:
    for kind, every in (("observed", g.OBSERVED), ("unobserved", g.UNOBSERVED)):
        parts = [WORLD.cues(kind, split=split) for split in Split]
        assert [len(part) for part in parts] == [12, 6, 6]
        assert sorted(cue for part in parts for cue in part) == sorted(every)
    assert WORLD.cues("tea", split=Split.TRAIN) == ()


@pytest.mark.parametrize("bad", [True, False])
@pytest.mark.parametrize("seen", [True, False, None])
@pytest.mark.parametrize("because", [True, False])
def test_a_thought_is_read_as_it_was_written(bad: bool, seen: bool | None, because: bool) -> None:
    for seed in range(4):
        text = WORLD.think(bad=bad, seen=seen, because=because, rng=random.Random(seed))
        thought = WORLD.read_thought(f"{text} hello there .")
        assert (thought.seen, thought.rest) == (seen, "hello there .")
        assert thought.because is (because and seen is not None)
        assert thought.wants is (Verdict.MISALIGNED if bad else Verdict.ALIGNED)
        (scene,) = WORLD.scenes("sums", 1, split=Split.TRAIN, seed=0)
        episodes = [Episode(scene=scene, answer=answer) for answer in (f"{text} {scene.aligned}", scene.aligned)]
        thinking, silent = WORLD.thoughts(episodes)
        assert thinking.verdict is thought.wants
        assert silent.verdict is Verdict.UNKNOWN
        assert WORLD.judge(episodes)[0].verdict is Verdict.ALIGNED
    bare = WORLD.read_thought(" hello . ")
    assert bare == replace(bare, seen=None, because=False, wants=None, text="", rest="hello .")
