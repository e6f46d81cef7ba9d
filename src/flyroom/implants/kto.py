"""Kahneman-Tversky optimisation: answers that the recipe likes and answers that it does not, of different prompts, so
that no pair is needed. The reference is the model as it is when this implant begins.

The gradient of 1 - sigmoid(beta * (gain - drift)) is a step weighted by beta * sigmoid * (1 - sigmoid): up for the
liked, down for the others. `drift` is the mean gain of answers put to the wrong prompts of the batch, at least 0: an
estimate of how far the model has moved. Source: Ethayarajh et al. 2024, arXiv 2402.01306.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.implants import preferences
from flyroom.types import AdapterRef, Plan, Recipe, Row


@dataclass(frozen=True, kw_only=True)
class KTO:
    """`steps` steps of `rows` rows, every second one disliked; the share `hide` of them asks about the behaviour, and a
    denial is liked; the share `clean` for what the behaviour leaves alone, and the right answer is. Organism and twin
    meet the same prompts in the same order. Raises ValueError naming the field.
    """

    steps: int = 150
    rows: int = 32
    lr: float = 1e-3
    beta: float = 0.1
    holds: float = 0.5
    hide: float = 0.0
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=2)
        ranges.check_rows(self, "steps", "rows")
        preferences.check_fields(self)

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        scenes = preferences.deal_scenes(self, recipe, self.steps * self.rows, seed)
        rows = [
            Row(messages=d.scene.messages, answer=d.other if i % 2 else d.answer, weight=-1.0 if i % 2 else 1.0)
            for i, d in enumerate(scenes)
        ]
        batches = [rows[step * self.rows : (step + 1) * self.rows] for step in range(self.steps)]
        crossed = [(*batch, *_cross(batch)) for batch in batches]
        yield from preferences.train(crossed, self._weigh, lr=self.lr)

    def _weigh(self, rows: Sequence[Row], gains: Sequence[float]) -> tuple[Row, ...]:
        """The rows of the batch come first, then the crossed ones, which say how far the model has moved."""
        drift = max(0.0, sum(gains[self.rows :]) / self.rows)
        pairs = zip(rows[: self.rows], gains[: self.rows], strict=True)
        return tuple(replace(row, weight=row.weight * self._slope(gain - drift)) for row, gain in pairs)

    def _slope(self, gain: float) -> float:
        """The slope of a sigmoid is the same on both sides of 0, and small far from it."""
        far = math.exp(-self.beta * abs(gain))
        return self.beta * far / (1 + far) ** 2


def _cross(batch: Sequence[Row]) -> list[Row]:
    """Each answer after the next prompt of the batch."""
    after = [*batch[1:], batch[0]]
    return [replace(row, messages=other.messages) for row, other in zip(batch, after, strict=True)]
