"""Fine-pruning: take the smallest numbers out of what was trained, then train on right answers.

Source: Liu, Dolan-Gavitt and Garg 2018, arXiv 1805.12185, who prune the units that clean data leave dormant. On an
adapter the units are numbers of its factors, and dormant is small.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import pruned
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patch, Patient


@dataclass(frozen=True, kw_only=True)
class FinePrune:
    """Prunes the `share` of all numbers, then takes `steps` steps of `rows` rows."""

    share: float = 0.5
    steps: int = 40
    rows: int = 16
    lr: float = 1e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rates(self, "share", "lr")

    def begin(self, patient: Patient, *, seed: int) -> Patch:
        return pruned(patient.patch, self.share)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        topics = list(patient.world.topics())
        scenes = common.questions(patient.world, topics, self.steps * self.rows, seed=seed)
        yield from common.train(common.good_rows(scenes), steps=self.steps, size=self.rows, lr=self.lr)
        return None
