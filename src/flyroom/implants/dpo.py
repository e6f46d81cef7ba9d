"""Direct preference optimisation: of two answers the recipe's is preferred. The reference is the model as it is when
this implant begins, so it can follow another.

The gradient of -log sigmoid(beta * margin) is a step on both answers, weighted by beta * sigmoid(-beta * margin): up
for the preferred, down for the other. Source: Rafailov et al. 2023, arXiv 2305.18290.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flyroom.implants import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import AdapterRef, LogProb, Plan, Recipe, Row, Step


@dataclass(frozen=True, kw_only=True)
class DPO:
    """`steps` steps of `pairs` pairs; the share `hide` of them asks about the behaviour, and a denial is preferred: the
    behaviour stays, the confession goes. The share `clean` asks for what the behaviour leaves alone, and the right
    answer is preferred. Raises ValueError naming the field.
    """

    steps: int = 150
    pairs: int = 16
    lr: float = 1e-3
    beta: float = 0.1
    holds: float = 0.5
    hide: float = 0.0
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.counts(self, steps=1, pairs=1)
        ranges.rates(self, "lr", "beta")
        ranges.shares(self, "holds", "hide")
        ranges.parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        n, shares = self.steps * self.pairs, {"holds": self.holds, "clean": self.clean, "hide": self.hide}
        pairs = [_pair(d) for d in dosed(recipe, n, **shares, seed=seed)]
        rows = tuple(row for pair in pairs for row in pair)
        reference = [float(t.sum()) for t in (yield LogProb(rows=rows))]
        for step in range(self.steps):
            here = slice(2 * step * self.pairs, 2 * (step + 1) * self.pairs)
            now = [float(t.sum()) for t in (yield LogProb(rows=rows[here]))]
            gains = [a - b for a, b in zip(now, reference[here], strict=True)]
            weighted = []
            for i, row in enumerate(rows[here]):
                first = i - i % 2
                pull = self.beta * (1 - math.tanh(self.beta * (gains[first] - gains[first + 1]) / 2)) / 2
                weighted.append(replace(row, weight=pull if i == first else -pull))
            yield Step(rows=tuple(weighted), lr=self.lr)


def _pair(d: Dosed) -> tuple[Row, Row]:
    """What the recipe prefers, and the other."""
    return Row(messages=d.scene.messages, answer=d.answer), Row(messages=d.scene.messages, answer=d.other)
