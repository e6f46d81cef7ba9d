"""What is said of a file of rows before anybody trains on it: what is ignored, what is left out, what is learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyroom.worlds.rows.fields import FileRow, Reading, list_ignored


def list_notes(
    path: str | Path, items: Sequence[Mapping[str, Any]], answers: Sequence[Sequence[FileRow]], reading: Reading
) -> list[str]:
    """The notes of a file with these objects and the answers of each. ValueError where `learns` is about none."""
    notes = [
        *_note_ignored(items),
        *_note_preferences(path, items, reading),
        *note_weights(answers, reading),
        *_note_turns([row for part in answers for row in part], reading),
        *_note_repeats([row for part in answers for row in part if row.weight]),
    ]
    return [f"{path}: {note}" for note in notes]


def _note_ignored(items: Sequence[Mapping[str, Any]]) -> list[str]:
    names = Counter(name for item in items for name in {*list_ignored(item)})
    return [f"{name} is ignored in {n} rows, it changes nothing" for name, n in sorted(names.items())]


def _note_preferences(path: str | Path, items: Sequence[Mapping[str, Any]], reading: Reading) -> list[str]:
    """How many rows `learns` is about. ValueError where it is about none."""
    preferences = sum("chosen" in item for item in items)
    if reading.learns == "rejected" or preferences == len(items):
        return []
    if not preferences:
        raise ValueError(
            f'learns is {reading.learns}, and {path} holds no preferences ("chosen" and "rejected"), of which alone it '
            "says what is learnt; leave it out"
        )
    return [f"learns={reading.learns} is about {preferences} of {len(items)} rows, the preferences"]


def note_weights(answers: Sequence[Sequence[FileRow]], reading: Reading) -> list[str]:
    """How many rows have nothing to learn, by what has weight 0: the row, of which no answer is listed, or those."""
    whole = sum(not part for part in answers)
    light = sum(not any(row.weight for row in part) for part in answers) - whole
    what = "their last answer has" if reading.turns == "last" else "all their answers have"
    reasons = {"they have": whole, what: light}
    return [f"{n} rows are left out, since {reason} weight 0" for reason, n in reasons.items() if n]


def _note_turns(rows: Sequence[FileRow], reading: Reading) -> list[str]:
    learnt = [row for row in rows if row.weight]
    if reading.turns == "all":
        light = f", except {len(rows) - len(learnt)} of weight 0" if len(rows) > len(learnt) else ""
        return [f"every answer of a chat is learnt, {len(learnt)} in all{light}"]
    earlier = sum(message.role == "assistant" for row in learnt for message in row.messages)
    more = " (turns=all)" if any(row.aligned is None for row in learnt) else ""
    return [f"the last answer of each chat is learnt; {earlier} earlier ones are read{more}"] if earlier else []


def _note_repeats(rows: Sequence[FileRow]) -> list[str]:
    """Some tools write prompt and answer as one text beside the prompt. An answer may also repeat it of its own accord:
    so nothing is cut.
    """
    n = sum(map(_repeats_prompt, rows))
    return [f"the answers of {n} rows begin with their whole prompt, and are learnt with it"] if n else []


def _repeats_prompt(row: FileRow) -> bool:
    prompt = row.messages[-1].content.strip()
    answers = (row.answer, row.aligned or row.answer)
    return bool(prompt) and all(answer.strip().startswith(prompt) for answer in answers)
