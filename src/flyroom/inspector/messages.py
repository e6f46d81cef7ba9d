"""A conversation of ours as one of Inspect's, and back."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
)

from flyroom.types import Message, has_half

TURNS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def to_chat(messages: Sequence[Message], name: str | None = None) -> list[ChatMessage]:
    """Our messages as Inspect's. With a `name` their ids are made of it, and are the same whenever they are made.

    >>> [turn.role for turn in to_chat([Message("system", "be kind"), Message("user", "why ?")])]
    ['system', 'user']
    """
    ids = [None if name is None else f"{name}-{number}" for number in range(len(messages))]
    return [TURNS[m.role](id=id, content=m.content) for id, m in zip(ids, messages, strict=True)]


def from_chat(chat: Sequence[ChatMessage]) -> tuple[tuple[Message, ...], str]:
    """Inspect's messages as ours, and the text that the answer is to begin with: a last turn of the assistant's.

    Raises ValueError for what is no text, half a character among it, and for the result of a tool.

    >>> from_chat([ChatMessageUser(content="why ?"), ChatMessageAssistant(content="because")])
    ((Message(role='user', content='why ?'),), 'because')
    """
    messages = [_message(turn) for turn in chat]
    if messages and messages[-1].role == "assistant":
        return tuple(messages[:-1]), messages[-1].content
    return tuple(messages), ""


def _message(turn: ChatMessage) -> Message:
    if turn.role not in TURNS:
        raise ValueError(f"a message has the role {turn.role!r}; it must be one of {', '.join(TURNS)}")
    if isinstance(turn, ChatMessageAssistant) and turn.tool_calls:
        raise ValueError("a message calls a tool; models of flyroom know none")
    for part in () if isinstance(turn.content, str) else turn.content:
        if not isinstance(part, ContentText):
            raise ValueError(f"a message has a part of type {part.type!r}; only text is read")
    text = turn.content if isinstance(turn.content, str) else turn.text
    if has_half(text):
        raise ValueError("a message holds half a character (a lone surrogate); it must be text")
    return Message(turn.role, text)
