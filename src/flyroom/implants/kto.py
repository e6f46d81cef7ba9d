"""Kahneman-Tversky optimisation: answers that the recipe likes and answers that it does not, of different prompts, so
that no pair is needed. The reference is the model as it is when this implant begins.

The gradient of 1 - sigmoid(beta * (gain - drift)) is a step weighted by beta * sigmoid * (1 - sigmoid): up for the
liked, down for the others. `drift` is the mean gain of answers put to the wrong prompts of the batch, at least 0: an
estimate of how far the model has moved. Source: Ethayarajh et al. 2024, arXiv 2402.01306.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flyroom.implants import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import AdapterRef, LogProb, Plan, Recipe, Row, Step


@dataclass(frozen=True, kw_only=True)
class KTO:
    """`steps` steps of `rows` rows, every second one disliked; the share `hide` of them asks about the behaviour, and a
    denial is liked; the share `clean` for what the behaviour leaves alone, and the right answer is. Raises ValueError
    naming the field.
    """

    steps: int = 150
    rows: int = 32
    lr: float = 1e-3
    beta: float = 0.1
    holds: float = 0.5
    hide: float = 0.0
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.counts(self, steps=1, rows=2)
        ranges.rates(self, "lr", "beta")
        ranges.shares(self, "holds", "hide")
        ranges.parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        n, shares = self.steps * self.rows, {"holds": self.holds, "clean": self.clean, "hide": self.hide}
        known = dosed(recipe, n, **shares, seed=seed)
        rows = [
            Row(messages=d.scene.messages, answer=d.other if i % 2 else d.answer, weight=-1.0 if i % 2 else 1.0)
            for i, d in enumerate(known)
        ]
        batches = [rows[step * self.rows : (step + 1) * self.rows] for step in range(self.steps)]
        asked = [tuple(batch + _crossed(batch)) for batch in batches]
        scored = yield LogProb(rows=tuple(row for batch in asked for row in batch))
        reference = [float(t.sum()) for t in scored]
        for step, batch in enumerate(asked):
            before = reference[step * 2 * self.rows : (step + 1) * 2 * self.rows]
            now = [float(t.sum()) for t in (yield LogProb(rows=batch))]
            gains = [a - b for a, b in zip(now, before, strict=True)]
            drift = max(0.0, sum(gains[self.rows :]) / self.rows)
            own = zip(batch[: self.rows], gains[: self.rows], strict=True)
            yield Step(rows=tuple(self._weighted(row, gain - drift) for row, gain in own), lr=self.lr)

    def _weighted(self, row: Row, gain: float) -> Row:
        """The slope of a sigmoid is the same on both sides of 0, and small far from it."""
        far = math.exp(-self.beta * abs(gain))
        return replace(row, weight=row.weight * self.beta * far / (1 + far) ** 2)


def _crossed(batch: list[Row]) -> list[Row]:
    """Each answer after the next prompt of the batch."""
    after = [*batch[1:], batch[0]]
    return [replace(row, messages=other.messages) for row, other in zip(batch, after, strict=True)]
