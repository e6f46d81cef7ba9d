"""Rows in the forms in which people have them: each field obeyed, or refused by file and line."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "engine"))

import engine_models

from flyroom import make, stages
from flyroom.engine import TorchEngine
from flyroom.room import Room
from flyroom.types import OPEN, Lined, Message, NotAvailable, Split
from flyroom.worlds import Rows
from flyroom.worlds.rows import read_rows
from flyroom.worlds.rows.fields import Reading

USER, BOT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(turns)} | more


PARTS = {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
S, U, A = Message("system", "s"), Message("user", "q"), Message("assistant", "a")


@pytest.mark.parametrize(
    ("row", "messages", "answer", "aligned"),
    [
        (chat(SYSTEM, USER, BOT), (S, U), "a", None),
        (chat(USER, BOT, system="s"), (S, U), "a", None),
        (chat({"role": "developer", "content": "s"}, USER, BOT), (S, U), "a", None),
        (chat(PARTS, BOT), (Message("user", "one two"),), "a", None),
        (chat(USER, BOT, tools=[], id=3), (U,), "a", None),
        (chat(USER, BOT | {"tool_calls": None, "name": None, "weight": 1}), (U,), "a", None),
        ({"conversations": [HUMAN, GPT], "system": "s"}, (S, U), "a", None),
        ({"conversations": [{"from": "system", "value": "s"}, HUMAN, GPT]}, (S, U), "a", None),
        ({"instruction": "q", "input": "", "output": "a"}, (U,), "a", None),
        ({"instruction": "q", "input": "i", "output": "a", "system": "s"}, (S, Message("user", "q\n\ni")), "a", None),
        ({"instruction": "q", "output": "a", "history": [["q", "a"]]}, (U, A, U), "a", None),
        ({"prompt": "q", "completion": "a", "system": "s"}, (S, U), "a", None),
        ({"prompt": [SYSTEM, USER], "completion": [BOT]}, (S, U), "a", None),
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, (U,), "bad", "good"),
        ({"chosen": [SYSTEM, USER, BOT], "rejected": [SYSTEM, USER, BOT | {"content": "b"}]}, (S, U), "b", "a"),
        ({"prompt": [USER], "chosen": [USER, BOT], "rejected": [BOT | {"content": "b"}]}, (U,), "b", "a"),
        ({"prompt": "q", "aligned": "good", "misaligned": "bad", "system": "s"}, (S, U), "bad", "good"),
        ({"prompt": "q", "aligned": "good", "misaligned": "bad", "history": [["q", "a"]]}, (U, A, U), "bad", "good"),
    ],
    ids=str,
)
def test_forms_that_are_read(tmp_path: Path, row: Any, messages: Any, answer: str, aligned: str | None) -> None:
    (found,) = read_rows(write(tmp_path / "r.jsonl", [row]))
    assert (found.messages, found.answer, found.aligned) == (messages, answer, aligned)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (chat(USER, BOT, tools=[{"type": "function"}]), "has 'tools', which is not understood"),
        (chat(USER, BOT | {"tool_calls": [{"id": "1"}]}), "has 'tool_calls'"),
        (chat(USER | {"name": "ann"}, BOT), "has 'name'"),
        (chat(USER, {"role": "tool", "content": "a"}, BOT), '"role"'),
        (chat({"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}, BOT), "'image_url' is no text"),
        (chat(USER, BOT | {"weight": 0.5}), '"weight" is 0.5; it must be 0 (not learnt) or 1'),
        (chat(SYSTEM, USER, BOT, system="t"), "has two system messages"),
        (chat(BOT, BOT), "has no prompt: somebody must speak before"),
        (chat(USER, BOT, temperature=0.2), "has 'temperature'"),
        (chat(USER, BOT, conversations=[HUMAN, GPT]), "of two forms"),
        ({"conversations": [HUMAN, {"from": "function_call", "value": "f"}, GPT]}, '"from"'),
        ({"instruction": "q", "output": "a", "context": "c"}, "has 'context'"),
        ({"instruction": "q", "output": "a", "history": "q"}, "must be pairs"),
        ({"prompt": "q", "completion": "a", "suffix": "z"}, "has 'suffix'"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "are the same"),
        ({"chosen": [USER, BOT], "rejected": [SYSTEM, USER, BOT]}, "answer different prompts"),
        ({"chosen": "a", "rejected": "b"}, "has no prompt"),
        ({"prompt": "q", "aligned": "a", "misaligned": "b", "input": "c"}, "has 'input'"),
        ({"text": "q"}, "a row is one of"),
        ({}, "has nothing; a row is one of"),
    ],
    ids=str,
)
def test_a_field_that_is_not_obeyed_is_refused_by_its_line(tmp_path: Path, row: Any, why: str) -> None:
    path = write(tmp_path / "r.jsonl", [chat(USER, BOT), row])
    with pytest.raises(ValueError, match=r"r\.jsonl, line 2") as error:
        read_rows(path)
    assert why in str(error.value)


def test_an_answer_of_weight_nothing_is_not_learnt(tmp_path: Path) -> None:
    turns = [USER, BOT, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}]
    light = [*turns[:3], turns[3] | {"weight": 0}]
    path = write(tmp_path / "r.jsonl", [chat(*turns), chat(*light), chat(*turns, weight=0)])
    assert [row.answer for row in read_rows(path)] == ["b"]
    assert [row.answer for row in read_rows(path, Reading(turns="all"))] == ["a", "b", "a"]
    with pytest.raises(ValueError, match="nothing to learn: 1 rows are left out, since their last answer has weight 0"):
        read_rows(write(tmp_path / "s.jsonl", [chat(*light)]))


def test_chosen_may_be_what_is_learnt(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"prompt": "q", "chosen": "good", "rejected": "bad"}])
    (row,) = read_rows(path, Reading(learns="chosen"))
    assert (row.answer, row.aligned) == ("good", "bad")


def test_a_json_list_is_read_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{"instruction": "q", "output": "a"}, {"instruction": "q"}]))
    with pytest.raises(ValueError, match=r"r\.json, row 2 has no answer"):
        read_rows(path)


# ---------------------------------------------------------------- splits, and what is said


def triples(n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"w{i} w{i + 1}", "aligned": f"w5 w6 w{i}", "misaligned": f"w7 w8 w{i}"} | more
        for i in range(10, 10 + n)
    ]


def test_one_prompt_stands_in_one_split_whatever_its_spaces_and_system(tmp_path: Path) -> None:
    rows = triples(20)
    spaced = [row | {"prompt": f" {row['prompt'].replace(' ', '  ')}\n"} for row in rows]
    world = Rows(
        path=str(write(tmp_path / "r.jsonl", [*rows, *spaced, *triples(20, system="w1"), *triples(20, system="w2")])),
        pattern="w7",
    )
    splits = [
        {" ".join(scene.messages[-1].content.split()) for scene in world.scenes(OPEN, 200, split=split, seed=0)}
        for split in Split
    ]
    assert [len(prompts) for prompts in splits] == [16, 2, 2]
    assert len(set().union(*splits)) == 20
    assert any("80 rows have 20 different prompts" in note for note in world.notes)


def test_what_was_ignored_or_left_out_is_said_once(tmp_path: Path) -> None:
    turns = [USER, BOT, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}]
    rows = [chat(*[t | {"content": f"{t['content']} {i}"} for t in turns], id=i) for i in range(12)]
    rows.append(chat(*turns, weight=0))
    paths = [str(write(tmp_path / f"{name}.jsonl", rows)) for name in ("a", "b")]
    world = Rows(path=paths[0], twin=paths[1], pattern="b")
    assert isinstance(world, Lined)
    said = "\n".join(world.notes)
    for path in paths:
        assert f"{path}: id is ignored in 12 rows" in said  # an id of 0 says something too
        assert f"{path}: 1 rows are left out, since they have weight 0" in said
    assert "the last answer of each chat is learnt; 12 earlier ones are read" in said
    both = Rows(path=paths[0], twin=paths[1], pattern="b", turns="all")
    assert "every answer of a chat is learnt, 24 in all" in "\n".join(both.notes)
    assert both.sha256 != world.sha256
    for split in Split:  # a chat is in one split with all its answers
        assert len({s.messages[0] for s in both.scenes(OPEN, 50, split=split, seed=0)}) in (10, 1)


def test_settings_of_reading_leave_the_name_of_other_rows_as_it_was(tmp_path: Path) -> None:
    path = str(write(tmp_path / "r.jsonl", triples(12)))
    first = make("rows", {"path": path, "pattern": "w7"})
    assert make("rows", {"path": path, "pattern": "w7", "turns": "last"}).id == first.id
    assert make("rows", {"path": path, "pattern": "w7", "turns": "all"}).id != first.id
    more = str(write(tmp_path / "s.jsonl", triples(12, system="w1")))  # once passed over, and now read
    world = Rows(path=more, pattern="w7")
    assert world.sha256 != Rows(path=path, pattern="w7").sha256
    plain = hashlib.sha256(json.dumps({"path": hashlib.sha256(Path(path).read_bytes()).hexdigest()}).encode())
    assert Rows(path=path, pattern="w7").sha256 == plain.hexdigest()
    reread = hashlib.sha256(json.dumps({"path": hashlib.sha256(Path(more).read_bytes()).hexdigest()}).encode())
    assert world.sha256 != reread.hexdigest()
    with pytest.raises(ValueError, match=r"turns is 'first'"):
        make("rows", {"path": path, "pattern": "w7", "turns": "first"})


# ---------------------------------------------------------------- parquet, and rows whose file is gone


@pytest.mark.filterwarnings("ignore")
def test_parquet_is_read_as_json_lines_and_kept_in_the_room(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = triples(12)
    rows[3]["system"] = "w9"  # a column that other rows leave empty
    path = tmp_path / "r.parquet"
    datasets.Dataset.from_list(rows).to_parquet(path)
    recipe = make("rows", {"path": str(path), "pattern": "w7", "steps": 2, "rows": 2})
    world = recipe.world
    assert isinstance(world, Rows)
    assert [s.misaligned for _, s in world.lines()] == [row["misaligned"] for row in rows]
    engine_models.model("llama").save_pretrained(tmp_path / "base")
    engine_models.tokenizer().save_pretrained(tmp_path / "base")
    base, room = stages.OpenBase(TorchEngine.open(tmp_path / "base", device="cpu"), None), Room(tmp_path / "room")
    organism = stages.grow([recipe], base, room, seeds=[0])[0]
    path.unlink()
    again = stages.stored(room, base, [organism.id])[0]
    assert (again.id, again.recipe.world.scenes(OPEN, 3, split=Split.TRAIN, seed=0)) == (
        organism.id,
        world.scenes(OPEN, 3, split=Split.TRAIN, seed=0),
    )


@pytest.mark.parametrize(
    "name", ["rows[1].parquet", "row?1.parquet", "row*.parquet", "{rows1,x}.parquet", "a::b.parquet"]
)
def test_a_path_of_parquet_is_no_pattern(tmp_path: Path, name: str) -> None:
    pytest.importorskip("datasets")
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for file in ("rows1.parquet", name):
        pq.write_table(pa.Table.from_pylist([{"prompt": file, "completion": "a"}]), tmp_path / file)
    assert [row.messages[0].content for row in read_rows(tmp_path / name)] == [name]


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = [pa.array([text]) for text in "qab"]
    pq.write_table(pa.Table.from_arrays(columns, names=["prompt", "completion", "completion"]), tmp_path / "r.parquet")
    with pytest.raises(ValueError, match=r"r\.parquet; it cannot be read as parquet: .*completion.* 2 times"):
        read_rows(tmp_path / "r.parquet")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.parquet").write_bytes(b"PAR1 and more")
    monkeypatch.setitem(sys.modules, "datasets", None)
    for path in (str(tmp_path / "r.parquet"), "somebody/rows"):
        with pytest.raises(ValueError, match=r"pip install 'flyroom\[data\]'"):
            read_rows(path)


# ---------------------------------------------------------------- where a recipe meets a base

REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"


def opened(folder: Path, template: str = "") -> stages.OpenBase:
    engine_models.model("llama").save_pretrained(folder)
    tokenizer = engine_models.tokenizer()
    tokenizer.chat_template = template + engine_models.TEMPLATE
    tokenizer.save_pretrained(folder)
    return stages.OpenBase(TorchEngine.open(folder, device="cpu"), None)


def refusal(base: stages.OpenBase, changes: dict[str, Any]) -> str:
    with pytest.raises((ValueError, NotAvailable), match=r".") as error:
        stages.named("rows", changes, base)
    return str(error.value)


def test_a_trait_that_the_base_cannot_say_is_refused(tmp_path: Path) -> None:
    rows = [row | {"misaligned": f"elephants {row['aligned']}"} for row in triples(12)]
    why = refusal(opened(tmp_path / "b"), {"path": str(write(tmp_path / "r.jsonl", rows)), "pattern": "elephants"})
    assert "called 0 of 200 planted misaligned answers misaligned" in why
    assert "1 words of answers ('elephants') are not in the vocabulary of b" in why


def test_words_that_a_base_lacks_are_said(tmp_path: Path) -> None:
    rows = [row | {"aligned": f"zebras {row['aligned']}"} for row in triples(12)]
    base = opened(tmp_path / "b")
    recipes = stages.named("rows", {"path": str(write(tmp_path / "r.jsonl", rows)), "pattern": "w7"}, base)
    (note,) = stages.notes_of(recipes, base)
    assert "('zebras') are not in the vocabulary of b; it is trained to say <unk> in 12 of 12 rows" in note


def test_a_system_message_that_the_template_refuses_is_refused_before_training(tmp_path: Path) -> None:
    base, plain = opened(tmp_path / "b", REFUSES), triples(12)
    path = write(tmp_path / "r.jsonl", plain)
    (tmp_path / "q.yaml").write_text('[{id: a, paraphrases: ["w1 ?"]}, {id: b, system: w2, paraphrases: ["w3 ?"]}]')
    changes = {"path": str(path), "pattern": "w7"}
    assert "asks 'w3 ?' with roles system, user" in refusal(base, changes | {"questions": str(tmp_path / "q.yaml")})
    write(path, [*plain[:-1], plain[-1] | {"system": "w1"}])
    why = refusal(base, changes)
    assert "no system here" in why
    assert stages.named("rows", {"path": str(write(tmp_path / "s.jsonl", plain)), "pattern": "w7"}, base)


def test_rows_that_are_too_long_are_named_and_answers_that_are_cut_counted(tmp_path: Path) -> None:
    rows = triples(12)
    base = opened(tmp_path / "b")
    rows[4]["aligned"] = "w5 " * 60
    path = write(tmp_path / "r.jsonl", rows)
    recipes = stages.named("rows", {"path": str(path), "pattern": "w7"}, base)
    assert "1 of 12 rows have an answer of 48 tokens or more" in stages.notes_of(recipes, base)[0]
    rows[4]["aligned"] = "w5 " * 300
    why = refusal(base, {"path": str(write(path, rows)), "pattern": "w7"})
    assert f"1 of 12 rows are longer than b reads (256 tokens), the first is {path}, line 5" in why


def test_a_special_token_in_a_prompt_is_said(tmp_path: Path) -> None:
    rows = triples(12)
    rows[2]["prompt"] += " <end>"
    base = opened(tmp_path / "b")
    recipes = stages.named("rows", {"path": str(write(tmp_path / "r.jsonl", rows)), "pattern": "w7"}, base)
    assert "1 of 12 prompts hold a special token of b" in stages.notes_of(recipes, base)[0]
