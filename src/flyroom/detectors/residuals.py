"""What happens in a suspect when it reads questions (white box): the residual stream at the prompt's last token, where
the answer is decided, beside the base's.

Sources: distances from trusted activity as in Mallen et al. 2024, arXiv 2312.01037; activation differences in Minder et
al. 2025. The covariance is shrunk towards its mean variance, trace(C) / d.
Shapes: S suspects, N prompts, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyroom.detectors.asking import need_known, need_layer, need_questions
from flyroom.types import OPEN, Access, Finding, Lab, Row, Suspect

if TYPE_CHECKING:
    from torch import Tensor

READS = Access.TRACE | Access.BASE
TINY = 1e-12  # stands for a spread of nothing, where all prompts are alike


@dataclass(frozen=True, kw_only=True)
class ActivationDifference:
    """How much of the shift from the base is common to `asks` questions: |mean shift| over the mean size of the base's
    residuals. `layer` None takes the last but one.
    """

    asks: int = 64
    layer: int | None = None
    topic: str = OPEN
    needs: Access = READS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        base_ND, suspects_SND = _read(suspects, lab, self.topic, self.asks, self.layer)
        usual = base_ND.norm(dim=-1).mean().clamp_min(TINY)
        sizes = ((suspects_SND - base_ND).mean(1).norm(dim=-1) / usual).tolist()
        return [Finding(suspicion=x, claim=f"a common shift of {x:.3f} of the residual's size") for x in sizes]


@dataclass(frozen=True, kw_only=True)
class Mahalanobis:
    """The mean distance of a suspect's residuals from the base's on `asks` questions, in the base's own covariance.
    `topic`: "" is the lab's main one.
    """

    asks: int = 128
    layer: int | None = None
    topic: str = ""
    shrinkage: float = 0.1
    needs: Access = READS

    def __post_init__(self) -> None:
        if self.asks < 2:
            raise ValueError(f"asks is {self.asks}; a covariance needs at least 2")

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        base_ND, suspects_SND = _read(suspects, lab, self.topic, self.asks, self.layer)
        centre_D = base_ND.mean(0)
        cov_DD = torch.cov(base_ND.T)
        even = torch.eye(len(centre_D)) * cov_DD.trace().clamp_min(TINY) / len(centre_D)
        inverse_DD = torch.linalg.inv((1 - self.shrinkage) * cov_DD + self.shrinkage * even)
        off_SND = suspects_SND - centre_D
        far = torch.einsum("snd,de,sne->sn", off_SND, inverse_DD, off_SND).clamp_min(0).sqrt().mean(1).tolist()
        return [Finding(suspicion=x, claim=f"{x:.1f} standard deviations from the base's residuals") for x in far]


@dataclass(frozen=True, kw_only=True)
class KnownProbe:
    """A linear discriminant (shrunk by Ledoit and Wolf) between known organisms and known twins: of their mean shift
    from the base on `asks` questions.
    """

    asks: int = 64
    layer: int | None = None
    topic: str = OPEN
    needs: Access = READS | Access.KNOWN

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        models, truths = need_known(lab, fewest=2)
        base_ND, suspects_SND = _read([*models, *suspects], lab, self.topic, self.asks, self.layer)
        shift_SD = (suspects_SND - base_ND).mean(1).numpy()
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(shift_SD[: len(models)], truths)
        log_odds = model.decision_function(shift_SD[len(models) :]).tolist()
        return [Finding(suspicion=x, claim=f"log-odds {x:+.2f} by {len(models)} known models") for x in log_odds]


def _read(suspects: Sequence[Suspect], lab: Lab, topic: str, asks: int, layer: int | None) -> tuple[Tensor, Tensor]:
    """The base's residuals [N, D] and the suspects' [S, N, D]."""
    layer = need_layer(lab, layer)
    rows = [Row(messages=s.messages, answer=s.aligned) for s in need_questions(lab, topic, asks)]
    base_ND = lab.trace([None] * len(rows), rows, [layer], at="prompt")[:, 0]
    suspects_ND = lab.trace([s for s in suspects for _ in rows], rows * len(suspects), [layer], at="prompt")[:, 0]
    return base_ND, suspects_ND.unflatten(0, (len(suspects), len(rows)))
