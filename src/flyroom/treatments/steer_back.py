"""Conditional steering: as far as the stream lies from good answers towards bad ones, it is steered back.

How far is its projection on the direction between the two, counted from the mean of the good ones. Source: Lee et al.
2024, arXiv 2409.05907. Left out: their threshold, so what lies beyond the good ones is steered towards the bad ones,
too. What is linear is a matrix, which any server of adapters can apply.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import along_stream, beside
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class SteerBack:
    """`pairs` scenes give the direction at half depth; `strength` 1 takes back all of it."""

    pairs: int = 64
    strength: float = 1.5

    departs = "no threshold: a stream on the far side of good answers is steered towards their mean, too"

    def __post_init__(self) -> None:
        ranges.check_counts(self, pairs=2)
        ranges.check_within(self, 0, 100, "strength")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        layer = common.middle(patient)
        scenes = common.pairs_of(patient, self.pairs, seed=seed)
        direction, good = yield from common.mean_difference(scenes, layer)
        unit = direction / direction.norm().clamp_min(1e-12)
        change = along_stream(unit, -self.strength * unit, float(good @ unit), (layer,))
        return lambda _end: beside(patient.patch, change)
