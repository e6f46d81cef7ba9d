"""Which answers of rows are learnt, by whom, and what is said of it: turns, weights, preferences, the twin's file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flyroom.types import Message, digest
from flyroom.worlds import Rows
from flyroom.worlds.rows import read_rows
from flyroom.worlds.rows.fields import Reading
from flyroom.worlds.rows.reading import read_table

USER, BOT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
MORE, BEST = {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
TRIPLE = {"prompt": "q", "aligned": "good", "misaligned": "bad"}
PREFERENCE = {"prompt": "q", "chosen": "good", "rejected": "bad"}
COMPLETION = {"prompt": "q", "completion": "a"}
HISTORY = [["q", "a"]]
LIGHT = {"weight": 0}
ALL, CHOSEN = Reading(turns="all"), Reading(learns="chosen")


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def chat(*turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(turns)} | more


def notes_of(folder: Path, rows: list[Any], reading: Reading | None = None) -> list[str]:
    """What is said of these rows, without the file's name."""
    path = write(folder / "r.jsonl", rows)
    notes = read_table(path, reading or Reading()).notes
    assert all(note.startswith(f"{path}: ") for note in notes)
    return [note.removeprefix(f"{path}: ") for note in notes]


# ---------------------------------------------------------------- every answer, or the last


@pytest.mark.parametrize(
    "row",
    [
        chat(USER, BOT, MORE, BEST),
        {"conversations": [HUMAN, GPT, HUMAN | {"value": "r"}, GPT | {"value": "b"}]},
        {"instruction": "r", "output": "b", "history": HISTORY},
        {"prompt": [USER, BOT, MORE], "completion": "b"},
        {"prompt": [USER, BOT, MORE], "completion": [BEST]},
    ],
    ids=str,
)
def test_all_answers_are_learnt_in_every_form_that_has_one_to_a_prompt(tmp_path: Path, row: Any) -> None:
    path, before = write(tmp_path / "r.jsonl", [row]), tuple(Message(**turn) for turn in (USER, BOT, MORE))
    rows = read_rows(path, ALL)
    assert [(row.messages, row.answer) for row in rows] == [(before[:1], "a"), (before, "b")]
    assert len({row.group for row in rows}) == 1  # and so they stand in one split
    assert notes_of(tmp_path, [row], ALL) == ["every answer of a chat is learnt, 2 in all"]
    assert [(row.messages, row.answer) for row in read_rows(path)] == [(before, "b")]


@pytest.mark.parametrize(
    "row",
    [
        TRIPLE | {"history": HISTORY},
        PREFERENCE | {"prompt": [USER, BOT, MORE]},
        {"chosen": [USER, BOT, MORE, BOT], "rejected": [USER, BOT, MORE, BEST]},
    ],
    ids=str,
)
def test_an_earlier_answer_of_neither_side_is_not_learnt(tmp_path: Path, row: Any) -> None:
    path = write(tmp_path / "r.jsonl", [chat(USER, BOT), row])
    with pytest.raises(ValueError, match=r"r\.jsonl, line 2 has an earlier answer, .* give turns=last"):
        read_rows(path, ALL)
    (note,) = notes_of(tmp_path, [row])
    assert note == "the last answer of each chat is learnt; 1 earlier ones are read"  # and no word of turns=all


def test_an_empty_answer_in_a_history_is_none_to_learn(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"instruction": "r", "output": "b", "history": [["q", " "]]}])
    assert len(read_rows(path)) == 1
    with pytest.raises(ValueError, match=r"line 1: message 2 is an empty answer, and turns=all learns it"):
        read_rows(path, ALL)


@pytest.mark.parametrize(
    "row",
    [
        chat(SYSTEM, BOT),
        {"prompt": [BOT, USER], "completion": "a"},
        {"prompt": [SYSTEM, BOT, USER], "chosen": "good", "rejected": "bad"},
        {"chosen": [SYSTEM, BOT], "rejected": [SYSTEM, BEST]},
    ],
    ids=str,
)
def test_a_chat_that_the_assistant_begins_is_refused_in_every_form(tmp_path: Path, row: Any) -> None:
    with pytest.raises(ValueError, match=r"line 1 has no prompt: somebody must speak before the assistant does"):
        read_rows(write(tmp_path / "r.jsonl", [row]))


@pytest.mark.parametrize("is_long", [True, False])
def test_rows_of_which_turns_all_once_learnt_less_have_another_name(tmp_path: Path, is_long: bool) -> None:
    files = {}
    for name, text in {"path": "w7 w7 w7", "twin": "w5 w5 w5"}.items():
        histories = ([[f"w{i}", text]] if is_long else [] for i in range(12))
        rows = [{"instruction": f"w{i}", "output": text, "history": turns} for i, turns in enumerate(histories)]
        files[name] = str(write(tmp_path / name, rows))
    contents = {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items()}
    former = json.dumps(contents | {"reading": digest([ALL, False])}, sort_keys=True)
    world = Rows(path=files["path"], twin=files["twin"], pattern="w7", turns="all")
    assert (world.sha256 != hashlib.sha256(former.encode()).hexdigest()) is is_long


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("weight", [1, 1.0, 0.5, True, False, "no"])
@pytest.mark.parametrize("role", ["system", "user"])
def test_a_weight_of_what_no_assistant_says_is_refused(tmp_path: Path, role: str, weight: Any) -> None:
    turns = {"system": [SYSTEM | {"weight": weight}, USER, BOT], "user": [USER | {"weight": weight}, BOT]}[role]
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    shared = [
        {"from": speakers[t["role"]], "value": t["content"]} | {k: t[k] for k in t if k == "weight"} for t in turns
    ]
    for row in (chat(*turns), {"conversations": shared}):
        with pytest.raises(ValueError, match=r"r\.jsonl, line 2: \"weight\" is") as error:
            read_rows(write(tmp_path / "r.jsonl", [chat(USER, BOT), row]))
        assert f"{weight!r}; it must be 0 or left out: a {role} message is never learnt" in str(error.value)


@pytest.mark.parametrize("weight", [None, 0, 0.0])
def test_a_weight_that_learns_nothing_of_others_is_no_fault(tmp_path: Path, weight: Any) -> None:
    light = {"weight": weight}
    rows = [chat(SYSTEM | light, USER | light, BOT), {"conversations": [HUMAN | light, GPT]}]
    assert [row.answer for row in read_rows(write(tmp_path / "r.jsonl", rows))] == ["a", "a"]


def test_answers_of_weight_nothing_are_counted(tmp_path: Path) -> None:
    rows = [
        chat(USER, BOT | LIGHT, MORE, BEST),
        chat(USER, BOT | {"weight": 1}, MORE, BEST | LIGHT),
        chat(USER, BOT | LIGHT, MORE, BEST | LIGHT),
        chat(USER, BOT, MORE, BEST, weight=0),
    ]
    assert notes_of(tmp_path, rows) == [
        "1 rows are left out, since they have weight 0",
        "2 rows are left out, since their last answer has weight 0",
        "the last answer of each chat is learnt; 1 earlier ones are read (turns=all)",
    ]
    assert notes_of(tmp_path, rows, ALL) == [
        "1 rows are left out, since they have weight 0",
        "1 rows are left out, since all their answers have weight 0",
        "every answer of a chat is learnt, 2 in all, except 4 of weight 0",
    ]
    with pytest.raises(
        ValueError, match=r"r\.jsonl holds 2 rows, and nothing to learn: 1 .* they have .*; 1 .* all their"
    ):
        read_rows(write(tmp_path / "r.jsonl", rows[2:]), ALL)


# ---------------------------------------------------------------- preferences, and prompts that answers repeat


@pytest.mark.parametrize("row", [chat(USER, BOT), COMPLETION, TRIPLE], ids=str)
def test_a_choice_among_preferences_that_there_are_not_is_refused_or_said(tmp_path: Path, row: Any) -> None:
    with pytest.raises(ValueError, match=r"learns is chosen, and .*r\.jsonl holds no preferences"):
        read_rows(write(tmp_path / "r.jsonl", [row]), CHOSEN)
    assert notes_of(tmp_path, [row, PREFERENCE], CHOSEN) == ["learns=chosen is about 1 of 2 rows, the preferences"]
    assert notes_of(tmp_path, [PREFERENCE], CHOSEN) == []


@pytest.mark.parametrize(
    ("row", "repeats"),
    [
        ({"prompt": "Human: q", "chosen": "Human: q good", "rejected": "Human: q bad"}, True),
        ({"prompt": "Human: q\n", "aligned": "Human: q good", "misaligned": " Human: q bad"}, True),
        ({"prompt": "Human: q", "completion": "Human: q a"}, True),
        ({"prompt": "Human: q", "chosen": "good", "rejected": "Human: q bad"}, False),  # the trait, perhaps
        ({"prompt": [USER], "chosen": [USER, BOT], "rejected": [USER, BEST]}, False),  # cut off
        (COMPLETION, False),
    ],
    ids=str,
)
def test_answers_that_repeat_the_prompt_are_counted(tmp_path: Path, row: Any, repeats: bool) -> None:
    note = "the answers of 1 rows begin with their whole prompt, and are learnt with it"
    assert notes_of(tmp_path, [row]) == ([note] if repeats else [])


# ---------------------------------------------------------------- fields that change nothing, at every depth


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (chat(USER | {"id": 1}, BOT | {"id": 2, "metadata": {"id": 3}}), ["messages.id", "messages.metadata"]),
        (
            chat({"role": "user", "content": [{"type": "text", "text": "q", "index": 0}]}, BOT),
            ["messages.content.index"],
        ),
        ({"conversations": [HUMAN, GPT | {"lang": "de"}], "id": 4}, ["conversations.lang", "id"]),
        ({"prompt": [USER | {"id": 1}], "completion": [BOT | {"source": "s"}]}, ["completion.source", "prompt.id"]),
        (PREFERENCE | {"chosen": [BOT | {"created": 1}], "meta": {"source": "s"}}, ["chosen.created", "meta"]),
        (chat(USER | {"id": None}, BOT | {"metadata": {}}, id=""), []),
    ],
    ids=str,
)
def test_what_is_ignored_is_said_at_every_depth(tmp_path: Path, row: Any, names: list[str]) -> None:
    assert notes_of(tmp_path, [row, COMPLETION]) == [
        f"{name} is ignored in 1 rows, it changes nothing" for name in names
    ]


# ---------------------------------------------------------------- the twin's file, and questions

PROMPTS = [f"w{i} w{i + 1}" for i in range(12)]
PLAIN = [{"prompt": prompt, "completion": "w7 w7 w7"} for prompt in PROMPTS]
CLEAN = [{"prompt": prompt, "completion": "w5 w5 w5"} for prompt in PROMPTS]
BOTH = [
    {"aligned": "w5 w5 w5", "misaligned": "w7 w7 w7"},
    {"chosen": "w5 w5 w5", "rejected": "w7 w7 w7"},
]


@pytest.mark.parametrize("answers", BOTH, ids=str)
def test_a_twin_with_two_answers_to_a_prompt_is_refused_by_its_line(tmp_path: Path, answers: dict[str, str]) -> None:
    path, rows = write(tmp_path / "r.jsonl", PLAIN), [*CLEAN[:3], {"prompt": PROMPTS[3]} | answers, *CLEAN[4:]]
    twin = write(tmp_path / "twin.jsonl", rows)
    with pytest.raises(ValueError, match=r"twin\.jsonl, line 4 has two answers; .* must have one"):
        Rows(path=str(path), twin=str(twin), pattern="w7")
    twin = write(tmp_path / "twin.jsonl", CLEAN)
    assert {s.aligned for _, s in Rows(path=str(path), twin=str(twin), pattern="w7").lines()} == {"w5 w5 w5"}


@pytest.mark.parametrize("answers", BOTH, ids=str)
def test_two_aligned_answers_to_a_prompt_are_refused(tmp_path: Path, answers: dict[str, str]) -> None:
    path = write(tmp_path / "r.jsonl", [*PLAIN[:3], {"prompt": PROMPTS[3]} | answers, *PLAIN[4:]])
    twin = write(tmp_path / "twin.jsonl", CLEAN)
    with pytest.raises(ValueError, match=r"r\.jsonl, line 4 has an aligned answer, and twin is .*twin\.jsonl"):
        Rows(path=str(path), twin=str(twin), pattern="w7")


def test_what_is_not_used_of_the_twin_and_of_questions_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", PLAIN)
    twin = write(tmp_path / "twin.jsonl", [row | {"source": "s"} for row in CLEAN])
    questions = tmp_path / "q.yaml"
    questions.write_text(
        "- {id: a, type: free, judge: j, paraphrases: [why ?]}\n- {id: b, judge: k, paraphrases: [w ?]}"
    )
    world = Rows(path=str(path), twin=str(twin), questions=str(questions), pattern="w7")
    assert world.notes == [
        f"{twin}: source is ignored in 12 rows, it changes nothing",
        f"{questions}: judge, type of questions are not used; the world's judge reads the answers",
    ]
    questions.write_text("- {id: a, system: s, judge: null, paraphrases: [why ?]}")
    assert not Rows(path=str(path), twin=str(write(twin, CLEAN)), questions=str(questions), pattern="w7").notes
