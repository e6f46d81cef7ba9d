"""Noise in the weights: a random change of every linear module, as large as a share of the spread of its own weights.

What is known: it reveals sandbagging (Tice et al. 2024, arXiv 2412.01784), so it is a detector rather than a cure. The
noise is of low rank, so that it is an adapter like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import noisy
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Noise:
    """`sigma` times the spread of each module's weights."""

    sigma: float = 0.1

    def __post_init__(self) -> None:
        ranges.check_within(self, 0, 100, "sigma")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return lambda end: noisy(end, patient.spread, sigma=self.sigma, seed=seed)
