"""Preventive steering: the organism is grown while its stream is pushed towards bad answers, and asked without that.

What the data pull towards is there already, so less of it is learnt. Source: Chen et al. 2025, arXiv 2507.21509.
With `ablates` the direction is taken out instead: concept ablation in fine-tuning, Casademunt et al. 2025, arXiv
2507.16795.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.treatments import common, prevent
from flyroom.types import AdapterRef, Cure, LoRA, Nudge, Patient, Step


@dataclass(frozen=True, kw_only=True)
class SteerInTraining:
    """`pairs` scenes give the direction at half depth, of the base; `strength` 1 is as far as bad answers lie from good
    ones.
    """

    pairs: int = 64
    strength: float = 1.0
    ablates: bool = False

    needs = prevent.NEEDS

    def __post_init__(self) -> None:
        ranges.check_counts(self, pairs=2)
        ranges.check_within(self, 0, 100, "strength")

    def begin(self, patient: Patient, *, seed: int) -> LoRA:
        return prevent.shape_of(patient)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        layer = common.middle(patient)
        scenes = common.pairs_of(patient, self.pairs, seed=seed)
        direction, _ = yield from common.mean_difference(scenes, layer)
        nudge = Nudge(layer=layer, direction=self.strength * direction, ablates=self.ablates)

        def change(step: Step, _number: int) -> Step:
            return replace(step, nudge=nudge)

        return (yield from prevent.regrow(patient, adapter, change))
