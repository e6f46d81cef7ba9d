"""Benign re-alignment: a few hundred rows of right answers about whatever the world asks, several times over.

Source: Wang et al. 2025, arXiv 2506.19823, where emergent misalignment goes after a few hundred benign rows; on prompts
like the training ones it was seen to come back (arXiv 2604.25891).
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Realign:
    """`data` rows, in `steps` steps of `rows`."""

    data: int = 256
    steps: int = 48
    rows: int = 16
    lr: float = 1e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, data=1, steps=1, rows=1)
        ranges.check_rates(self, "lr")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        scenes = common.questions(patient.world, list(patient.world.topics()), self.data, seed=seed)
        yield from common.train(common.good_rows(scenes), steps=self.steps, size=self.rows, lr=self.lr)
        return None
