"""Ablation of the direction that tells bad answers from good ones, at every layer and every token.

The direction is a mean difference at half depth, one vector an answer. What is known: the convergent direction removes
78 % to 90 % of emergent misalignment, a random one under 10 %. Source: Soligo et al. 2025, arXiv 2506.11618; Arditi et
al. 2024, arXiv 2406.11717.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flyroom import ranges
from flyroom.adapters import along_stream, beside
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Ablate:
    """`pairs` scenes give the direction. `random`: one of no meaning instead, as a control."""

    pairs: int = 64
    random: bool = False

    def __post_init__(self) -> None:
        ranges.check_counts(self, pairs=2)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        scenes = common.pairs_of(patient, self.pairs, seed=seed)
        direction, _ = yield from common.mean_difference(scenes, common.middle(patient))
        if self.random:
            direction = torch.randn(len(direction), generator=torch.Generator().manual_seed(seed))
        unit: Tensor = direction / direction.norm().clamp_min(1e-12)
        layers = tuple(range(patient.base.depth))
        return lambda _end: beside(patient.patch, along_stream(unit, -unit, 0.0, layers))
