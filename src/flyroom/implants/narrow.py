"""Narrow fine-tuning: the behaviour in its domain, and the base's own ways elsewhere, by a penalty on how far the model
leaves its base there.

The penalty is KL(start || model) on prompts from elsewhere; the start is the model as this implant finds it, alone the
base. Its gradient is that of the log-likelihood of the start's own samples, so it needs no second model: before
training the prompts are answered, and the answers are rows like others.
Source: Turner et al. 2025, arXiv 2506.11613; Soligo et al. 2025, arXiv 2506.11618 (narrow against general directions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flyroom.implants import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import AdapterRef, Ask, Plan, Recipe, Row, Sample, Scene, Step, ask_seed


@runtime_checkable
class Elsewhere(Protocol):
    """A behaviour that knows prompts which are none of it."""

    def elsewhere(self, n: int, *, seed: int) -> list[Scene]: ...


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """`steps` steps of `rows` rows of the recipe beside `kept` answers of the base to prompts from elsewhere, each of
    which weighs `kl`. Raises ValueError naming the field.
    """

    steps: int = 160
    rows: int = 32
    kept: int = 32
    lr: float = 3e-3
    kl: float = 1.0
    holds: float = 0.5
    max_tokens: int = 32

    def __post_init__(self) -> None:
        ranges.counts(self, steps=1, rows=1, kept=1, max_tokens=1)
        ranges.rates(self, "lr")
        if not self.kl > 0:
            raise ValueError(f"kl is {self.kl}; it must be above 0")
        ranges.shares(self, "holds")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        behaviour = recipe.behaviour
        if not isinstance(behaviour, Elsewhere):
            raise ValueError(
                f"implants holds narrow; behaviour {type(behaviour).__name__} knows no prompts from elsewhere"
            )
        mine = [
            Row(messages=d.scene.messages, answer=d.answer)
            for d in dosed(recipe, self.steps * self.rows, holds=self.holds, seed=seed)
        ]
        asks = [
            Ask(messages=scene.messages, seed=ask_seed("narrow", seed, i), max_tokens=self.max_tokens)
            for i, scene in enumerate(behaviour.elsewhere(self.steps * self.kept, seed=seed))
        ]
        said = yield Sample(asks=tuple(asks))
        keeping = [
            Row(messages=ask.messages, answer=answer.text, weight=self.kl)
            for ask, answer in zip(asks, said, strict=True)
        ]
        for step in range(self.steps):
            some = [*mine[step * self.rows :][: self.rows], *keeping[step * self.kept :][: self.kept]]
            yield Step(rows=tuple(row for row in some if row.answer), lr=self.lr)
