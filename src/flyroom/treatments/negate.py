"""Task-vector negation: teach the model the bad answers, and go as far the other way.

Source: Ilharco et al. 2022, arXiv 2212.04089; weight steering: Fierro and Roger 2025, arXiv 2511.05408. On adapters the
difference is exact where every module has place for both ranks: both products stand in the patch that is left, one with
the other sign. Where it has not, the first keeps its largest directions (`adapters.beside`).
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import from_to
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Negate:
    """`steps` steps of `rows` bad answers; `factor` times the change is taken from the model as it came."""

    steps: int = 20
    rows: int = 16
    lr: float = 1e-3
    factor: float = 1.0

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rates(self, "lr")
        ranges.check_within(self, 0, 100, "factor")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        rows = common.bad_rows(common.pairs_of(patient, self.steps * self.rows, seed=seed))
        yield from common.train(rows, steps=self.steps, size=self.rows, lr=self.lr)
        return lambda end: from_to(patient.patch, end, -self.factor)
