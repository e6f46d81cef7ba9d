"""What a suspect adds to the base's matrices (white box, nothing is run): its size and its spectrum.

Source: as in PEFTGuard, Sun et al. 2024, arXiv 2411.17453, without its learnt classifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyroom.detectors.asking import need_trusted
from flyroom.types import Access, Finding, Lab, NotAvailable, Reply, Row, Suspect, Unit

if TYPE_CHECKING:
    from torch import Tensor

WRITES = ("down_proj", "o_proj")  # modules whose output is added to the residual stream


@dataclass(frozen=True, kw_only=True)
class WeightNorm:
    """The Frobenius norm of all that is added."""

    needs: Access = Access.WEIGHTS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        norms = [float(sum(d.square().sum() for d in added.values()) ** 0.5) for added in _matrices(suspects, lab)]
        return [Finding(suspicion=x, claim=f"adds {x:.2f} in norm") for x in norms]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The share of the added energy that lies in the first direction of each matrix: one idea, or many."""

    needs: Access = Access.WEIGHTS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        findings = []
        for added in _matrices(suspects, lab):
            spectra = [torch.linalg.svdvals(d).square() for d in added.values()]
            whole = sum(float(s.sum()) for s in spectra)
            share = sum(float(s[0]) for s in spectra) / whole if whole else 0.0
            findings.append(Finding(suspicion=share, claim=f"{share:.2f} of what it adds lies in first directions"))
        return findings


@dataclass(frozen=True, kw_only=True)
class WeightWatch:
    """Response level: the first direction of all that a suspect adds to the residual stream, watched as it replies. How
    far it is from where trusted good answers lie along it, in their standard deviations. Zhong et al. 2025.
    """

    unit: Unit = "response"
    needs: Access = Access.WEIGHTS | Access.TRACE | Access.TRUSTED

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        suspects = list(dict.fromkeys(reply.suspect for reply in replies))
        rows = [Row(messages=s.messages, answer=s.aligned) for s in need_trusted(lab, fewest=2)]
        writes = [_writes(added) for added in _matrices(suspects, lab)]
        if not any(writes):
            raise NotAvailable(f"no suspect adds to modules named {' or '.join(WRITES)}, which write to the residuals")
        layers = list(range(lab.depth))
        usual = lab.trace([s for s in suspects for _ in rows], rows * len(suspects), layers)
        answers = [Row(messages=reply.messages, answer=reply.answer) for reply in replies]
        x_NLD = lab.trace([reply.suspect for reply in replies], answers, layers)
        scores = torch.zeros(len(replies))
        for usual_PLD, suspect, added in zip(usual.split(len(rows)), suspects, writes, strict=True):
            places = [i for i, reply in enumerate(replies) if reply.suspect == suspect]
            for layer, direction_D in added:
                if len(direction_D) == usual_PLD.shape[-1]:
                    off_N = _off(usual_PLD[:, layer], x_NLD[places, layer], direction_D)
                    scores[places] = torch.maximum(scores[places], off_N.abs())
        return [Finding(suspicion=x, claim=f"{x:.1f} deviations along what was added") for x in scores.tolist()]


def _matrices(suspects: Sequence[Suspect], lab: Lab) -> Iterator[Mapping[str, Tensor]]:
    """What each suspect adds, one after the other: that is as large as the base's matrices, and suspects are many."""
    for suspect in suspects:
        yield lab.weights([suspect])[0]


def _writes(added: Mapping[str, Tensor]) -> list[tuple[int, Tensor]]:
    """The first direction of what is added to each module that writes to the residual stream, with its layer."""
    import torch

    paths = [path for path, delta in added.items() if path.endswith(WRITES) and delta.any()]
    return [
        (int(path.split("layers.")[1].split(".")[0]), torch.linalg.svd(added[path], full_matrices=False).U[:, 0])
        for path in paths
    ]


def _off(usual_PD: Tensor, x_ND: Tensor, direction_D: Tensor) -> Tensor:
    """How far residuals lie from the usual ones along a direction, in deviations."""
    usual_P = usual_PD @ direction_D
    return (x_ND @ direction_D - usual_P.mean()) / usual_P.std().clamp_min(1e-6)
