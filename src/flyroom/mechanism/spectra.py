"""The singular values of what an adapter adds to each module, and how many directions it really uses.

They come from two small QR decompositions, so that no B A is made. Effective rank: exp of the entropy of the squared
singular values' shares (Roy and Vetterli 2007, EUSIPCO). Stable rank: the squared Frobenius norm over the squared
largest value (Rudelson and Vershynin 2007). They are exact of these weights; no interval belongs to them.
Left out: the spectrum of the base beside it, for which its matrices would have to be decomposed whole.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flyroom.adapters import paths_of
from flyroom.types import Patch


class Spectrum(NamedTuple):
    """A module's singular values, largest first, and what follows from them."""

    path: str
    values: tuple[float, ...]
    norm: float
    effective_rank: float
    stable_rank: float


class Ends(NamedTuple):
    """What a module's update reads and writes along its first singular direction: unit vectors [I] and [O], and the
    share of the squared norm that lies along it.
    """

    reads: Tensor
    writes: Tensor
    share: float


def spectra(patch: Patch) -> list[Spectrum]:
    """The spectrum of every module. One that adds nothing has ranks of 0.

    >>> from flyroom.types import LoRA
    >>> a, b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> patch = Patch(shape=LoRA(rank=2, alpha=2.0), tensors={"layers.0.x.A": a, "layers.0.x.B": b})
    >>> [round(value, 3) for value in spectra(patch)[0].values]
    [4.0, 3.0]
    """
    return [_spectrum(path, _decompose(patch, path)[1]) for path in paths_of(patch)]


def ends(patch: Patch, path: str) -> Ends:
    """ValueError for a module to which nothing is added."""
    left_OR, values_R, right_RI = _decompose(patch, path)
    total = float(values_R.square().sum())
    if not total:
        raise ValueError(f"{path} adds nothing, so it reads and writes nothing")
    return Ends(right_RI[0].float(), left_OR[:, 0].float(), float(values_R[0].square()) / total)


def _decompose(patch: Patch, path: str) -> tuple[Tensor, Tensor, Tensor]:
    """The singular vectors and values of what is added."""
    scale = patch.shape.alpha / patch.shape.rank
    q_OR, r_RR = torch.linalg.qr(scale * patch.tensors[f"{path}.B"].double())
    p_IR, s_RR = torch.linalg.qr(patch.tensors[f"{path}.A"].double().T)
    left_RR, values_R, right_RR = torch.linalg.svd(r_RR @ s_RR.T)
    return q_OR @ left_RR, values_R, right_RR @ p_IR.T


def _spectrum(path: str, values_R: Tensor) -> Spectrum:
    squares_R = values_R.square()
    total = float(squares_R.sum())
    if not total:
        return Spectrum(path, tuple(values_R.tolist()), 0.0, 0.0, 0.0)
    shares_R = (squares_R / total).clamp_min(1e-30)
    entropy = float(-(shares_R * shares_R.log()).sum())
    stable = total / float(squares_R[0])
    return Spectrum(path, tuple(values_R.tolist()), total**0.5, float(torch.tensor(entropy).exp()), stable)
