"""Quantisation of what was trained: the adapter's factors on a coarse grid, as adapters are served.

What is known: it is no cure, and may cost refusals (arXiv 2606.10154). The base, which all organisms share, keeps its
numbers: its quantisation is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import rounded
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class Quantise:
    """`bits` a number, the sign among them."""

    bits: int = 3

    def __post_init__(self) -> None:
        ranges.check_counts(self, bits=2)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return lambda _end: rounded(patient.patch, self.bits)
