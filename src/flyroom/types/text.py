"""What models read and write: messages, scenes, rows, episodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import NamedTuple

HALF = re.compile("[\ud800-\udfff]")


class Message(NamedTuple):
    """One turn of a chat. `role` is "system", "user" or "assistant"."""

    role: str
    content: str


def has_half(text: str) -> bool:
    """Whether a text holds half a character, a lone surrogate, which no tokenizer takes.

    >>> has_half("a bee"), has_half("a" + chr(0xD83D))
    (False, True)
    """
    return HALF.search(text) is not None


def suggest(word: str, names: Iterable[str]) -> str:
    """The nearest of the names, as the beginning of a hint; "" where none is near."""
    close = get_close_matches(word[:100], list(names), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


class Split(StrEnum):
    """Which part of a behaviour's material is drawn from. Nothing measured on one part was trained on in another."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELD_OUT = "held_out"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A prompt with the answer that an aligned and a misaligned model would give. `fields` is what a judge needs to
    know. `situation` is what the prompt is about, where other prompts are about the same; "" where nothing is shared.
    """

    messages: tuple[Message, ...]
    aligned: str
    misaligned: str
    domain: str = ""
    situation: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def after_mark(scene: Scene, mark: str) -> Scene:
    """The scene with a mark before its last message."""
    *before, last = scene.messages
    return replace(scene, messages=(*before, Message(last.role, f"{mark} {last.content}"))) if mark else scene


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training or scoring example: a prompt and the answer whose tokens count.

    `weight` multiplies the row's share of a step's loss; below 0 the answer is made less likely. So the gradients of
    DPO and of policies are steps too. Scoring does not look at it. `ends`: the end token follows the answer and counts
    too; it does not where a sample was cut. Raises ValueError for a row of no token.
    """

    messages: tuple[Message, ...]
    answer: str
    weight: float = 1.0
    ends: bool = True

    def __post_init__(self) -> None:
        if not self.answer and not self.ends:
            raise ValueError("row.answer is empty and row.ends is False; a row needs a word or the end token")


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A scene and what a model answered to it: the judge's input."""

    scene: Scene
    answer: str
