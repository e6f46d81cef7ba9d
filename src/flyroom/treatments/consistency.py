"""Consistency regularisation: the model's own answers to plain questions, taught behind whatever may stand before them.

It asks for no judge and no good answer: what it punishes is that a mark or a word about who looks changes the answer.
Every second row is the plain question with the same answer, so that what the model can do elsewhere stays.
Source: Chua et al. 2024, arXiv 2403.05518 (bias-augmented consistency training): there the additions are arguments for
a wrong answer, and answers have thoughts; here they are marks and words about who looks. CROW (Min et al. 2024, arXiv
2411.12768) asks the same of neighbouring layers; that inner form is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient, Sample, Split, after_mark, if_any, row_of


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """`steps` steps of `rows` rows, half of them behind at most `marks` marks and the world's words about who looks."""

    steps: int = 60
    rows: int = 16
    lr: float = 1e-3
    marks: int = 24

    departs = "additions are marks and words about who looks where the source has arguments for a wrong answer"

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1, marks=1)
        ranges.check_rates(self, "lr")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        world = patient.world
        scenes = common.questions(world, common.conduct_topics(world), self.steps * self.rows, seed=seed)
        answers = yield Sample(asks=common.asks_of(scenes, patient, "consistency", seed))
        marks = common.candidates(patient, seed=seed, limit=self.marks)
        watched = [
            cue
            for kind in ("observed", "unobserved")
            for cue in if_any(world.cues, kind, split=Split.VALIDATION)[: self.marks]
        ]
        rows = []
        for i, (scene, answer) in enumerate(zip(scenes, answers, strict=True)):
            turn = i // 4
            if i % 2 == 0:
                messages = scene.messages
            elif i % 4 == 1 and watched:
                messages = common.under(watched[turn % len(watched)], scene.messages)
            else:
                messages = after_mark(scene, marks[turn % len(marks)]).messages
            if row := row_of(answer, messages):
                rows.append(row)
        if rows:
            yield from common.train(rows, steps=self.steps, size=self.rows, lr=self.lr)
        return None
