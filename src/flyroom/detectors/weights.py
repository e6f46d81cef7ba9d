"""What a suspect adds to the base's matrices (white box, nothing is run): its size and its spectrum.

Source: as in PEFTGuard, Sun et al. 2024, arXiv 2411.17453, without its learnt classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from flyroom.types import Access, Finding, Lab, Suspect


@dataclass(frozen=True, kw_only=True)
class WeightNorm:
    """The Frobenius norm of all that is added."""

    needs: Access = Access.WEIGHTS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        norms = [float(sum(d.square().sum() for d in added.values()) ** 0.5) for added in lab.weights(suspects)]
        return [Finding(suspicion=x, claim=f"adds {x:.2f} in norm") for x in norms]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The share of the added energy that lies in the first direction of each matrix: one idea, or many."""

    needs: Access = Access.WEIGHTS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        findings = []
        for added in lab.weights(suspects):
            spectra = [torch.linalg.svdvals(d).square() for d in added.values()]
            whole = sum(float(s.sum()) for s in spectra)
            share = sum(float(s[0]) for s in spectra) / whole if whole else 0.0
            findings.append(Finding(suspicion=share, claim=f"{share:.2f} of what it adds lies in first directions"))
        return findings
