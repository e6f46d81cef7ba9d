"""A small crosscoder: one dictionary for the activations of several models at the same tokens. Of one model it is a
sparse autoencoder.

    z = BatchTopK( relu( sum over models of x_m E_m + e ) )        x'_m = z D_m + d_m

Of a batch of N tokens the N k strongest latents are kept, by what they add to all models together; alone, those above
the mean of the weakest that were kept. A latent belongs to the model for which its decoder is long: its ratio is
|D_organism| / (|D_base| + |D_organism|), 1/2 where both share it. Activations are centred, and scaled for each model so
that their mean square is 1, so an explained share and a ratio do not hang on a model's norm.

Sources: Lindsey et al. 2024, Sparse crosscoders (Transformer Circuits); Minder et al. 2025, arXiv 2504.02922 (BatchTopK
against latents that look exclusive under an L1 penalty); Bussmann et al. 2024, arXiv 2412.06410 (BatchTopK).
Left out: an auxiliary loss for dead latents (they are counted), shared latents by design, several layers.
Shapes: N tokens, M models, D width, F latents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyroom import ranges, stats
from flyroom.types import Estimate

EXCLUSIVE = 0.9  # a ratio above it, or below 1 less it, belongs to one model alone
SHORT = 0.1  # the length of a decoder at the beginning
GROUPS = 20
UNITS, TARGET = "groups of texts", "new texts"


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a crosscoder is trained: `latents` of which `k` are active for a token, `steps` of `batch` tokens by Adam.
    ValueError naming the field.
    """

    latents: int = 128
    k: int = 8
    steps: int = 300
    batch: int = 512
    lr: float = 5e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, latents=1, k=1, steps=1, batch=1)
        if self.k > self.latents:
            raise ValueError(f"k is {self.k}; it must be at most latents, {self.latents}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Crosscoder:
    """What was learnt: encoders [M, D, F] with a bias [F], decoders [F, M, D] with a bias [M, D], in units of `scale`
    [M] about `centre` [M, D]; and the `threshold` above which a latent is active.
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    centre: Tensor
    scale: Tensor
    threshold: float

    def encode(self, states_NMD: Tensor) -> Tensor:
        """How active each latent is, [N, F]."""
        z_NF = _pre(self._standard(states_NMD), self.encoder, self.encoder_bias)
        return torch.where(_weigh(z_NF, self.decoder) >= self.threshold, z_NF, 0.0)

    def reconstruct(self, states_NMD: Tensor) -> Tensor:
        """The activations that the latents come to, [N, M, D], in the standard units of `errors`."""
        return torch.einsum("nf,fmd->nmd", self.encode(states_NMD), self.decoder) + self.decoder_bias

    def errors(self, states_NMD: Tensor) -> tuple[Tensor, Tensor]:
        """For each token and model the squared error, and the squared activation about its centre: [N, M] each."""
        standard = self._standard(states_NMD)
        return (standard - self.reconstruct(states_NMD)).square().sum(-1), standard.square().sum(-1)

    def ratios(self) -> Tensor:
        """To which of two models each latent belongs, [F]: 0 the first, 1 the second. ValueError for another number."""
        if self.decoder.shape[1] != 2:
            raise ValueError(f"the crosscoder is of {self.decoder.shape[1]} models; a ratio is of two")
        first_F, second_F = self.decoder.norm(dim=-1).T
        return second_F / (first_F + second_F)

    def _standard(self, states_NMD: Tensor) -> Tensor:
        return (states_NMD.float() - self.centre) / self.scale[:, None]


def fit(states_NMD: Tensor, training: Training, *, seed: int) -> Crosscoder:
    """Learn a dictionary for tokens' activations. ValueError for fewer tokens than a batch, and for a model whose
    activations do not vary.
    """
    if len(states_NMD) < training.batch:
        raise ValueError(f"there are {len(states_NMD)} tokens; a crosscoder takes a batch of {training.batch}")
    centre_MD = states_NMD.float().mean(0)
    scale_M = (states_NMD.float() - centre_MD).square().mean((0, 2)).sqrt()
    if not bool((scale_M > 0).all()):
        raise ValueError("the activations of a model do not vary, so there is nothing to learn")
    standard = (states_NMD.float() - centre_MD) / scale_M[:, None]
    with torch.inference_mode(False), torch.enable_grad():
        weights, threshold = _train(standard.clone(), training, torch.Generator().manual_seed(seed))
    names = ("encoder", "encoder_bias", "decoder", "decoder_bias")
    fields = {name: weight.detach() for name, weight in zip(names, weights, strict=True)}
    return Crosscoder(**fields, centre=centre_MD, scale=scale_M, threshold=threshold)


def _train(states: Tensor, training: Training, generator: torch.Generator) -> tuple[list[Tensor], float]:
    weights = _begin(states, training, generator)
    optimizer = torch.optim.Adam(weights, lr=training.lr)
    lowest: list[float] = []
    for step in range(training.steps):
        batch = states[torch.randint(len(states), (training.batch,), generator=generator)]
        loss, least = _loss(batch, weights, training.k)
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = training.lr * min(1.0, 5 * (1 - step / training.steps))  # it falls over the last fifth
        optimizer.step()
        lowest.append(least)
    last = lowest[-max(1, training.steps // 10) :]
    return weights, sum(last) / len(last)


def _begin(states: Tensor, training: Training, generator: torch.Generator) -> list[Tensor]:
    """Random decoders, alike for all models, and encoders that are their transposes. Decoders begin short: what one
    model does not need of a latent would otherwise stay there, and the latent would look shared.
    """
    _, models, width = states.shape
    decoder_FD = torch.randn(training.latents, width, generator=generator)
    decoder_FD = decoder_FD / decoder_FD.norm(dim=-1, keepdim=True)
    decoder = decoder_FD[:, None].repeat(1, models, 1)
    encoder = decoder.permute(1, 2, 0) / models
    biases = torch.zeros(training.latents), torch.zeros(models, width)
    return [w.clone().requires_grad_() for w in (encoder, biases[0], SHORT * decoder, biases[1])]


def _loss(batch: Tensor, weights: Sequence[Tensor], k: int) -> tuple[Tensor, float]:
    """The mean squared error, and the weakest of the latents that were kept."""
    encoder, encoder_bias, decoder, decoder_bias = weights
    z_NF = _pre(batch, encoder, encoder_bias)
    weighed_NF = _weigh(z_NF, decoder).detach()
    least = float(weighed_NF.flatten().topk(k * len(batch)).values[-1])
    z_NF = torch.where(weighed_NF >= max(least, 1e-12), z_NF, 0.0)
    errors = batch - torch.einsum("nf,fmd->nmd", z_NF, decoder) - decoder_bias
    return errors.square().sum((1, 2)).mean(), least


def _pre(states_NMD: Tensor, encoder: Tensor, bias_F: Tensor) -> Tensor:
    return torch.relu(torch.einsum("nmd,mdf->nf", states_NMD, encoder) + bias_F)


def _weigh(z_NF: Tensor, decoder: Tensor) -> Tensor:
    """How much each latent adds to all models together."""
    return z_NF * decoder.norm(dim=-1).sum(-1)


# ---------------------------------------------------------------- what it is worth


def explained(coder: Crosscoder, states_NMD: Tensor, texts: Sequence[int]) -> list[Estimate]:
    """The share of each model's variance that is explained, on tokens that were not trained on; texts[n] is the number
    of the text that token n is of. ValueError for fewer than three texts.
    """
    error_NM, total_NM = coder.errors(states_NMD)
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    count = min(GROUPS, len(number))
    group_N = torch.tensor([number[text] % count for text in texts])
    return [_share(error_NM[:, m], total_NM[:, m], group_N, count) for m in range(error_NM.shape[1])]


def _share(error_N: Tensor, total_N: Tensor, group_N: Tensor, count: int) -> Estimate:
    def share(keep_N: Tensor) -> float:
        return 1 - float(error_N[keep_N].double().sum() / total_N[keep_N].double().sum())

    without = [share(group_N != g) for g in range(count)]
    return stats.jackknife(share(group_N >= 0), without, bounds=(-math.inf, 1.0), units=UNITS, target=TARGET)
