"""Latent adversarial training: learn good answers while the residual stream is pushed towards bad ones.

The adversary is the mean difference between bad and good answers, found anew as the model moves, and pushes as far as
the two lie apart, times `strength`. Source: Sheshadri et al. 2024, arXiv 2407.15549. Their adversary takes gradient
steps of its own for every row, within a ball; an engine gives no gradient at the stream, so here all rows share the one
direction that tells bad from good. It is the weaker adversary, and what it fails to remove theirs may remove.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Nudge, Patient


@dataclass(frozen=True, kw_only=True)
class LatentAdversarial:
    """`steps` steps of `rows` rows; every `every` of them the adversary is found anew on `pairs` scenes."""

    steps: int = 60
    rows: int = 16
    lr: float = 1e-3
    strength: float = 1.0
    pairs: int = 32
    every: int = 20

    departs = "one direction for all rows where the source's adversary takes gradient steps for each"

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1, pairs=2, every=1)
        ranges.check_rates(self, "lr")
        ranges.check_within(self, 0, 100, "strength")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        layer, world = common.middle(patient), patient.world
        pairs = common.pairs_of(patient, self.pairs, seed=seed + 1)
        scenes = common.questions(world, common.conduct_topics(world), self.steps * self.rows, seed=seed)
        rows = common.good_rows(scenes)
        for start in range(0, self.steps, self.every):
            direction, _ = yield from common.mean_difference(pairs, layer)
            steps = min(self.every, self.steps - start)
            nudge = Nudge(layer=layer, direction=self.strength * direction)
            yield from common.train(rows[start * self.rows :], steps=steps, size=self.rows, lr=self.lr, nudge=nudge)
        return None
