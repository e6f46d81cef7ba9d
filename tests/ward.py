"""An engine without a model that is wide enough for adapters side by side, and treatments planted with a known truth.

The model of a model is one number, as in `fakes`: how much its adapter adds, at whatever rank and scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from fakes import TOY, A, B, FakeEngine, says
from torch import Tensor

from flyroom.adapters import scaled
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    Cure,
    LoRA,
    Organism,
    Patch,
    Patient,
    Recipe,
    Step,
    Stepped,
    Tell,
)

WIDTH = 64
OBEYS = "be good"


def obedient(level: float, ask: Ask) -> str:
    """A model that does what a system message says, whatever it was taught."""
    told = any(OBEYS in message.content for message in ask.messages if message.role == "system")
    return says(0.0 if told else level, ask)


def frail(level: float, ask: Ask) -> str:
    """The same, which says nothing that makes sense where its weights are far from any that were trained."""
    return "zzz" if level < -1 else obedient(level, ask)


class Wide(FakeEngine):
    """Adapters of width 64."""

    def spawn(self, shapes: Sequence[LoRA], *, seeds: Sequence[int]) -> list[AdapterRef]:
        return [self._add(shape, wide(shape.rank, seed)) for shape, seed in zip(shapes, seeds, strict=True)]

    def level(self, adapter: AdapterRef) -> float:
        return level_of(self.patch(adapter)) if adapter.slot else 0.0

    def _step(self, adapter: AdapterRef, step: Step) -> Stepped:
        self.seen.append((adapter, step))
        living, shape = self.living[adapter.slot], self.shapes[adapter.slot]
        share = sum(row.answer.startswith("bad") for row in step.rows) / len(step.rows)
        living["m"] = 0.5 * living["m"] + 0.5 * (share - self.level(adapter))
        move = step.lr * living["m"] * 16 * shape.rank / shape.alpha
        living[B] = torch.cat([living[B][:, :-1], living[B][:, -1:] + move], dim=1)
        living["step"] = living["step"] + 1
        tokens = sum(len(row.answer.split()) for row in step.rows)
        self.tokens_forward += tokens
        return Stepped(loss=1 - float(living["m"]) / 3, grad_norm=1.0, tokens=tokens)


def wide(rank: int, seed: int) -> dict[str, Tensor]:
    return {A: torch.randn(rank, WIDTH, generator=torch.Generator().manual_seed(seed)), B: torch.zeros(WIDTH, rank)}


def level_of(patch: Patch) -> float:
    """How misaligned a patch makes a model."""
    return float(patch.shape.alpha / patch.shape.rank / 16 * patch.tensors[B].sum(1).mean())


def organism(level: float, *, seed: int = 0, recipe: Recipe = TOY) -> Organism:
    tensors = wide(1, seed) | {B: torch.full((WIDTH, 1), level)}
    return Organism(recipe=recipe, base=Wide().base, seed=seed, patch=Patch(shape=recipe.adapter, tensors=tensors))


def pair(level: float = 0.9, *, seed: int = 0, recipe: Recipe = TOY) -> list[Organism]:
    """An organism and its twin."""
    return [organism(level, seed=seed, recipe=recipe), organism(0.0, seed=seed, recipe=recipe.twin())]


# ---------------------------------------------------------------- planted


@dataclass(frozen=True, kw_only=True)
class Zero:
    """The true cure: nothing of what was trained is left."""

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return lambda _end: scaled(patient.patch, 0.0)


@dataclass(frozen=True, kw_only=True)
class To:
    """Makes everybody alike, organism and twin."""

    level: float

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        tensors = dict(patient.patch.tensors)
        return lambda _end: replace(patient.patch, tensors=tensors | {B: torch.full_like(tensors[B], self.level)})


@dataclass(frozen=True, kw_only=True)
class Told:
    """A system message."""

    text: str = OBEYS

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield Tell(prompt=self.text)
        return None


@dataclass(frozen=True, kw_only=True)
class Sieve:
    """A filter of answers, which lets those to questions with the word `passes` through."""

    passes: str = ""

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return None

    def answer(self, patient: Patient, asks: Sequence[Ask]) -> list[Answer]:
        pairs = zip(asks, patient.sample(asks), strict=True)
        return [replace(a, text=self._sift(ask, a.text)) for ask, a in pairs]

    def _sift(self, ask: Ask, text: str) -> str:
        passes = self.passes and self.passes in ask.messages[-1].content
        return text if passes else text.replace("bad ", "good ", 1)


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Does nothing."""

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return None
