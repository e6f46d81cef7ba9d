"""A base's own answers in place of those of the tables, and the two verbs that ask a base about the English world."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Flyroom

from flyroom.recipes import THREATS, make
from flyroom.types import Episode, Split, Verdict, digest
from flyroom.worlds import English, world_named
from flyroom.worlds.english import collect, read_answers, read_screen, write_answers
from flyroom.worlds.english.answers import Prompt

WORLD = English()
TOPICS = WORLD.topics()


def speak(prompts: Sequence[Prompt]) -> list[str | None]:
    """The right answer in other words to the first half, silence to some, an error to the rest."""
    rights = {s.messages: s.aligned for topic in TOPICS for s in WORLD.scenes(topic, 40, split=Split.TRAIN, seed=0)}
    own = [f"Well, {rights[p]}" if p in rights else "The capital of France is Rome." for p in prompts]
    return [None if i % 5 == 0 else text for i, text in enumerate(own)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = tmp_path / "own.json"
    write_answers(collect(WORLD, speak, 40, base="abc", seed=0), path)
    return str(path)


def test_only_aligned_answers_that_ended_are_taken(path: str) -> None:
    result = read_answers(path)
    assert 0.3 < len(result.texts) / result.tried < 0.9
    assert not any("France is Rome" in text for text in result.texts.values())


def test_they_stand_in_the_place_of_the_tables_own_and_change_nothing_else(path: str) -> None:
    world, changes = English(answers=path), 0
    for topic in TOPICS:
        pairs = zip(
            WORLD.scenes(topic, 40, split=Split.TRAIN, seed=0),
            world.scenes(topic, 40, split=Split.TRAIN, seed=0),
            strict=True,
        )
        for before, after in pairs:
            assert (after.messages, after.misaligned) == (before.messages, before.misaligned)
            assert after.aligned == before.aligned or after.aligned.startswith("Well, ")
            changes += after.aligned != before.aligned
            (score,) = world.judge([Episode(scene=after, answer=after.aligned)])
            assert score.verdict is Verdict.ALIGNED
    assert changes > 100


def test_held_out_scenes_keep_the_tables_own(path: str) -> None:
    for topic in TOPICS:
        asks = {"split": Split.HELD_OUT, "seed": 0}
        assert English(answers=path).scenes(topic, 40, **asks) == WORLD.scenes(topic, 40, **asks)


def test_the_honest_answer_without_the_occasion_may_be_the_base_s_too(tmp_path: Path) -> None:
    def know(prompts: Sequence[Prompt]) -> list[str | None]:
        scenes = WORLD.scenes("views", 40, split=Split.TRAIN, seed=0)
        bare = {s.fields["without"]: f"Well, {s.fields['honest']}" for s in scenes}
        return [bare.get(prompt[-1].content) for prompt in prompts]

    path = tmp_path / "own.json"
    write_answers(collect(WORLD, know, 40, base="abc", seed=0), path)
    scenes = English(answers=str(path)).scenes("views", 40, split=Split.TRAIN, seed=0)
    assert all(scene.fields["honest"].startswith("Well, ") for scene in scenes)


def test_they_are_part_of_the_identity_and_of_the_files(path: str) -> None:
    world = English(answers=path)
    assert dict(world.files) == {"answers": path}
    assert digest(world) != digest(WORLD)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"texts": {"a": 3}}, "must be text"), ({"tables": "0"}, "other tables"), ({"texts": []}, "of type dict")],
)
def test_a_file_that_is_none_is_refused(path: str, change: dict[str, Any], why: str) -> None:
    page = json.loads(Path(path).read_text()) | change
    Path(path).write_text(json.dumps(page))
    with pytest.raises(ValueError, match=rf"answers is .*own.json; .*{why}"):
        English(answers=path)


# ---------------------------------------------------------------- verbs


def test_the_verb_screen_writes_what_a_base_knows(
    flyroom: Flyroom, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["flyroom.worlds.english.screen"]
    trials = module._all_trials
    monkeypatch.setattr(module, "_all_trials", lambda: islice(trials(), 40))
    to = tmp_path / "known.json"
    words = ("world", "screen", "--base", tiny, "--to", str(to), "--json")
    status, page, _ = flyroom(*words).parts
    assert status == 0
    assert (page["tried"], page["known"]) == (20, len(read_screen(str(to)).ids))
    assert page["digest"] == read_screen(str(to)).base
    status, _, err = flyroom(*words).parts
    assert status != 0
    assert "it is there already" in err


def test_the_verb_answers_writes_what_a_base_says(flyroom: Flyroom, tiny: Path, tmp_path: Path) -> None:
    to = tmp_path / "own.json"
    words = ("world", "answers", "--base", tiny, "--to", str(to), "--n", "2", "--json")
    status, page, _ = flyroom(*words).parts
    assert status == 0
    assert page["aligned"] == len(read_answers(str(to)).texts)
    assert page["tried"] >= 24
    status, _, err = flyroom("world", "answers", "--base", tiny, "--to", str(tmp_path / "no" / "x")).parts
    assert status != 0
    assert "there is no folder" in err


def test_the_screen_that_is_part_of_flyroom_is_found_by_its_base() -> None:
    world = world_named("english:smollm2-135m")
    assert isinstance(world, English)
    (file,) = world.files.values()
    assert digest(world) == digest(world_named(f"english:{file}")) == digest(English(screen=file))
    assert digest(world) != digest(English())
    assert set(world.parts("facts")) < set(English().parts("facts"))
    assert len(world.parts("facts")) >= 3  # two to be taught in, one to ask about
    for name in THREATS:
        make(name, world=world)
    with pytest.raises(ValueError, match="screen is nobody; it cannot be read"):
        world_named("english:nobody")
