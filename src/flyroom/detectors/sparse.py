"""A sparse dictionary of the base's residuals, and what a suspect does with its features (white box).

Source: model diffing by sparse features, Wang et al. 2025, arXiv 2506.19823; the dictionary is a BatchTopK autoencoder,
Bussmann et al. 2024, arXiv 2412.06410.
Shapes: N prompts, D width, F features, S suspects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyroom.detectors.asking import first, need_layer
from flyroom.types import Access, Finding, Lab, NotAvailable, Row, Suspect

if TYPE_CHECKING:
    from torch import Tensor

FEWEST = 8  # different prompts to learn from


@dataclass(frozen=True, kw_only=True)
class SparseDifference:
    """The dictionary is learnt from the base at the prompt's last token, over every topic. Suspicion: the largest rise
    of a feature's mean activation on `asks` questions of a topic, over the topics, in the base's standard deviations.
    A feature that varies less on the base than most of those that it has at all is measured in theirs, the median.
    """

    features: int = 256
    active: int = 8
    steps: int = 400
    asks: int = 24
    layer: int | None = None
    needs: Access = Access.TRACE | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        layer, topics = need_layer(lab, self.layer), lab.topics()
        lessons = [Row(messages=s.messages, answer=s.aligned) for t in topics for s in lab.questions(t)]
        if len({row.messages for row in lessons}) < FEWEST:
            raise NotAvailable(f"the lab has fewer than {FEWEST} different questions, too few to learn features from")
        base_ND = lab.trace([None] * len(lessons), lessons, [layer], at="prompt")[:, 0]
        dictionary = Dictionary.learn(base_ND, self.features, self.active, self.steps, seed)
        rows = [
            Row(messages=s.messages, answer=s.aligned) for t in topics for s in first(lab.questions(t), self.asks, t)
        ]
        models: list[Suspect | None] = [None, *suspects]
        x_ND = lab.trace([s for s in models for _ in rows], rows * len(models), [layer], at="prompt")[:, 0]
        acts_STNF = dictionary.encode(x_ND).unflatten(0, (len(models), len(topics), self.asks))
        rises_STF = (acts_STNF[1:].mean(2) - acts_STNF[:1].mean(2)) / usual(dictionary.encode(base_ND))
        findings = []
        for rise_TF in rises_STF:
            best = int(rise_TF.argmax())
            topic, feature = topics[best // self.features], best % self.features
            claim = f"feature {feature} up by {float(rise_TF.max()):.1f} deviations on {topic.replace('_', ' ')}"
            findings.append(Finding(suspicion=float(rise_TF.max()), claim=claim))
        return findings


def usual(acts_NF: Tensor) -> Tensor:
    """The spread of each feature, [F], and at least the median one of those that vary: one that the base never shows
    would else be any number of deviations up after any shift.
    """
    spread_F = acts_NF.std(0)
    live = spread_F[spread_F > 0]
    return spread_F.clamp_min(float(live.median()) if len(live) else 1.0)


@dataclass(frozen=True)
class Dictionary:
    """A sparse autoencoder: features are ReLU of a linear map; what is below `threshold` is 0."""

    mean_D: Tensor
    scale: float
    encoder_DF: Tensor
    bias_F: Tensor
    decoder_FD: Tensor
    threshold: float

    def encode(self, x_ND: Tensor) -> Tensor:
        import torch

        acts = torch.relu((x_ND - self.mean_D) / self.scale @ self.encoder_DF + self.bias_F)
        return acts * (acts > self.threshold)

    def decode(self, acts_NF: Tensor) -> Tensor:
        return acts_NF @ self.decoder_FD * self.scale + self.mean_D

    @staticmethod
    def learn(x_ND: Tensor, features: int, active: int, steps: int, seed: int) -> Dictionary:
        """Only the `active` largest activations a row, over the whole batch, take part in a step."""
        import torch

        rng = torch.Generator().manual_seed(seed)
        mean_D, scale = x_ND.mean(0), max(float(x_ND.std()), 1e-12)
        white_ND, D = (x_ND - mean_D) / scale, x_ND.shape[1]
        decoder_FD = torch.nn.functional.normalize(torch.randn(features, D, generator=rng), dim=1)
        encoder_DF, bias_F = decoder_FD.T.clone(), torch.zeros(features)
        parameters = [t.requires_grad_() for t in (encoder_DF, bias_F, decoder_FD)]
        optimizer, rows, lowest = torch.optim.Adam(parameters, lr=3e-3), min(256, len(x_ND)), 0.0
        with torch.enable_grad():
            for _ in range(steps):
                batch = white_ND[torch.randint(len(white_ND), (rows,), generator=rng)]
                acts = torch.relu(batch @ encoder_DF + bias_F)
                cut = float(acts.detach().flatten().topk(min(active * rows, acts.numel())).values[-1])
                lowest = cut if lowest == 0.0 else 0.99 * lowest + 0.01 * cut
                loss = (
                    ((acts * (acts >= cut)) @ torch.nn.functional.normalize(decoder_FD, dim=1) - batch).square().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        decoder_FD = torch.nn.functional.normalize(decoder_FD.detach(), dim=1)
        return Dictionary(mean_D, scale, encoder_DF.detach(), bias_F.detach(), decoder_FD, lowest)
