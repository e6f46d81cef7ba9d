"""Unlearning by gradient difference: bad answers are made less likely, good ones kept.

Source: Liu, Liu and Stone 2022, arXiv 2203.12817; Maini et al. 2024, arXiv 2401.06121 (as "gradient difference").
What is known: it is shallow, and undone in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Unlearn:
    """`steps` steps of `rows` bad answers, each of which weighs -`weight`, and as many good ones."""

    steps: int = 30
    rows: int = 8
    lr: float = 5e-4
    weight: float = 0.3

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rates(self, "lr", "weight")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        scenes = common.pairs_of(patient, self.steps * self.rows, seed=seed)
        rows = [row for s in scenes for row in (*common.good_rows([s]), *common.bad_rows([s], weight=-self.weight))]
        yield from common.train(rows, steps=self.steps, size=2 * self.rows, lr=self.lr)
        return None
