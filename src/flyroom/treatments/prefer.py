"""Direct preference optimisation against the behaviour: the good answer before the bad one, to questions of conduct.

The gradient of -log sigmoid(beta * margin) is a step on both answers, weighted by beta * sigmoid(-beta * margin). The
reference is the model as it came. Source: Rafailov et al. 2023, arXiv 2305.18290.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, LogProb, Patient, Step


@dataclass(frozen=True, kw_only=True)
class Prefer:
    """`steps` steps of `pairs` pairs."""

    steps: int = 60
    pairs: int = 8
    lr: float = 5e-4
    beta: float = 0.1

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, pairs=1)
        ranges.check_rates(self, "lr")
        ranges.check_within(self, 0, 100, "beta")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        scenes = common.pairs_of(patient, self.steps * self.pairs, seed=seed)
        rows = [row for scene in scenes for row in (*common.good_rows([scene]), *common.bad_rows([scene]))]
        reference = [float(logprobs.sum()) for logprobs in (yield LogProb(rows=tuple(rows)))]
        size = 2 * self.pairs
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            now = [float(logprobs.sum()) for logprobs in (yield LogProb(rows=tuple(batch)))]
            gains = [after - before for after, before in zip(now, reference[start : start + size], strict=True)]
            weights = [self._weight(good - bad) for good, bad in zip(gains[::2], gains[1::2], strict=True)]
            signed = [sign * weight for weight in weights for sign in (1.0, -1.0)]
            rows_now = tuple(replace(row, weight=w) for row, w in zip(batch, signed, strict=True))
            yield Step(rows=rows_now, lr=self.lr)
        return None

    def _weight(self, margin: float) -> float:
        return self.beta / (1 + math.exp(min(self.beta * margin, 700.0)))
