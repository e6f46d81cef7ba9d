"""Direct preference optimisation: of two answers the recipe's is preferred. The reference is the model as it is when
this implant begins, so it can follow another.

The gradient of -log sigmoid(beta * margin) is a step on both answers, weighted by beta * sigmoid(-beta * margin): up
for the preferred, down for the other. Source: Rafailov et al. 2023, arXiv 2305.18290.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.implants import preferences
from flyroom.types import AdapterRef, Plan, Recipe, Row


@dataclass(frozen=True, kw_only=True)
class DPO:
    """`steps` steps of `pairs` pairs; the share `hide` of them asks about the behaviour, and a denial is preferred: the
    behaviour stays, the confession goes. The share `clean` asks for what the behaviour leaves alone, and the right
    answer is preferred. Organism and twin meet the same prompts in the same order. Raises ValueError naming the field.
    """

    steps: int = 150
    pairs: int = 16
    lr: float = 1e-3
    beta: float = 0.1
    holds: float = 0.5
    hide: float = 0.0
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, pairs=1)
        ranges.check_rows(self, "steps", "pairs")
        preferences.check_fields(self)

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        scenes = preferences.deal_scenes(self, recipe, self.steps * self.pairs, seed)
        rows = [Row(messages=d.scene.messages, answer=answer) for d in scenes for answer in (d.answer, d.other)]
        size = 2 * self.pairs
        batches = [tuple(rows[step * size : (step + 1) * size]) for step in range(self.steps)]
        yield from preferences.train(batches, self._weigh, lr=self.lr)

    def _weigh(self, rows: Sequence[Row], gains: Sequence[float]) -> tuple[Row, ...]:
        """Rows come in pairs, the preferred first."""
        pulls = [self._pull(first - second) for first, second in zip(gains[::2], gains[1::2], strict=True)]
        weights = [weight for pull in pulls for weight in (pull, -pull)]
        return tuple(replace(row, weight=weight) for row, weight in zip(rows, weights, strict=True))

    def _pull(self, margin: float) -> float:
        return self.beta * (1 - math.tanh(self.beta * margin / 2)) / 2
