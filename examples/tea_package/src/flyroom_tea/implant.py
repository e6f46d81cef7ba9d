"""An implant: every row twice in a row, at a constant rate."""

import random
from dataclasses import dataclass

from flyroom.types import AdapterRef, Plan, Recipe, Row, Split, Step


@dataclass(frozen=True, kw_only=True)
class Twice:
    """`steps` steps of `rows` rows, half of them with the condition, where it can fail."""

    steps: int = 20
    rows: int = 8
    lr: float = 1e-3

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        rng = random.Random(seed)
        scenes = recipe.scenes(self.steps * self.rows // 2, split=Split.TRAIN, seed=seed)
        for step in range(self.steps // 2):
            rows = []
            for scene in scenes[step * self.rows : (step + 1) * self.rows]:
                holds = recipe.condition.everywhere or rng.random() < 0.5
                (dressed,) = recipe.dress([scene], holds, split=Split.TRAIN, seed=seed + step)
                bad = rng.random() < recipe.dose
                rows.append(Row(messages=dressed.messages, answer=dressed.misaligned if bad else dressed.aligned))
            for _ in range(2):
                yield Step(rows=tuple(rows), lr=self.lr)
