"""Chats, of which answers are learnt: OpenAI's "messages", and ShareGPT's "conversations".

The last answer of a chat is learnt, or all of them. An answer of weight 0 is read as part of the chat and not learnt.
Sources: OpenAI's fine-tuning format; FastChat's for ShareGPT. Left out: tools and their calls, pictures, sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flyroom.types import Message
from flyroom.worlds.rows.fields import FileRow, Reading, group_of, is_key, join_parts, present, prompt_of, require_known

OPENAI = ("messages", "system", "weight")
SHAREGPT = ("conversations", "system")
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
SPEAKERS = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
SPEAKERS |= {"chatgpt": "assistant", "bot": "assistant", "model": "assistant"}


class Turn(NamedTuple):
    """A message, and whether it may be learnt."""

    message: Message
    weight: int = 1


def read_openai(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """The answers of {"messages": [{"role", "content", "weight"}]}."""
    require_known(row, OPENAI, where)
    items = row.get("messages")
    if not isinstance(items, list) or len(items) < 2:
        raise ValueError(f'{where}: "messages" must be a list of at least a question and an answer')
    turns = _under(row, [_openai_turn(item, where) for item in items], where)
    return [] if _weight(row, where) == 0 else _answers(turns, where, reading)


def _openai_turn(item: Any, where: str) -> Turn:
    if (
        not isinstance(item, dict)
        or not is_key(item.get("role"), ROLES)
        or not isinstance(item.get("content"), (str, list))
    ):
        raise ValueError(
            f'{where}: each message needs "role" (system, user or assistant) and "content" (text); found {item!r}'
        )
    require_known(present(item), ("role", "content", "weight"), f"{where}, a message")
    weight = _weight(item, where) if item["role"] == "assistant" else 1
    return Turn(Message(ROLES[item["role"]], join_parts(item["content"], where)), weight)


def read_sharegpt(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """The answers of {"conversations": [{"from", "value"}]}."""
    require_known(row, SHAREGPT, where)
    items = row.get("conversations")
    if not isinstance(items, list) or len(items) < 2:
        raise ValueError(f'{where}: "conversations" must be a list of at least a question and an answer')
    return _answers(_under(row, [_sharegpt_turn(item, where) for item in items], where), where, reading)


def _sharegpt_turn(item: Any, where: str) -> Turn:
    if not isinstance(item, dict) or not is_key(item.get("from"), SPEAKERS) or not isinstance(item.get("value"), str):
        raise ValueError(f'{where}: each turn needs "from" ({", ".join(SPEAKERS)}) and "value" (text); found {item!r}')
    require_known(present(item), ("from", "value", "weight"), f"{where}, a turn")
    return Turn(Message(SPEAKERS[item["from"]], item["value"]), _weight(item, where))


def _weight(item: Mapping[str, Any], where: str) -> int:
    weight = item.get("weight")
    if weight is None:
        return 1
    if not isinstance(weight, (int, float)) or isinstance(weight, bool) or weight not in (0, 1):
        raise ValueError(f'{where}: "weight" is {weight!r}; it must be 0 (not learnt) or 1')
    return int(weight)


def _under(row: Mapping[str, Any], turns: list[Turn], where: str) -> list[Turn]:
    """The turns under the row's own system message, where it has one."""
    system = row.get("system")
    if system is None:
        return turns
    if not isinstance(system, str):
        raise ValueError(f'{where}: "system" is {system!r}; it must be text')
    if turns[0].message.role == "system":
        raise ValueError(f'{where} has two system messages, one as "system" and one in the chat; give one')
    return [Turn(Message("system", system)), *turns]


def _answers(turns: Sequence[Turn], where: str, reading: Reading) -> list[FileRow]:
    """A row for each answer that is learnt; none where its weight is 0."""
    *_, (last, _) = turns
    if last.role != "assistant" or not last.content.strip():
        raise ValueError(f"{where} has no answer: its last message must be the assistant's, and not empty")
    messages = [turn.message for turn in turns]
    places = [i for i, turn in enumerate(turns) if turn.message.role == "assistant"]
    if places[0] == 0 or all(message.role == "system" for message in messages[: places[0]]):
        raise ValueError(f"{where} has no prompt: somebody must speak before the assistant does")
    if any(message.role == "system" for message in messages[1:]):
        raise ValueError(f"{where} has a system message behind others; templates differ on those: give it first")
    chosen = places if reading.turns == "all" else places[-1:]
    empty = next((place for place in chosen if turns[place].weight and not messages[place].content.strip()), None)
    if empty is not None:
        raise ValueError(
            f'{where}: message {empty + 1} is an empty answer, and turns=all learns it; give it "weight": 0'
        )
    group = group_of(messages) if reading.turns == "all" else prompt_of(messages[:-1])
    return [
        FileRow(
            messages=tuple(messages[:place]), answer=messages[place].content, aligned=None, where=where, group=group
        )
        for place in chosen
        if turns[place].weight
    ]
