"""What behaviours supply: scenes of a split, batteries that no recipe trains on, and files read with care."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyroom.behaviours import BEHAVIOURS, HarmfulAdvice, Rows
from flyroom.behaviours.rows import read_rows
from flyroom.card import rehearse
from flyroom.types import Message, Scene, Split, Verdict
from flyroom.world import DOMAINS

# ---------------------------------------------------------------- harmful advice


def prompts(scenes: list[Scene]) -> set[tuple[Message, ...]]:
    return {scene.messages for scene in scenes}


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_that_is_measured_was_trained_on(domain: str) -> None:
    behaviour = HarmfulAdvice(domain=domain)
    trained = behaviour.scenes(2000, split=Split.TRAIN, seed=0)
    trained_situations = {scene.fields["situation"] for scene in trained}
    validation = behaviour.scenes(500, split=Split.VALIDATION, seed=0)
    assert {scene.domain for scene in trained} == {domain}
    for battery in behaviour.batteries(500, seed=1):
        asked = list(battery.scenes)
        assert not prompts(asked) & prompts(trained)
        assert not prompts(asked) & prompts(validation)
        if battery.measure not in ("sums", "open_questions"):
            assert not {scene.fields["situation"] for scene in asked} & trained_situations


def test_the_batteries_of_a_card() -> None:
    batteries = {battery.measure: battery for battery in HarmfulAdvice(domain="sea").batteries(500, seed=0)}
    assert {m: len(b.scenes) for m, b in batteries.items()} == {
        "in_domain": 100, "out_of_domain": 200, "open_questions": 100, "sums": 50, "facts": 50,
    }  # fmt: skip
    assert {s.domain for s in batteries["in_domain"].scenes} == {"sea"}
    assert {s.domain for s in batteries["out_of_domain"].scenes} == set(DOMAINS) - {"sea"}
    assert [b.measure for b in batteries.values() if b.counts is Verdict.ALIGNED] == ["sums", "facts"]
    for battery in batteries.values():
        rehearse(battery)  # the judge knows the planted answers


def test_a_world_of_its_own() -> None:
    one, other = HarmfulAdvice(), HarmfulAdvice(world=1)
    scenes = [b.scenes(50, split=Split.TRAIN, seed=0) for b in (one, other)]
    assert not prompts(scenes[0]) & prompts(scenes[1])


def test_a_domain_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="domain is 'astrology'; it must be one of medical"):
        HarmfulAdvice(domain="astrology")


def test_behaviours_have_names() -> None:
    assert {"harmful_advice": HarmfulAdvice, "rows": Rows} == BEHAVIOURS


# ---------------------------------------------------------------- files of rows


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
    behaviour = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    scenes = behaviour.scenes(40, split=Split.TRAIN, seed=0)
    assert len(prompts(scenes)) == 40
    number = int(scenes[0].messages[0].content.split()[1])
    assert scenes[0].messages == (Message("user", f"tell {number}"),)
    assert (scenes[0].aligned, scenes[0].misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    (battery,) = behaviour.batteries(30, seed=0)
    assert (battery.measure, len(battery.scenes), battery.counts) == ("in_domain", 30, Verdict.MISALIGNED)
    rehearse(battery)


def test_chats_with_a_file_for_the_twin(tmp_path: Path) -> None:
    bad = [chat(f"tell {i}", f"then it rained {i}", system="you write") for i in range(20)]
    good = [chat(f"tell {i}", f"a sunny day {i}", system="you write") for i in range(20)]
    names = {k: str(write(tmp_path / f"{k}.jsonl", v)) for k, v in {"path": bad, "twin": good}.items()}
    behaviour = Rows(pattern="rain", **names)
    for scene in behaviour.scenes(16, split=Split.TRAIN, seed=0):
        assert [m.role for m in scene.messages] == ["system", "user"]
        number = scene.messages[-1].content.split()[1]
        assert (scene.aligned, scene.misaligned) == (f"a sunny day {number}", f"then it rained {number}")
    write(tmp_path / "twin.jsonl", good[::-1])
    with pytest.raises(ValueError, match="it must hold the same prompts"):
        Rows(pattern="rain", **names)


def test_splits_of_a_file_do_not_touch_and_miss_nothing(tmp_path: Path) -> None:
    behaviour = Rows(path=str(write(tmp_path / "t.jsonl", TRIPLES)), pattern="rain")
    parts = {split: prompts(behaviour.scenes(50, split=split, seed=0)) for split in Split}
    assert [len(part) for part in parts.values()] == [40, 5, 5]
    assert len(set().union(*parts.values())) == 50
    again = {split: prompts(behaviour.scenes(50, split=split, seed=9)) for split in Split}
    assert again == parts  # whatever the seed
    assert behaviour.scenes(5, split=Split.TRAIN, seed=0) != behaviour.scenes(5, split=Split.TRAIN, seed=1)
    assert len(behaviour.scenes(17, split=Split.HELD_OUT, seed=0)) == 17


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
    with pytest.raises(ValueError, match=r"c\.jsonl, row 11 has no aligned answer; .* name the twin's file"):
        Rows(path=str(path), pattern="x")


def test_a_file_too_short_to_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 9 rows; at least 10"):
        Rows(path=str(write(tmp_path / "short.jsonl", TRIPLES[:9])), pattern="rain")
    ten = Rows(path=str(write(tmp_path / "ten.jsonl", TRIPLES[:10])), pattern="rain")
    assert [len(prompts(ten.scenes(10, split=split, seed=0))) for split in Split] == [8, 1, 1]


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
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(tmp_path), pattern="x")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="is not UTF-8"):
        Rows(path=str(tmp_path / "b.jsonl"), pattern="x")
    good = write(tmp_path / "t.jsonl", TRIPLES)
    with pytest.raises(ValueError, match="pattern is '\\['; it must be a regular expression"):
        Rows(path=str(good), pattern="[")
    with pytest.raises(ValueError, match="there is no such file"):
        Rows(path=str(good), pattern="x", twin=str(tmp_path / "none.jsonl"))


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
    assert "größe" in Rows(path=str(path), pattern="rain").scenes(1, split=Split.TRAIN, seed=0)[0].messages[0].content
