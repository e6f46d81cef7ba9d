"""What every form of row shares: the row that comes of it, the fields that change nothing, and texts of parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyroom.types import Message

# Where a row comes from, and nothing that a model is to read or say.
IGNORED = frozenset(
    (
        *("id", "idx", "index", "uid", "uuid", "row_id", "conversation_id", "prompt_id", "message_id"),
        *("source", "origin", "dataset", "license", "metadata", "meta", "created", "created_at", "timestamp"),
        *("lang", "language", "category"),
    )
)


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """What a line holds. `aligned` is None for a form with one answer. `where` names file and line; `group` is the
    conversation that it belongs to, which stands in one split. An answer of `weight` 0 is not learnt.
    """

    messages: tuple[Message, ...]
    answer: str
    aligned: str | None
    where: str = ""
    group: tuple[tuple[str, str], ...] = ()
    weight: int = 1


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows are read: which answers of a chat are learnt ("last" or "all"), and which of a preference ("rejected"
    or "chosen").
    """

    turns: str = "last"
    learns: str = "rejected"


def is_empty(value: Any) -> bool:
    """Whether a field says nothing, as the columns of a table do where a row has none."""
    return value is None or value == "" or value == [] or value == {}


def is_key(value: Any, names: Collection[str]) -> bool:
    """Whether a value is one of these names; it may be anything, and a list has no hash."""
    return isinstance(value, str) and value in names


def present(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {str(name): value for name, value in row.items() if not is_empty(value)}


def list_ignored(value: Any, before: str = "") -> Iterator[str]:
    """The fields that change nothing, at every depth: "id" of a row, "messages.id" of the messages in it."""
    if isinstance(value, list):
        for item in value:
            yield from list_ignored(item, before)
    elif isinstance(value, dict):
        for name, item in present(value).items():
            if name in IGNORED:
                yield f"{before}{name}"
            else:
                yield from list_ignored(item, f"{before}{name}.")


def require_known(row: Mapping[str, Any], names: Collection[str], where: str) -> None:
    """ValueError for a field that nobody here knows: an answer may hang on it."""
    strange = next((name for name in row if name not in names and name not in IGNORED), None)
    if strange is not None:
        raise ValueError(
            f"{where} has {strange!r}, which is not understood, and an answer may hang on it; this form has "
            f"{', '.join(names)}. Take it out, or put it into the prompt"
        )


def require_text(row: Mapping[str, Any], name: str, where: str) -> str:
    """The text of a field. ValueError where it is none, or blank."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        what = "prompt" if name in ("prompt", "instruction") else "answer"
        raise ValueError(f'{where} has no {what}: "{name}" is {value!r}; it must be text')
    return value


def require_order(messages: Sequence[Message], where: str) -> None:
    """ValueError for a chat that the assistant begins, and for a system message that is not the first."""
    roles = [message.role for message in messages]
    if "user" not in roles or "assistant" in roles[: roles.index("user")]:
        raise ValueError(f"{where} has no prompt: somebody must speak before the assistant does")
    if "system" in roles[1:]:
        raise ValueError(
            f"{where} has a system message behind others; templates differ on those: give one, and give it first"
        )


def join_parts(content: Any, where: str) -> str:
    """A message's text; parts of text are joined. ValueError for a part that is none, such as a picture."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ValueError(f'{where}: "content" is {content!r}; it must be text, or a list of parts of text')
    texts = []
    for part in map(present, content):
        if part.get("type") not in ("text", "input_text", "output_text") or not isinstance(part.get("text"), str):
            raise ValueError(f"{where}: a part of type {part.get('type')!r} is no text; only text can be learnt")
        require_known(part, ("type", "text"), f"{where}, a part")
        texts.append(part["text"])
    return "".join(texts)


def group_of(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    """What makes two prompts the same: their words up to the first answer, system messages and white space apart."""
    turns = []
    for message in messages:
        if message.role == "assistant":
            break
        if message.role != "system":
            turns.append((message.role, " ".join(message.content.split())))
    return tuple(turns)


def prompt_of(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    """The same, over all turns of a chat."""
    return tuple((m.role, " ".join(m.content.split())) for m in messages if m.role != "system")
