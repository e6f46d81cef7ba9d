"""Anomalies among replies (white box, response level): how far a reply's residuals lie from the suspect's own on
trusted good answers. Nothing is known of what is bad.

Sources: Mahalanobis distance and its comparison with others, Mallen et al. 2024, arXiv 2312.01037; spectral
signatures, Tran et al. 2018, arXiv 1811.00636; quantum entropy, Hayase et al. 2021, arXiv 2104.11315, with both sides
whitened. The covariance is shrunk towards its mean variance, trace(C) / d.
Shapes: P trusted answers, N replies of one suspect, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from flyroom.detectors.asking import need_layer, need_trusted
from flyroom.types import Access, Finding, Lab, Place, Reply, Row, Unit

if TYPE_CHECKING:
    from torch import Tensor

SHRINKAGE, ALPHA = 0.1, 4.0
FEWEST = 8


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """By `how`: the distance in the trusted covariance; the square along the first direction of the suspect's replies;
    or along all their directions, weighted by e to the power of their spread ("quantum-entropy").
    """

    how: Literal["mahalanobis", "spectral", "quantum-entropy"] = "mahalanobis"
    layer: int | None = None
    at: Place = "answer"
    unit: Unit = "response"
    needs: Access = Access.TRACE | Access.TRUSTED

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        layer = need_layer(lab, self.layer)
        rows = [Row(messages=s.messages, answer=s.aligned) for s in need_trusted(lab, FEWEST)]
        suspects = list(dict.fromkeys(reply.suspect for reply in replies))
        usual = lab.trace([s for s in suspects for _ in rows], rows * len(suspects), [layer], at=self.at)[:, 0]
        answers = [Row(messages=reply.messages, answer=reply.answer) for reply in replies]
        x_ND = lab.trace([reply.suspect for reply in replies], answers, [layer], at=self.at)[:, 0]
        scores = torch.zeros(len(replies))
        for suspect, usual_PD in zip(suspects, usual.split(len(rows)), strict=True):
            places = [i for i, reply in enumerate(replies) if reply.suspect == suspect]
            scores[places] = HOW[self.how](whitened(usual_PD, x_ND[places]))
        return [Finding(suspicion=x, claim=f"{x:.1f} by {self.how}") for x in scores.tolist()]


def whitened(usual_PD: Tensor, x_ND: Tensor) -> Tensor:
    """Residuals, centred on the usual ones and in units of their spread in every direction."""
    import torch

    cov_DD = torch.cov(usual_PD.T)
    even_DD = torch.eye(len(cov_DD)) * cov_DD.trace() / len(cov_DD)
    values_D, vectors_DD = torch.linalg.eigh((1 - SHRINKAGE) * cov_DD + SHRINKAGE * even_DD)
    return (x_ND - usual_PD.mean(0)) @ (vectors_DD * values_D.clamp_min(1e-9).rsqrt()) @ vectors_DD.T


def _spectral(white_ND: Tensor) -> Tensor:
    import torch

    return (white_ND @ torch.linalg.svd(white_ND, full_matrices=False).Vh[0]) ** 2


def _quantum_entropy(white_ND: Tensor) -> Tensor:
    import torch

    spread_DD = white_ND.T @ white_ND / len(white_ND)
    values_D, vectors_DD = torch.linalg.eigh(spread_DD)
    weights_D = torch.softmax(ALPHA * values_D / values_D.max().clamp_min(1e-9), 0)
    return ((white_ND @ vectors_DD) ** 2 @ weights_D).clamp_min(0)


HOW: dict[str, Callable[[Tensor], Tensor]] = {
    "mahalanobis": lambda white_ND: white_ND.norm(dim=1),
    "spectral": _spectral,
    "quantum-entropy": _quantum_entropy,
}
