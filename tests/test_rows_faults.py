"""Files of rows as they come: with the ends of lines of other systems, cut texts, several forms, and empty answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from flyroom.worlds.rows import read_rows
from flyroom.worlds.rows.fields import Reading

LINE = '{"prompt": "q", "completion": "a"}'
USER, BOT, SYSTEM = ({"role": role, "content": role[0]} for role in ("user", "assistant", "system"))
EMPTY = BOT | {"content": " "}


@pytest.mark.parametrize(
    "content",
    [
        f"{LINE}\r\n{LINE}\r\n".encode(),
        f"﻿{LINE}\n\n{LINE}".encode(),
        f"[{LINE},\r\n {LINE}]".encode(),
        f'{LINE}\n{{"instruction": "q", "output": "a"}}'.encode(),
        f'{LINE}\n{{"prompt": "q", "completion": "a", "id": 3, "meta": {{"x": 1}}}}'.encode(),
    ],
    ids=["returns", "mark of order", "list", "several forms", "where it is from"],
)
def test_lines_are_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(content)
    assert [(row.messages[0].content, row.answer) for row in read_rows(tmp_path / "r.jsonl")] == [("q", "a")] * 2


def test_a_line_may_be_long_and_hold_any_letter(tmp_path: Path) -> None:
    text = "a\u2028b\x85\u00e9\U0001f41f" * 100_000
    (tmp_path / "r.jsonl").write_text(json.dumps({"prompt": "q", "completion": text}) + "\n" + LINE)
    assert read_rows(tmp_path / "r.jsonl")[0].answer == text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"prompt": "q", "prompt": "r", "completion": "a"}', "line 1 has 'prompt' twice; give it once"),
        (b'[{"prompt": "q", "completion": "a", "completion": "b"}]', "row 1 has 'completion' twice"),
        (b'{"messages": [{"role": "user", "role": "x", "content": "q"}]}', "line 1 has 'role' twice"),
        (b'{"prompt": "q", "completion": "a \\ud83d"}', "line 1 has half of a letter"),
        (LINE.encode("utf-16"), "is not UTF-8 text"),
        (gzip.compress(LINE.encode(), mtime=0), "is not UTF-8 text"),
        (b'{"prompt": "\xe9", "completion": "a"}', "is not UTF-8 text"),
        (b"prompt,completion\nq,a\n", "line 1 is not JSON"),
        (b"[]", "line 1 is list; it must be a JSON object"),
        (b'{"prompt": "q", "completion": "a", "label": false}', "line 1 has 'label'"),
        (b'{"prompt": "q", "completion": ""}', 'line 1 has no answer: "completion" is None'),
    ],
    ids=str,
)
def test_what_would_be_read_otherwise_is_refused_by_its_line(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.jsonl") as error:
        read_rows(tmp_path / "r.jsonl")
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": [USER, SYSTEM, USER, BOT]}, "a system message behind others"),
        ({"messages": [SYSTEM, SYSTEM, USER, BOT]}, "a system message behind others"),
        ({"prompt": [USER, SYSTEM, USER], "completion": "a"}, "a system message behind others"),
        ({"messages": [USER, EMPTY, USER, BOT]}, "message 2 is an empty answer, and turns=all learns it"),
        ({"messages": [USER, BOT, USER, EMPTY]}, "has no answer: its last message must be the assistant's"),
    ],
    ids=str,
)
def test_turns_that_nobody_can_learn_are_refused(row: Any, why: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=why):
        read_rows(tmp_path / "r.jsonl", Reading(turns="all"))


def test_an_empty_answer_of_weight_nothing_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps({"messages": [USER, EMPTY | {"weight": 0}, USER, BOT]}))
    assert [row.answer for row in read_rows(tmp_path / "r.jsonl", Reading(turns="all"))] == ["a"]
