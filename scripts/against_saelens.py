"""Our BatchTopK dictionaries beside those of SAELens, on the same activations, with as many latents, steps and tokens.

    python scripts/against_saelens.py [BASE] [SEEDS]

SAELens is no part of any extra: `pip install sae-lens` brings it. First a dictionary of one model, the base; then a
crosscoder of two, the base and an organism, to which SAELens' dictionary of both models' activations side by side is
the nearest thing. Printed are, for several seeds, the share of the variance that is explained on texts that neither was
trained on, the mean squared error of a token there, active latents a token, latents that are never active there, and
seconds of processor time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import torch
from pages import table
from torch import Tensor

from flyroom.grow import grow
from flyroom.mechanism import Training, fit
from flyroom.recipes import make
from flyroom.stages import OpenBase, open_base
from flyroom.types import BASE

TEXTS, TEST = 400, 80
TRAINING = Training(latents=256, k=8, steps=1500, batch=512, lr=1e-3)


def main() -> None:
    name, seeds, *_ = [*sys.argv[1:], *("0.25M", "3")[len(sys.argv) - 1 :]]
    base = open_base(name)
    engine = base.engine
    (organism,) = grow([make("emergent-misalignment", {"steps": 60, "lr": 0.01}, world=base.world)], engine, seeds=[0])
    (adapter,) = engine.load([organism.patch])
    rows = []
    for what, refs in (("one model", [BASE]), ("base and organism", [BASE, adapter])):
        train, test = activations(base, refs)
        print(f"{what}: {len(train):,} tokens to train on, {len(test):,} to test on; {TRAINING}", flush=True)
        for maker, learn in (("SAELens", saelens), ("flyroom", ours)):
            for seed in range(int(seeds)):
                rows.append([what, maker, seed, *describe(*timed(learn, train, test, seed), test)])
                print(rows[-1], flush=True)
    head = ["of", "by", "seed", "explained", "squared error", "active", "never active", "seconds"]
    print("\n".join(table(head, rows)))


def activations(base: OpenBase, refs: list[Any]) -> tuple[Tensor, Tensor]:
    """Tokens to train on and to test on, [tokens, models, width], centred and scaled for each model."""
    assert base.world is not None
    rows = base.world.clean(TEXTS, seed=0)
    place = f"layers.{base.engine.base.depth // 2}"
    by_model = [base.engine.states([ref] * len(rows), rows, place) for ref in refs]
    states = [torch.stack(pair, dim=1).float() for pair in zip(*by_model, strict=True)]
    train, test = torch.cat(states[TEST:]), torch.cat(states[:TEST])
    centre = train.mean(0)
    scale = (train - centre).square().mean((0, 2)).sqrt()[:, None]
    return (train - centre) / scale, (test - centre) / scale


def timed(learn: Any, train: Tensor, test: Tensor, seed: int) -> tuple[Tensor, Tensor, float]:
    began = time.process_time()
    latents, reconstruction = learn(train, test, seed)
    return latents, reconstruction, time.process_time() - began


def describe(latents: Tensor, reconstruction: Tensor, seconds: float, test: Tensor) -> list[str]:
    errors, active = (test - reconstruction).square(), latents > 0
    return [
        f"{1 - float(errors.sum() / test.square().sum()):.4f}",
        f"{float(errors.sum((1, 2)).mean()):.2f}",
        f"{float(active.sum(1).double().mean()):.1f}",
        f"{int((~active.any(0)).sum())}",
        f"{seconds:.0f}",
    ]


def ours(train: Tensor, test: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    coder = fit(train, TRAINING, seed=seed)
    return coder.encode(test), coder.reconstruct(test) * coder.scale[:, None] + coder.centre


def saelens(train: Tensor, test: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    try:
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer
    except ImportError as error:
        raise SystemExit(f"{error}; pip install sae-lens") from error
    torch.manual_seed(seed)
    inputs, probes = train.flatten(1), test.flatten(1)
    config = BatchTopKTrainingSAEConfig(d_in=inputs.shape[1], d_sae=TRAINING.latents, k=TRAINING.k)
    settings = SAETrainerConfig(
        total_training_samples=TRAINING.steps * TRAINING.batch,
        train_batch_size_samples=TRAINING.batch,
        lr=TRAINING.lr,
        lr_end=TRAINING.lr / 10,
        lr_decay_steps=TRAINING.steps // 5,
        logger=LoggingConfig(log_to_wandb=False),
    )

    def batches() -> Iterator[Tensor]:
        while True:
            yield inputs[torch.randint(len(inputs), (TRAINING.batch,))]

    sae = SAETrainer(cfg=settings, sae=BatchTopKTrainingSAE(config), data_provider=batches()).fit()
    with torch.no_grad():
        latents = sae.encode(probes)
        return latents, sae.decode(latents).view_as(test)


if __name__ == "__main__":
    main()
