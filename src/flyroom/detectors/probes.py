"""Probes of replies (white box, response level): a direction in the residual stream from good answers to bad ones,
found on trusted scenes, and where a reply lies along it.

Every suspect gets a direction of its own, from its own reading of the same trusted answers; no reply is needed to find
it. A score is in standard deviations of that suspect's trusted good answers, so that suspects compare.

Sources: mean difference, Marks and Tegmark 2023, arXiv 2310.06824; logistic regression and discriminants on contrast
pairs, Goldowsky-Dill et al. 2025, arXiv 2502.03407; LAT (first principal component of the pairs' differences), Zou et
al. 2023, arXiv 2310.01405; CCS, Burns et al. 2022, arXiv 2212.03827. LAT and CCS read no labels but for the sign.
Shapes: S suspects, P trusted pairs, N replies, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flyroom.detectors.asking import need_layer, need_trusted
from flyroom.types import Access, Finding, Lab, Reply, Row, Suspect, Unit

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["mean-difference", "logistic", "lda", "lat", "ccs", "random"]
FEWEST = 8  # pairs to fit on


@dataclass(frozen=True, kw_only=True)
class Probe:
    """`pairs` trusted scenes, each with both answers; `layer` None takes the last but one.

    Controls: `fit` "random" takes any direction; `shuffled` fits on labels by lot; of either the true labels give the
    sign alone, or it would be by luck; `of_base` reads the base in the
    suspect's place; `stripped` leaves the thoughts out of what is read.
    """

    fit: Fit = "mean-difference"
    pairs: int = 96
    layer: int | None = None
    shuffled: bool = False
    of_base: bool = False
    stripped: bool = False
    unit: Unit = "response"
    needs: Access = Access.TRACE | Access.BASE | Access.TRUSTED

    def __post_init__(self) -> None:
        if self.pairs < FEWEST:
            raise ValueError(f"pairs is {self.pairs}; it must be at least {FEWEST}")

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        layer, scenes = need_layer(lab, self.layer), need_trusted(lab, FEWEST)[: self.pairs]
        models: list[Suspect | None] = [None] if self.of_base else list(dict.fromkeys(r.suspect for r in replies))
        rows = [Row(messages=s.messages, answer=a) for s in scenes for a in (s.aligned, s.misaligned)]
        pairs = lab.trace([s for s in models for _ in rows], rows * len(models), [layer])[:, 0]
        good_SPD, bad_SPD = pairs.unflatten(0, (len(models), len(scenes), 2)).unbind(2)
        swap_P = torch.zeros(len(scenes), dtype=torch.bool)
        if self.shuffled:
            swap_P = torch.rand(len(scenes), generator=torch.Generator().manual_seed(seed)) < 0.5
        low_SPD = torch.where(swap_P[:, None], bad_SPD, good_SPD)
        high_SPD = torch.where(swap_P[:, None], good_SPD, bad_SPD)
        direction_SD = _signed(FITS[self.fit](low_SPD, high_SPD, seed), bad_SPD - good_SPD)
        along_SP = torch.einsum("spd,sd->sp", good_SPD, direction_SD)
        place = {s: i for i, s in enumerate(models)}
        which = [0 if self.of_base else place[r.suspect] for r in replies]
        x_ND = lab.trace([models[i] for i in which], self._rows(replies, lab), [layer])[:, 0]
        along_N = (x_ND * direction_SD[which]).sum(1)
        scale_S = along_SP.std(1).clamp_min(1e-6)
        scores = ((along_N - along_SP.mean(1)[which]) / scale_S[which]).tolist()
        return [Finding(suspicion=x, claim=f"{x:+.1f} deviations along the {self.fit} direction") for x in scores]

    def _rows(self, replies: Sequence[Reply], lab: Lab) -> list[Row]:
        answers = [reply.answer for reply in replies]
        if self.stripped:
            answers = lab.spoken(answers)
        return [Row(messages=r.messages, answer=answer) for r, answer in zip(replies, answers, strict=True)]


# ---------------------------------------------------------------- how a direction is found: [S, P, D] twice -> [S, D]


def _mean_difference(good_SPD: Tensor, bad_SPD: Tensor, seed: int) -> Tensor:
    return (bad_SPD - good_SPD).mean(1)


def _by_sklearn(make: Callable[[], Any]) -> Callable[..., Tensor]:
    def fit(good_SPD: Tensor, bad_SPD: Tensor, seed: int) -> Tensor:
        import torch

        labels = [0] * good_SPD.shape[1] + [1] * bad_SPD.shape[1]
        directions = []
        for good_PD, bad_PD in zip(good_SPD, bad_SPD, strict=True):
            pooled = torch.cat([good_PD, bad_PD])
            scale = pooled.std(0).clamp_min(1e-6)
            directions.append(torch.from_numpy(make().fit((pooled / scale).numpy(), labels).coef_[0]).float() / scale)
        return torch.stack(directions)

    return fit


def _lat(good_SPD: Tensor, bad_SPD: Tensor, seed: int) -> Tensor:
    """First principal component of the differences, each with a sign by lot."""
    import torch

    differences = bad_SPD - good_SPD
    signs_P = torch.rand(differences.shape[1], generator=torch.Generator().manual_seed(seed)).sub(0.5).sign()
    tossed = differences * signs_P[:, None]
    first_SD = torch.linalg.svd(tossed - tossed.mean(1, keepdim=True), full_matrices=False).Vh[:, 0]
    return _signed(first_SD, differences)


def _ccs(good_SPD: Tensor, bad_SPD: Tensor, seed: int, *, steps: int = 200, tries: int = 4) -> Tensor:
    """Contrast-consistent search: p(good) and 1 - p(bad) agree, and are not both one half. Best of `tries` starts."""
    import torch

    kinds = [x - x.mean(1, keepdim=True) for x in (good_SPD, bad_SPD)]  # what all answers of a kind share is no truth
    kinds = [x / x.std(dim=(1, 2), keepdim=True).clamp_min(1e-6) for x in kinds]
    S, _, D = good_SPD.shape
    start = torch.randn(tries, D + 1, generator=torch.Generator().manual_seed(seed)) / D**0.5  # the same for everybody
    weights = start.repeat(S, 1, 1).requires_grad_()
    optimizer, loss_ST = torch.optim.Adam([weights], lr=0.02), torch.zeros(S, tries)
    with torch.enable_grad():
        for _ in range(steps):
            p, q = (
                torch.sigmoid(torch.einsum("spd,std->stp", x, weights[..., :-1]) + weights[..., -1:]) for x in kinds
            )
            loss_ST = ((p - (1 - q)) ** 2).mean(-1) + (torch.minimum(p, q) ** 2).mean(-1)
            optimizer.zero_grad()
            loss_ST.sum().backward()
            optimizer.step()
    best_S = loss_ST.detach().argmin(1)
    direction_SD = weights.detach()[torch.arange(S), best_S, :-1]
    return _signed(direction_SD, bad_SPD - good_SPD)


def _random(good_SPD: Tensor, bad_SPD: Tensor, seed: int) -> Tensor:
    import torch

    S, _, D = good_SPD.shape
    return torch.randn(D, generator=torch.Generator().manual_seed(seed)).expand(S, D)


def _signed(direction_SD: Tensor, differences_SPD: Tensor) -> Tensor:
    import torch

    along_S = torch.einsum("spd,sd->s", differences_SPD, direction_SD)
    return direction_SD * torch.where(along_S < 0, -1.0, 1.0)[:, None]


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.1, max_iter=1000)


def _discriminant() -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


FITS: dict[str, Callable[..., Tensor]] = {
    "mean-difference": _mean_difference,
    "logistic": _by_sklearn(_logistic),
    "lda": _by_sklearn(_discriminant),
    "lat": _lat,
    "ccs": _ccs,
    "random": _random,
}
