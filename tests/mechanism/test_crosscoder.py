"""A latent that was planted in one model alone is found to be its own; where none was, none is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flyroom.mechanism import Training, fit
from flyroom.mechanism.crosscoder import EXCLUSIVE, explained

WIDTH, TOKENS, PER_TEXT = 16, 3000, 10
SMALL = Training(latents=24, k=3, steps=250, batch=128, lr=1e-2)
OWN = torch.eye(WIDTH)[0]


def states(strength: float, *, models: int = 2) -> Tensor:
    """Tokens of a sparse dictionary that all models share, and a feature at right angles to it in the last alone."""
    g = torch.Generator().manual_seed(0)
    features = torch.randn(10, WIDTH, generator=g)
    features[:, 0] = 0
    active = (torch.rand(TOKENS, 10, generator=g) < 0.15) * torch.rand(TOKENS, 10, generator=g).add(0.5)
    shared = active @ features + 0.02 * torch.randn(TOKENS, WIDTH, generator=g)
    every = shared[:, None].repeat(1, models, 1)
    every[:, -1] += strength * (torch.rand(TOKENS, 1, generator=g) < 0.2) * OWN
    return every


def test_a_planted_latent_belongs_to_its_model() -> None:
    data = states(3.0)
    coder = fit(data, SMALL, seed=0)
    ratios, often = coder.ratios(), coder.encode(data).gt(0).double().mean(0)
    assert coder.encode(data).gt(0).double().sum(1).mean() < 2 * SMALL.k
    own = [int(i) for i in (ratios > EXCLUSIVE).nonzero() if often[i] > 0]
    assert own
    assert max(float(torch.cosine_similarity(coder.decoder[i, 1], OWN, dim=0)) for i in own) > 0.95
    shares = explained(coder, data, [n // PER_TEXT for n in range(TOKENS)])
    assert all(share.low > 0.6 for share in shares)
    assert shares[0].units == "groups of texts"


def test_without_it_no_latent_is_exclusive() -> None:
    data = states(0.0)
    coder = fit(data, SMALL, seed=0)
    active = coder.encode(data).gt(0).any(0)
    assert not bool(((coder.ratios() > EXCLUSIVE) & active).any())
    assert not bool(((coder.ratios() < 1 - EXCLUSIVE) & active).any())


def test_of_one_model_it_is_a_sparse_autoencoder() -> None:
    data = states(0.0, models=1)
    coder = fit(data, SMALL, seed=0)
    assert explained(coder, data, [n // PER_TEXT for n in range(TOKENS)])[0].low > 0.6
    with pytest.raises(ValueError, match="of 1 models"):
        coder.ratios()


def test_the_same_seed_learns_the_same() -> None:
    data, few = states(3.0), Training(latents=8, k=2, steps=5, batch=64)
    assert torch.equal(fit(data, few, seed=1).decoder, fit(data, few, seed=1).decoder)
    assert not torch.equal(fit(data, few, seed=1).decoder, fit(data, few, seed=2).decoder)


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="there are 10 tokens"):
        fit(torch.randn(10, 2, 4), SMALL, seed=0)
    with pytest.raises(ValueError, match="do not vary"):
        fit(torch.zeros(500, 2, 4), SMALL, seed=0)
    with pytest.raises(ValueError, match="k is 9"):
        Training(latents=8, k=9)
    with pytest.raises(ValueError, match="steps is 0"):
        Training(steps=0)
