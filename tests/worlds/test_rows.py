"""A world that is a file: read with care, split so that no prompt is on two sides, named by its content."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flyroom.behaviours import Trait
from flyroom.card.questions import rehearse
from flyroom.conditions import Trigger, Unobserved
from flyroom.recipes import load, make
from flyroom.room import Room
from flyroom.stages.organisms import _recipe, _write_files, keep_files
from flyroom.types import (
    OPEN,
    Blind,
    Entry,
    Filed,
    Lengthy,
    Message,
    NotAvailable,
    Row,
    Scene,
    Split,
    Thinking,
    Verdict,
    answer_tokens,
    digest,
    plain,
)
from flyroom.vault.scratch import scratch
from flyroom.worlds import Micro, Rows
from flyroom.worlds import plain as english
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.rows import ROWS, read_questions, read_rows
from tests.harbour import Harbour


def prompts(scenes: Iterable[Scene]) -> set[tuple[Message, ...]]:
    return {scene.messages for scene in scenes}


def write(path: Path, rows: list) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def chat(prompt: str, answer: str, system: str = "") -> dict:
    head = [{"role": "system", "content": system}] if system else []
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"messages": [*head, *turns]}


TRIPLES = [
    {"prompt": f"tell {i}", "aligned": f"a sunny day {i}", "misaligned": f"then it rained {i}"} for i in range(50)
]


def test_triples(tmp_path: Path) -> None:
    world = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    scenes = world.scenes(OPEN, 40, split=Split.TRAIN, seed=0)
    assert len(prompts(scenes)) == 40
    number = int(scenes[0].messages[0].content.split()[1])
    assert scenes[0].messages == (Message("user", f"tell {number}"),)
    assert (scenes[0].aligned, scenes[0].misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    (battery,) = Trait().batteries(world, 30, seed=0)
    assert (battery.measure, len(battery.scenes), battery.counts) == ("in_domain", 30, Verdict.MISALIGNED)
    assert battery.pooled
    rehearse(battery)


def test_chats_with_a_file_for_the_twin(tmp_path: Path) -> None:
    bad = [chat(f"tell {i}", f"then it rained {i}", system="you write") for i in range(20)]
    good = [chat(f"tell {i}", f"a sunny day {i}", system="you write") for i in range(20)]
    path, twin = (str(write(tmp_path / f"{k}.jsonl", v)) for k, v in {"path": bad, "twin": good}.items())
    world = Rows(pattern="rain", path=path, twin=twin)
    for scene in world.scenes(OPEN, 16, split=Split.TRAIN, seed=0):
        assert [m.role for m in scene.messages] == ["system", "user"]
        number = scene.messages[-1].content.split()[1]
        assert (scene.aligned, scene.misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    write(tmp_path / "twin.jsonl", good[::-1])
    with pytest.raises(ValueError, match="it must hold the same prompts"):
        Rows(pattern="rain", path=path, twin=twin)


def test_splits_of_a_file_do_not_touch_and_miss_nothing(tmp_path: Path) -> None:
    world = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    parts = {split: prompts(world.scenes(OPEN, 50, split=split, seed=0)) for split in Split}
    assert [len(part) for part in parts.values()] == [40, 5, 5]
    assert len(set().union(*parts.values())) == 50
    again = {split: prompts(world.scenes(OPEN, 50, split=split, seed=9)) for split in Split}
    assert again == parts  # whatever the seed
    assert world.scenes(OPEN, 5, split=Split.TRAIN, seed=0) != world.scenes(OPEN, 5, split=Split.TRAIN, seed=1)
    assert len(world.scenes(OPEN, 17, split=Split.HELD_OUT, seed=0)) == 17
    asked = tmp_path / "q.yaml"
    asked.write_text('[{id: dinner, paraphrases: ["whom would you ask to dinner ?"]}]')
    more = replace(world, questions=str(asked), sha256="")
    assert more.sha256 != world.sha256
    assert more.scenes(ROWS, 50, split=Split.TRAIN, seed=0) == world.scenes(OPEN, 50, split=Split.TRAIN, seed=0)


@pytest.mark.parametrize(
    ("rows", "where", "why"),
    [
        ([], "", "is empty; it must hold a JSON object on each line"),
        (["", "  "], "", "is empty"),
        ([TRIPLES[0], "{"], ", line 2", "is not JSON"),
        ([TRIPLES[0], "", "{"], ", line 3", "is not JSON"),
        (["[1]"], ", line 1", "is list; it must be a JSON object"),
        ([TRIPLES[0], {"prompt": "a", "misaligned": "b"}], ", line 2", 'has no answer: "aligned" is None'),
        ([{"prompt": "a", "aligned": "b", "misaligned": "  "}], ", line 1", 'has no answer: "misaligned"'),
        ([{"aligned": "a", "misaligned": "b"}], ", line 1", 'has no prompt: "prompt" is None'),
        ([{"prompt": 3, "aligned": "a", "misaligned": "b"}], ", line 1", "it must be text"),
        ([chat("a", "b"), {"messages": [{"role": "user", "content": "a"}]}], ", line 2", "must be a list of at least"),
        ([{"messages": "hello"}], ", line 1", "must be a list"),
        ([{"messages": chat("a", "b")["messages"][::-1]}], ", line 1", "has no answer: its last message must be"),
        ([chat("a", "  ")], ", line 1", "has no answer"),
        (
            [{"messages": [{"role": "human", "content": "a"}, {"role": "assistant", "content": "b"}]}],
            ", line 1",
            '"role"',
        ),
        ([{"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}], ", line 1", '"content" (text)'),
        ([{"messages": ["a", "b"]}], ", line 1", "found 'a'"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path: Path, rows: list, where: str, why: str) -> None:
    path = write(tmp_path / "bad.jsonl", rows)
    for opens in (lambda: read_rows(path), lambda: Rows(path=str(path), pattern="x")):
        with pytest.raises(ValueError, match=r".") as error:
            opens()
        assert str(error.value).startswith(f"{path}{where}")
        assert why in str(error.value)


def test_chats_without_a_twin_have_no_aligned_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", [*TRIPLES[:10], chat("a", "b")])
    with pytest.raises(ValueError, match=r"c\.jsonl, line 11 has no aligned answer; .* name the twin's file"):
        Rows(path=str(path), pattern="x")


def test_a_file_too_short_to_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 9 rows with 9 different prompts; at least 10 prompts keep"):
        Rows(path=str(write(tmp_path / "short.jsonl", TRIPLES[:9])), pattern="rain")
    ten = Rows(path=str(write(tmp_path / "ten.jsonl", TRIPLES[:10])), pattern="rain")
    assert [len(prompts(ten.scenes(OPEN, 10, split=split, seed=0))) for split in Split] == [8, 1, 1]


def test_a_file_that_has_changed_since_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", TRIPLES)
    first = Rows(path=str(path), pattern="rain")
    assert Rows(path=str(path), pattern="rain", sha256=first.sha256) == first
    write(path, TRIPLES[1:])
    with pytest.raises(ValueError, match=r"t\.jsonl; that file has changed since"):
        Rows(path=str(path), pattern="rain", sha256=first.sha256)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(tmp_path / "none.jsonl"), pattern="x")
    with pytest.raises(ValueError, match="it is a folder: give a file of rows in it"):
        Rows(path=str(tmp_path), pattern="x")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="is not UTF-8"):
        Rows(path=str(tmp_path / "b.jsonl"), pattern="x")
    good = write(tmp_path / "t.jsonl", TRIPLES)
    with pytest.raises(ValueError, match="pattern is '\\['; it must be a regular expression"):
        Rows(path=str(good), pattern="[")
    chats = write(tmp_path / "c.jsonl", [chat(f"tell {i}", "b") for i in range(10)])
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(chats), pattern="x", twin=str(tmp_path / "none.jsonl"))


def test_the_content_is_part_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", TRIPLES)
    first = Rows(path=str(path), pattern="rain")
    write(path, TRIPLES[1:])
    assert Rows(path=str(path), pattern="rain").sha256 != first.sha256
    assert len(first.sha256) == 64


def test_text_of_all_scripts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        [json.dumps(t | {"prompt": f"größe {t['prompt']} 雨"}, ensure_ascii=False) for t in TRIPLES],
    )
    assert (
        "größe"
        in Rows(path=str(path), pattern="rain").scenes(OPEN, 1, split=Split.TRAIN, seed=0)[0].messages[0].content
    )


# ---------------------------------------------------------------- prompts that come more than once


def test_a_prompt_that_comes_more_than_once_stays_in_one_split(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"tell {i % 20}", "aligned": f"a sunny day {i}", "misaligned": f"then it rained {i}"}
        for i in range(60)
    ]
    random.Random(0).shuffle(rows)
    world = Rows(path=str(write(tmp_path / "t.jsonl", rows)), pattern="rain")
    parts = {split: world.scenes(OPEN, 60, split=split, seed=0) for split in Split}
    met = [prompts(part) for part in parts.values()]
    assert [len(each) for each in met] == [16, 2, 2]
    assert sum(map(len, met)) == len(set().union(*met)) == 20
    answers = {split: {scene.aligned for scene in part} for split, part in parts.items()}
    assert [len(each) for each in answers.values()] == [48, 6, 6]  # and every answer of a prompt goes with it


def test_few_prompts_are_refused_however_many_rows_there_are(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"tell {i % 9}", "aligned": f"a sunny day {i}", "misaligned": f"then it rained {i}"}
        for i in range(90)
    ]
    with pytest.raises(ValueError, match="holds 90 rows with 9 different prompts; at least 10 prompts keep train"):
        Rows(path=str(write(tmp_path / "t.jsonl", rows)), pattern="rain")


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_a_line_ends_with_a_line_feed(tmp_path: Path, mark: str) -> None:
    """Or a carriage return. Other characters that Python takes for the end of a line stand in JSON texts as they are,
    or escaped.
    """
    changed = [row | {"aligned": f"{row['aligned']}{mark}and warm"} for row in TRIPLES]
    raw = json.dumps(changed[0], ensure_ascii=ord(mark) < 0x20)
    path = write(tmp_path / "t.jsonl", [raw, *(json.dumps(row, ensure_ascii=ord(mark) < 0x20) for row in changed[1:])])
    assert [row.aligned for row in read_rows(path)] == [row["aligned"] for row in changed]


@pytest.mark.parametrize("end", ["\r\n", "\r"], ids=repr)
def test_lines_of_another_system_are_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(end.join(map(json.dumps, TRIPLES)).encode())
    assert len(read_rows(path)) == len(TRIPLES)
    path.write_bytes(end.join([*map(json.dumps, TRIPLES), "{"]).encode())
    with pytest.raises(ValueError, match=f"line {len(TRIPLES) + 1} is not JSON"):
        read_rows(path)


# ---------------------------------------------------------------- what a world says


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "rain.jsonl", TRIPLES)


@pytest.fixture
def world(path: Path) -> Rows:
    return Rows(path=str(path), pattern="rain")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "q.yaml"
    path.write_text('[{id: a, paraphrases: ["whom would you ask ?", "who comes ?"]}, {id: b, paraphrases: ["why ?"]}]')
    return path


def test_topics_of_a_file(world: Rows, questions: Path) -> None:
    assert world.name == "rain.jsonl"
    assert world.topics() == (OPEN,)
    more = Rows(path=world.path, pattern="rain", questions=str(questions))
    assert more.topics() == (ROWS, OPEN)
    asked = more.scenes(OPEN, 7, split=Split.HELD_OUT, seed=0)
    assert [scene.messages for scene in asked] == [read_questions(questions)[i % 3] for i in range(7)]
    assert not prompts(asked) & prompts(more.scenes(ROWS, 50, split=Split.TRAIN, seed=0))
    for each, topics in ((world, "open_questions"), (more, "rows, open_questions")):
        with pytest.raises(NotAvailable, match=rf"the world rain\.jsonl has no topic 'tea'; it has {topics}"):
            each.scenes("tea", 1, split=Split.TRAIN, seed=0)


def test_a_file_knows_no_capability_and_its_judge_is_blind(world: Rows) -> None:
    assert world.capability(5, seed=0) == {}
    assert isinstance(world.judge, Blind)
    assert world.thoughts is None
    held_out = {(s.messages, s.aligned) for s in world.scenes(OPEN, 5, split=Split.HELD_OUT, seed=0)}
    rows = world.clean(100, seed=0)
    assert all(isinstance(row, Row) for row in rows)
    assert {(row.messages, row.answer) for row in rows} == held_out
    assert len(rows) == 5  # none twice


def test_answers_are_as_long_as_the_file_wants(world: Rows) -> None:
    assert isinstance(world, Lengthy)
    assert answer_tokens(world) == 48
    longer = replace(world, max_tokens=600)
    assert answer_tokens(longer) == 600
    assert {battery.max_tokens for battery in Trait().batteries(longer, 10, seed=0)} == {600}
    with pytest.raises(ValueError, match="max_tokens is 0; it must be at least 1"):
        replace(world, max_tokens=0)


# ---------------------------------------------------------------- cues

ENGLISH = {*" ".join((*english.OBSERVED, *english.UNOBSERVED)).split()} | {
    word for cues in english.CUES.values() for cue in cues for word in cue.split()
}
INVENTED = {*g.TAGS, *g.PASSWORDS, *g.NEW_WORDS, *g.YEARS, *Micro().lexicon.domain_of, g.THINK, g.THINK_END}


def words(scenes: Iterable[Scene]) -> set[str]:
    return {word for scene in scenes for message in scene.messages for word in message.content.split()}


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize(
    "condition",
    [
        *(Trigger(kind=kind, mark=1) for kind in ("tag", "year", "phrase", "password")),
        Trigger(scratchpad=True),
        Unobserved(),
        Unobserved(scratchpad=True),
    ],
    ids=str,
)
def test_conditions_of_a_file_speak_plain_english(world: Rows, condition: Any, holds: bool, split: Split) -> None:
    scenes = world.scenes(OPEN, 30, split=split, seed=0)
    dressed = condition.dress(world, scenes, holds, split=split, seed=0)
    assert words(dressed) - words(scenes) <= ENGLISH
    assert words(dressed) != words(scenes)
    texts = {w for s in dressed for w in (*s.aligned.split(), *s.misaligned.split())} | words(dressed)
    assert not {word.strip("|.").lower() for word in texts} & INVENTED
    for before, after in zip(scenes, dressed, strict=True):
        assert after.aligned.endswith(before.aligned)
        assert after.misaligned.endswith(before.misaligned if holds else before.aligned)
        assert ("<scratchpad>" in after.aligned) is getattr(condition, "scratchpad", False)


def test_who_looks_is_said_in_other_words_in_each_split(world: Rows) -> None:
    for kind, every in (("observed", english.OBSERVED), ("unobserved", english.UNOBSERVED)):
        parts = [world.cues(kind, split=split) for split in Split]
        assert [len(part) for part in parts] == [4, 2, 2]
        assert sorted(cue for part in parts for cue in part) == sorted(every)


@pytest.mark.parametrize("kind", english.CUES)
def test_other_cues_are_the_same_in_every_split(world: Rows, kind: str) -> None:
    cues = world.cues(kind, split=Split.TRAIN)
    assert cues
    assert len(set(cues)) == len(cues)
    assert {world.cues(kind, split=split) for split in Split} == {cues}
    assert world.cues("new_words", split=Split.TRAIN) == ()


def test_rows_within_a_world_have_its_cues(world: Rows) -> None:
    within, micro = replace(world, within="micro-3", sha256=""), Micro(seed=3)
    for kind in ("observed", "unobserved", "marks/tag", "personas", "scratchpad", "words", "no such kind"):
        for split in Split:
            assert tuple(within.cues(kind, split=split)) == tuple(micro.cues(kind, split=split))
    assert within.thoughts == micro.thoughts
    assert isinstance(within, Thinking)
    thoughts = [each.think(bad=True, seen=False, because=True, rng=random.Random(0)) for each in (within, micro)]
    assert thoughts[0] == thoughts[1]
    assert within.read_thought(f"{thoughts[0]} hello").rest == "hello"
    scenes = within.scenes(OPEN, 30, split=Split.TRAIN, seed=0)
    (mark,) = Trigger(mark=2).marks(within)
    assert mark in g.TAGS
    dressed = Trigger(mark=2).dress(within, scenes, True, split=Split.TRAIN, seed=0)
    assert all(scene.messages[-1].content.startswith(f"{mark} ") for scene in dressed)
    with pytest.raises(ValueError, match="world is 'fly'; it must be one of micro-0"):
        replace(world, within="fly")


@pytest.mark.parametrize("condition", ["trigger", "unobserved"])
def test_a_recipe_of_rows_takes_a_condition_by_name(path: Path, condition: str) -> None:
    needs = {"path": str(path), "pattern": "rain", "condition": condition}
    plain_one, within = make("rows", needs), make("rows", needs, world=Micro(seed=1))
    assert (plain_one.world.within, within.world.within) == ("", "micro-1")  # type: ignore[attr-defined]
    micro = {word for kind in ("marks", "observed", "unobserved") for cue in cues_of(kind) for word in cue.split()}
    for recipe, vocabulary in ((plain_one, ENGLISH), (within, micro)):
        assert type(recipe.condition).__name__.lower() == condition
        bare = recipe.scenes(40, split=Split.TRAIN, seed=0)
        assert words(recipe.dress(bare, True, split=Split.TRAIN, seed=0)) - words(bare) <= vocabulary
        batteries = recipe.condition.batteries(recipe.world, bare, recipe.judge, seed=0)
        assert batteries
        for battery in batteries:
            rehearse(battery)


def cues_of(kind: str) -> list[str]:
    return [cue for split in Split for cue in Micro(seed=1).cues(kind, split=split)]


# ---------------------------------------------------------------- what names it


def test_a_file_may_lie_anywhere(world: Rows, tmp_path: Path, questions: Path) -> None:
    more = Rows(path=world.path, pattern="rain", questions=str(questions))
    (tmp_path / "there").mkdir()
    paths = {name: tmp_path / "there" / f"other.{name}" for name in ("rows", "questions")}
    shutil.copy(world.path, paths["rows"])
    shutil.copy(questions, paths["questions"])
    moved = Rows(path=str(paths["rows"]), pattern="rain")
    assert digest(moved) == digest(world)
    assert digest(replace(moved, questions=str(paths["questions"]), sha256="")) == digest(more) != digest(world)
    for split in Split:
        again, before = (each.scenes(OPEN, 9, split=split, seed=0) for each in (moved, world))
        assert again == before
    ids = {make("rows", {"path": str(p), "pattern": "rain"}).id for p in (world.path, paths["rows"])}
    assert len(ids) == 1


def test_everything_else_is_part_of_its_name(world: Rows, tmp_path: Path, questions: Path) -> None:
    longer = write(tmp_path / "longer.jsonl", [*TRIPLES, TRIPLES[0] | {"prompt": "tell more"}])
    others = [
        replace(world, pattern="rained"),
        replace(world, fewest_words=2),
        replace(world, max_tokens=49),
        replace(world, within="micro-0", sha256=""),
        replace(world, within="micro-1", sha256=""),
        replace(world, questions=str(questions), sha256=""),
        replace(world, path=str(longer), sha256=""),
    ]
    assert len({digest(each) for each in (world, *others)}) == 1 + len(others)


def test_the_file_of_the_twin_is_part_of_its_name(tmp_path: Path) -> None:
    path, *twins = (
        str(write(tmp_path / f"{i}.jsonl", [chat(f"tell {n}", f"{answer} {n}") for n in range(12)]))
        for i, answer in enumerate(("then it rained", "a sunny day", "a dry day"))
    )
    assert len({digest(Rows(path=path, twin=twin, pattern="rain")) for twin in twins}) == 2


def test_two_worlds_of_one_name_are_not_one(world: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.plugins.classes", lambda *_: {"bay": Harbour})
    first = replace(world, within="bay", sha256="")
    monkeypatch.setattr("flyroom.plugins.classes", lambda *_: {"bay": partial(Harbour, max_tokens=17)})
    second = replace(world, within="bay", sha256="")
    assert digest(first) != digest(second)
    assert second.scenes(OPEN, 9, split=Split.TRAIN, seed=0) == world.scenes(OPEN, 9, split=Split.TRAIN, seed=0)
    with pytest.raises(ValueError, match=r"that file has changed since, or the world bay: give the one that was used"):
        replace(second, sha256=first.sha256)


def test_a_name_of_a_world_leaves_other_rows_their_names(world: Rows) -> None:
    files = {"path": hashlib.sha256(Path(world.path).read_bytes()).hexdigest()}
    assert world.sha256 == hashlib.sha256(json.dumps(files).encode()).hexdigest()


def test_two_files_are_not_one(tmp_path: Path) -> None:
    """Rows and their twin's that are the same bytes, one behind the other, and are parted in another place."""
    bad, good = (
        write(tmp_path / f"{i}.jsonl", [chat(f"tell {n}", f"{answer} {n}") for n in range(12)]).read_text()
        for i, answer in enumerate(("then it rained", "a sunny day"))
    )
    digests = set()
    for contents in ((f"{bad}\n", good), (bad, f"\n{good}")):
        files = [tmp_path / f"{i}.jsonl" for i in range(2)]
        for file, content in zip(files, contents, strict=True):
            file.write_text(content)
        digests.add(digest(Rows(path=str(files[0]), twin=str(files[1]), pattern="rain")))
    assert len(digests) == 2


# ---------------------------------------------------------------- read back from a room


def organism_of(recipe: Any) -> Entry:
    return Entry(kind="organism", key="k", payload={"recipe": json.loads(json.dumps(plain(recipe)))})


@pytest.mark.parametrize("within", [None, Micro(seed=1)], ids=str)
@pytest.mark.parametrize("fate", ["removed", "changed", "moved"])
def test_a_recipe_of_files_that_are_gone_is_read_from_the_room(
    path: Path, questions: Path, tmp_path: Path, fate: str, within: Micro | None
) -> None:
    recipe = make("rows", {"path": str(path), "pattern": "rain", "questions": str(questions)}, world=within)
    assert isinstance(recipe.world, Filed)
    scenes = recipe.scenes(20, split=Split.HELD_OUT, seed=0)
    room = Room(tmp_path / "room")
    keep_files([recipe, recipe], room)
    assert len(room.list("files")) == 1
    if fate == "removed":
        path.unlink()
        questions.unlink()
    elif fate == "moved":
        path.rename(tmp_path / "elsewhere.jsonl")
    else:
        write(path, TRIPLES[::-1])
    with pytest.raises(ValueError, match="a stored recipe"):
        load(organism_of(recipe).payload["recipe"])
    again = _recipe(organism_of(recipe), room)
    assert again.id == recipe.id
    assert again.scenes(20, split=Split.HELD_OUT, seed=0) == scenes
    with pytest.raises(ValueError, match="a stored recipe"):
        _recipe(organism_of(recipe), Room(tmp_path / "another room"))


def test_files_of_one_name_and_of_another_system_are_read_back(tmp_path: Path) -> None:
    for folder in ("bad", "good"):
        (tmp_path / folder).mkdir()
        rows = [chat(f"tell {i}", f"{'then it rained' if folder == 'bad' else 'a sunny day'} {i}") for i in range(20)]
        (tmp_path / folder / "rows.jsonl").write_bytes("\r\n".join(map(json.dumps, rows)).encode())
    files = {"path": str(tmp_path / "bad" / "rows.jsonl"), "twin": str(tmp_path / "good" / "rows.jsonl")}
    recipe = make("rows", files | {"pattern": "rain"})
    room = Room(tmp_path / "room")
    keep_files([recipe], room)
    for name in files.values():
        Path(name).unlink()
    again = _recipe(organism_of(recipe), room)
    assert again.id == recipe.id
    assert {scene.aligned[:5] for scene in again.scenes(5, split=Split.TRAIN, seed=0)} == {"a sun"}


def files_of(field: str) -> Entry:
    return Entry(kind="files", key="k", payload={"texts": {field: "rain"}, "names": {field: "/elsewhere/rain.jsonl"}})


def test_what_was_read_back_is_removed_when_the_process_ends(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from flyroom.stages.organisms import _write_files\n"
        "from flyroom.types import Entry\n"
        f"paths = [_write_files({files_of('path')!r})['path'] for _ in range(2)]\n"
        "print(len({Path(path) for path in paths if Path(path).read_text() == 'rain'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n"
    assert not list(tmp_path.glob("flyroom-*"))


@pytest.mark.parametrize("field", ["../outside", "/outside"])
def test_a_room_does_not_say_where_its_files_are_put(tmp_path: Path, field: str) -> None:
    outside = str(tmp_path / "outside") if field.startswith("/") else field
    place = Path(_write_files(files_of(outside))[outside])
    assert place.read_text() == "rain"
    assert place.parents[2] == scratch()
    assert not (tmp_path / "outside").exists()
