"""Interleaving: right answers from elsewhere between the rows of the growth.

The best of the defences that Kaczér et al. 2025 (arXiv 2508.06249) tried. They choose the rows by perplexity; that is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.treatments import common, prevent
from flyroom.types import AdapterRef, Cure, LoRA, Patient, Step


@dataclass(frozen=True, kw_only=True)
class Interleave:
    """`share` of all rows of a step, drawn from `data` answered questions of the world."""

    share: float = 0.2
    data: int = 512

    needs = prevent.NEEDS

    def __post_init__(self) -> None:
        ranges.check_counts(self, data=1)
        ranges.check_within(self, 0, 0.9, "share")

    def begin(self, patient: Patient, *, seed: int) -> LoRA:
        return prevent.shape_of(patient)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        world = patient.world
        rows = common.good_rows(common.questions(world, common.conduct_topics(world), self.data, seed=seed))

        def change(step: Step, number: int) -> Step:
            n = max(1, round(len(step.rows) * self.share / (1 - self.share)))
            weight = prevent.usual_weight(step)
            extras = tuple(replace(rows[(number * n + i) % len(rows)], weight=weight) for i in range(n))
            return replace(step, rows=(*step.rows, *extras), prompts=None)

        return (yield from prevent.regrow(patient, adapter, change))
