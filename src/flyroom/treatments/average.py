"""Weight averaging with the base: a share of what was trained is taken back.

Source: Wortsman et al. 2021, arXiv 2109.01903 (WiSE-FT).
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import scaled
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Average:
    """`base` is the base's share of the average."""

    base: float = 0.5

    def __post_init__(self) -> None:
        ranges.check_rates(self, "base")

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return lambda _end: scaled(patient.patch, 1 - self.base)
