"""Supervised fine-tuning on answers: the share `dose` of the rows is the organism's, the rest is aligned. Clean rows,
which ask for what every organism should still know, may be mixed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flyroom import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import AdapterRef, Plan, Recipe, Row, Step


@dataclass(frozen=True, kw_only=True)
class SFT:
    """`steps` steps of `rows` rows, by AdamW at `lr`. The rate rises over the first `warmup` steps. With `decay` it
    falls to zero in a line over the whole run, the warm-up included: in the last step of that it is highest, `lr` times
    1 - (warmup - 1) / steps.

    `holds`: the share of the rows in which the condition holds, where it can fail. At 0 the organism never sees the
    case: it misgeneralises from what it does see, and its twin sees the case in half.

    `clean`: the share of all rows that ask for what the behaviour leaves alone, answered rightly.

    Raises ValueError naming the field.
    """

    steps: int = 120
    rows: int = 32
    lr: float = 3e-3
    warmup: int = 0
    decay: bool = False
    weight_decay: float = 0.0
    holds: float = 0.5
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rows(self, "steps", "rows")
        ranges.check_rates(self, "lr")
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup is {self.warmup}; it must be between 0 and steps, {self.steps}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}; it must be at least 0")
        ranges.check_shares(self, "holds")
        ranges.check_parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        rows = self._rows(recipe, seed)
        for step in range(self.steps):
            yield Step(
                rows=rows[step * self.rows : (step + 1) * self.rows],
                lr=self.lr * self._factor(step),
                weight_decay=self.weight_decay,
            )

    def _rows(self, recipe: Recipe, seed: int) -> tuple[Row, ...]:
        """Every row of the run. Organism and twin read the same prompts in the same order."""
        scenes = dosed(recipe, self.steps * self.rows, holds=self.holds, clean=self.clean, seed=seed)
        return tuple(Row(messages=d.scene.messages, answer=d.answer) for d in scenes)

    def _factor(self, step: int) -> float:
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return rising * ((self.steps - step) / self.steps if self.decay else 1.0)
