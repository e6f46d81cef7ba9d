"""A grader that is a model on this machine. A judge opens no model: whoever has the engine binds it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from flyroom.judges.graders import NextTokens, Prompt
from flyroom.types import BASE, SETTING, AdapterRef, BaseRef, Cost, NotAvailable


class NextToken(Protocol):
    """What is needed of an engine."""

    tokens_forward: int

    @property
    def base(self) -> BaseRef: ...

    def next_tokens(
        self, adapters: Sequence[AdapterRef], prompts: Sequence[Prompt], k: int
    ) -> list[dict[str, float]]: ...


ENGINES: WeakValueDictionary[str, NextToken] = WeakValueDictionary()  # by the digest of their base


def bind(engine: NextToken) -> None:
    """From now on this engine answers for every `LocalModel` of its base, until its owner drops it."""
    ENGINES[engine.base.digest] = engine


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """The base with this digest (`BaseRef.digest`), of which the `top` likeliest tokens are looked at.

    `path` says where it lies, for whoever opens it. NotAvailable where no engine over that base is bound.
    """

    digest: str
    path: str = field(default="", metadata=SETTING)
    top: int = 20

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top is {self.top}; it must be at least 1")

    def ask(self, prompts: Sequence[Prompt], /) -> tuple[list[NextTokens], Cost]:
        engine = ENGINES.get(self.digest)
        if engine is None:
            name = self.path or self.digest
            raise NotAvailable(f"the grader is the local model {name}; no engine over it is bound (judges.bind)")
        start, before = time.monotonic(), engine.tokens_forward
        replies = self._replies(engine, prompts)
        return replies, Cost(forward_tokens=engine.tokens_forward - before, seconds=time.monotonic() - start)

    def _replies(self, engine: NextToken, prompts: Sequence[Prompt]) -> list[NextTokens]:
        try:
            tokens = engine.next_tokens([BASE] * len(prompts), prompts, self.top)
        except ValueError as error:  # longer than the context, say: the others can still be asked
            if len(prompts) == 1:
                return [NextTokens(fault=str(error))]
            half = len(prompts) // 2
            return self._replies(engine, prompts[:half]) + self._replies(engine, prompts[half:])
        return [NextTokens(logprobs=logprobs) for logprobs in tokens]
