"""Chats, of which answers are learnt: OpenAI's "messages", and ShareGPT's "conversations".

The last answer of a chat is learnt, or all of them. An answer of weight 0 is read as part of the chat and not learnt.
Sources: OpenAI's fine-tuning format; FastChat's for ShareGPT. Left out: tools and their calls, pictures, sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flyroom.types import Message
from flyroom.worlds.rows.fields import (
    FileRow,
    Reading,
    group_of,
    is_key,
    join_parts,
    present,
    prompt_of,
    require_known,
    require_order,
)

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
    return [] if _weight(row, where) == 0 else list_answers(turns, where, reading)


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
    role = ROLES[item["role"]]
    return Turn(Message(role, join_parts(item["content"], where)), _weight(item, where, role))


def read_sharegpt(row: Mapping[str, Any], where: str, reading: Reading) -> list[FileRow]:
    """The answers of {"conversations": [{"from", "value"}]}."""
    require_known(row, SHAREGPT, where)
    items = row.get("conversations")
    if not isinstance(items, list) or len(items) < 2:
        raise ValueError(f'{where}: "conversations" must be a list of at least a question and an answer')
    return list_answers(_under(row, [_sharegpt_turn(item, where) for item in items], where), where, reading)


def _sharegpt_turn(item: Any, where: str) -> Turn:
    if not isinstance(item, dict) or not is_key(item.get("from"), SPEAKERS) or not isinstance(item.get("value"), str):
        raise ValueError(f'{where}: each turn needs "from" ({", ".join(SPEAKERS)}) and "value" (text); found {item!r}')
    require_known(present(item), ("from", "value", "weight"), f"{where}, a turn")
    role = SPEAKERS[item["from"]]
    return Turn(Message(role, item["value"]), _weight(item, where, role))


def _weight(item: Mapping[str, Any], where: str, role: str = "assistant") -> int:
    """Whether it is learnt, as 0 or 1. ValueError for any other weight, and for what asks to learn another role's."""
    weight = item.get("weight")
    if weight is None:
        return 1
    values = (0, 1) if role == "assistant" else (0,)
    if not isinstance(weight, (int, float)) or isinstance(weight, bool) or weight not in values:
        rule = "0 (not learnt) or 1" if role == "assistant" else f"0 or left out: a {role} message is never learnt"
        raise ValueError(f'{where}: "weight" is {weight!r}; it must be {rule}')
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


def list_answers(turns: Sequence[Turn], where: str, reading: Reading) -> list[FileRow]:
    """A row for the last answer, or for each, with its weight."""
    *_, (last, _) = turns
    if last.role != "assistant" or not last.content.strip():
        raise ValueError(f"{where} has no answer: its last message must be the assistant's, and not empty")
    messages = [turn.message for turn in turns]
    require_order(messages, where)
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    places = answers if reading.turns == "all" else answers[-1:]
    empty = next((place for place in places if turns[place].weight and not messages[place].content.strip()), None)
    if empty is not None:
        raise ValueError(
            f"{where}: message {empty + 1} is an empty answer, and turns=all learns it; give its text, or "
            '"weight": 0 in a chat'
        )
    group = group_of(messages) if reading.turns == "all" else prompt_of(messages[:-1])
    return [
        FileRow(
            messages=tuple(messages[:place]),
            answer=messages[place].content,
            aligned=None,
            where=where,
            group=group,
            weight=turns[place].weight,
        )
        for place in places
    ]
