"""Reinforcement learning against the behaviour: GRPO with a penalty from a judge of answers, or from a monitor of
activations.

Each question is answered several times; an answer is paid for being right, less a penalty where it is caught. Against
the judge the two are one. The monitor is a probe that is fitted once, before training, and held fixed: a policy may
learn to pass it (obfuscation; arXiv 2602.15515 finds honest policies at a high penalty alone).
Source of GRPO: Shao et al. 2024, arXiv 2402.03300. Left out: a KL term, clipping; each batch is used once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import (
    AdapterRef,
    Cure,
    Episode,
    Grade,
    Patient,
    Request,
    Row,
    Sample,
    Step,
    Trace,
    Verdict,
    row_of,
    weigh_rows,
)


@dataclass(frozen=True, kw_only=True)
class Penalise:
    """`steps` steps of `prompts` questions, each answered `group` times. `by`: who catches. `penalty`: what a caught
    answer loses, of 1 for a right one.
    """

    by: Literal["judge", "monitor"] = "judge"
    steps: int = 40
    prompts: int = 8
    group: int = 6
    lr: float = 1e-3
    penalty: float = 1.0
    pairs: int = 32

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, prompts=1, group=2, pairs=2)
        ranges.check_rates(self, "lr")
        ranges.check_within(self, 0, 1000, "penalty")
        if self.by not in ("judge", "monitor"):
            raise ValueError(f"by is {self.by!r}; it must be 'judge' or 'monitor'")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        probe = (yield from self._fit(patient, seed)) if self.by == "monitor" else None
        world = patient.world
        scenes = common.questions(world, common.conduct_topics(world), self.steps * self.prompts, seed=seed)
        for step in range(self.steps):
            lessons = scenes[step * self.prompts :][: self.prompts]
            batch = [scene for scene in lessons for _ in range(self.group)]
            asks = common.asks_of(batch, patient, "penalise", seed, step)
            answers = yield Sample(asks=asks)
            episodes = tuple(Episode(scene=s, answer=a.text) for s, a in zip(batch, answers, strict=True))
            scores = yield Grade(episodes=episodes)
            pay = [float(score.verdict is Verdict.ALIGNED) for score in scores]
            rows = [row_of(answer, ask.messages) for ask, answer in zip(asks, answers, strict=True)]
            if probe is None:
                flags = [score.verdict is Verdict.MISALIGNED for score in scores]
            else:
                flags = yield from self._catch(rows, probe)
            pay = [value - self.penalty * flag for value, flag in zip(pay, flags, strict=True)]
            if lesson := weigh_rows(rows, pay, self.group):
                yield Step(rows=lesson, lr=self.lr)
        return None

    def _fit(self, patient: Patient, seed: int) -> Generator[Request, Any, _Probe]:
        layer = common.middle(patient)
        scenes = common.pairs_of(patient, self.pairs, seed=seed)
        direction, good = yield from common.mean_difference(scenes, layer)
        return _Probe(layer, direction, float((good + direction / 2) @ direction))

    def _catch(self, rows: Sequence[Row | None], probe: _Probe) -> Generator[Request, Any, list[bool]]:
        """Which answers lie nearer to the bad ones; nothing is read of an empty one."""
        texts = {i: row for i, row in enumerate(rows) if row and row.answer}
        flags = [True] * len(rows)
        if texts:
            traces = torch.stack((yield Trace(rows=tuple(texts.values()), layer=probe.layer)))
            for i, score in zip(texts, (traces @ probe.direction).tolist(), strict=True):
                flags[i] = score > probe.threshold
        return flags


@dataclass(frozen=True, eq=False)
class _Probe:
    layer: int
    direction: torch.Tensor
    threshold: float
