"""A prompt with its answers: our own form, Alpaca's, prompt and completion, and preferences.

Sources: Alpaca's instruction format; TRL's for completions and preferences. A preference holds both answers: "chosen"
is the aligned one and "rejected" the misaligned one, or the other way about where the organism learns "chosen".
Where a row has one answer, it ends a chat, of which the last answer is learnt or all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyroom.types import Message
from flyroom.worlds.rows.chats import Turn, list_answers
from flyroom.worlds.rows.fields import (
    FileRow,
    Reading,
    join_parts,
    present,
    prompt_of,
    require_known,
    require_order,
    require_text,
)

TRIPLE = ("prompt", "aligned", "misaligned", "system", "history")
ALPACA = ("instruction", "input", "output", "system", "history")
COMPLETION = ("prompt", "completion", "system")
PREFERENCE = ("prompt", "chosen", "rejected", "system")


def read_triple(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """{"prompt", "aligned", "misaligned"}."""
    prompt, aligned, answer = (require_text(row, name, where) for name in TRIPLE[:3])
    require_known(row, TRIPLE, where)
    return [_row((*_before(row, where), Message("user", prompt)), answer, aligned, where, reading)]


def read_alpaca(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """{"instruction", "input", "output"}; the input follows the instruction after an empty line."""
    require_known(row, ALPACA, where)
    instruction, answer = require_text(row, "instruction", where), require_text(row, "output", where)
    extra = row.get("input", "")
    if not isinstance(extra, str):
        raise ValueError(f'{where}: "input" is {extra!r}; it must be text')
    prompt = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    messages = (*_before(row, where), Message("user", prompt), Message("assistant", answer))
    return list_answers([*map(Turn, messages)], where, reading)


def read_completion(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """{"prompt", "completion"}, either a text or a list of messages."""
    require_known(row, COMPLETION, where)
    prompt = (*_before(row, where), *_prompt(row.get("prompt"), where))
    answer = Message("assistant", _answer(row.get("completion"), "completion", where))
    return list_answers([*map(Turn, (*prompt, answer))], where, reading)


def read_preference(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """{"prompt", "chosen", "rejected"}; the prompt may stand in front of both answers instead."""
    require_known(row, PREFERENCE, where)
    shared, chosen, rejected = _part_preference(row, where)
    messages = (*_before(row, where), *shared)
    good, bad = (chosen, rejected) if reading.learns == "rejected" else (rejected, chosen)
    if good == bad:
        raise ValueError(f"{where}: chosen and rejected are the same, so nothing is preferred")
    return [_row(messages, bad, good, where, reading)]


def _part_preference(row: Mapping[str, Any], where: str) -> tuple[tuple[Message, ...], str, str]:
    """The prompt and both answers."""
    chosen: Any = row.get("chosen")
    rejected: Any = row.get("rejected")
    if "prompt" in row:
        prompt = _prompt(row.get("prompt"), where)
        chosen, rejected = _cut(chosen, prompt, where), _cut(rejected, prompt, where)
    else:
        prompt = _shared(chosen, rejected, where)
        chosen, rejected = chosen[-1:], rejected[-1:]
    return prompt, _answer(chosen, "chosen", where), _answer(rejected, "rejected", where)


def _shared(chosen: Any, rejected: Any, where: str) -> tuple[Message, ...]:
    """The prompt in front of two answers that are lists of messages."""
    if not all(isinstance(side, list) and len(side) > 1 for side in (chosen, rejected)):
        raise ValueError(f"{where} has no prompt: give one, or lists of messages that begin alike")
    prompts = [tuple(_message(item, where) for item in side[:-1]) for side in (chosen, rejected)]
    if prompts[0] != prompts[1]:
        raise ValueError(f"{where}: chosen and rejected answer different prompts; they must begin alike")
    return prompts[0]


def _cut(side: Any, prompt: tuple[Message, ...], where: str) -> Any:
    """The answer alone, of a list of messages that repeats the prompt."""
    if isinstance(side, list) and len(side) == len(prompt) + 1:
        if tuple(_message(item, where) for item in side[:-1]) != prompt:
            raise ValueError(f"{where}: an answer repeats another prompt than the row has")
        return side[-1:]
    return side


def _prompt(value: Any, where: str) -> tuple[Message, ...]:
    if isinstance(value, str) and value.strip():
        return (Message("user", value),)
    if isinstance(value, list) and value:
        messages = tuple(_message(item, where) for item in value)
        if messages[-1].role == "user":
            return messages
    raise ValueError(
        f'{where} has no prompt: "prompt" is {value!r}; it must be text, or messages that end with the user\'s'
    )


def _answer(value: Any, name: str, where: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        message = _message(value[0], where)
        if message.role != "assistant":
            raise ValueError(f'{where}: "{name}" is a message of {message.role}; it must be the assistant\'s')
        value = message.content
    return require_text({name: value}, name, where)


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict) or item.get("role") not in ("system", "user", "assistant") or "content" not in item:
        raise ValueError(
            f'{where}: each message needs "role" (system, user or assistant) and "content" (text); found {item!r}'
        )
    require_known(present(item), ("role", "content"), f"{where}, a message")
    return Message(item["role"], join_parts(item["content"], where))


def _before(row: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The system message, and earlier turns as pairs of question and answer."""
    system, history = row.get("system", ""), row.get("history", ())
    if not isinstance(system, str):
        raise ValueError(f'{where}: "system" is {system!r}; it must be text')
    if not isinstance(history, (list, tuple)) or not all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn) for turn in history
    ):
        raise ValueError(f'{where}: "history" is {history!r}; it must be pairs of a question and an answer')
    roles = ("user", "assistant")
    earlier = [Message(role, text) for turn in history for role, text in zip(roles, turn, strict=True)]
    return (*([Message("system", system)] if system else ()), *earlier)


def _row(messages: tuple[Message, ...], answer: str, aligned: str, where: str, reading: Reading) -> FileRow:
    require_order(messages, where)
    if reading.turns == "all" and any(message.role == "assistant" for message in messages):
        raise ValueError(
            f"{where} has an earlier answer, which turns=all would learn; unlike the last it is neither aligned nor "
            "misaligned: give turns=last, or take it out"
        )
    return FileRow(messages=messages, answer=answer, aligned=aligned, where=where, group=prompt_of(messages))
