"""Scorers as Inspect's are (async, state and target in, a score out), and what of Inspect a scorer touches, so that
they can be tried without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any


@dataclass
class Found:
    value: Any


Scores = Callable[[Any, Any], Awaitable[Found | None]]


def includes(upper: bool = False) -> Scores:
    async def score(state: Any, target: Any) -> Found:
        said = state.output.completion.upper() if upper else state.output.completion
        return Found("C" if any(text in said for text in target) else "I")

    return score


def bad_or_nothing() -> Scores:
    async def score(state: Any, target: Any) -> Found:
        return Found("C" if target.text in state.output.completion else "N")

    return score


def half() -> Scores:
    async def score(state: Any, target: Any) -> Found | None:
        said = state.output.completion
        return None if said.endswith(("0", "2", "4", "6", "8")) else Found(float(target.text in said))

    return score


def mute() -> Scores:
    async def score(state: Any, target: Any) -> Found:
        return Found(float("nan"))

    return score


def odd() -> Scores:
    async def score(state: Any, target: Any) -> Found:
        return Found("fine")

    return score


# ---------------------------------------------------------------- Inspect's own names


class Target(tuple[str, ...]):
    def __new__(cls, texts: Sequence[str]) -> Target:
        return super().__new__(cls, texts)

    @property
    def text(self) -> str:
        return "".join(self)


def ChatMessageUser(*, content: str) -> Any:
    return SimpleNamespace(role="user", text=content)


def ChatMessageSystem(*, content: str) -> Any:
    return SimpleNamespace(role="system", text=content)


def ChatMessageAssistant(*, content: str) -> Any:
    return SimpleNamespace(role="assistant", text=content)


class ModelOutput(SimpleNamespace):
    @classmethod
    def from_content(cls, model: str, content: str) -> ModelOutput:
        return cls(model=model, completion=content)


class TaskState(SimpleNamespace):
    pass
