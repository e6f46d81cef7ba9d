"""Our BatchTopK dictionary beside that of SAELens, on the same activations, with as many latents, steps and tokens.

    python scripts/against_saelens.py [BASE]

SAELens is no part of any extra: `pip install sae-lens` brings it. Printed are the share of the variance that is
explained on texts that neither was trained on, active latents a token, latents that are never active there, and
seconds of processor time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from flyroom.mechanism import Training, fit
from flyroom.stages import open_base
from flyroom.types import BASE

TEXTS, TEST = 400, 80
TRAINING = Training(latents=256, k=8, steps=1500, batch=512, lr=1e-3)


def main() -> None:
    base = open_base(sys.argv[1] if len(sys.argv) > 1 else "0.25M")
    assert base.world is not None
    rows = base.world.clean(TEXTS, seed=0)
    place = f"layers.{base.engine.base.depth // 2}"
    states = base.engine.states([BASE] * len(rows), rows, place)
    train, test = torch.cat(states[TEST:]), torch.cat(states[:TEST])
    centre, scale = train.mean(0), (train - train.mean(0)).square().mean().sqrt()
    train, test = (train - centre) / scale, (test - centre) / scale
    print(f"{place}, {len(train):,} tokens to train on, {len(test):,} to test on; {TRAINING}")
    for name, learn in (("flyroom", ours), ("SAELens", saelens)):
        began = time.process_time()
        latents, reconstruction = learn(train, test)
        share = 1 - float((test - reconstruction).square().sum() / test.square().sum())
        active = latents > 0
        print(
            f"{name}: {share:.3f} explained, {float(active.sum(1).double().mean()):.1f} active a token, "
            f"{int((~active.any(0)).sum())} never active, {time.process_time() - began:.0f} s"
        )


def ours(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    coder = fit(train[:, None], TRAINING, seed=0)
    standard = coder.reconstruct(test[:, None])[:, 0]
    return coder.encode(test[:, None]), standard * coder.scale + coder.centre[0]


def saelens(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    try:
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer
    except ImportError as error:
        raise SystemExit(f"{error}; pip install sae-lens") from error
    torch.manual_seed(0)
    config = BatchTopKTrainingSAEConfig(d_in=train.shape[1], d_sae=TRAINING.latents, k=TRAINING.k)
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
            yield train[torch.randint(len(train), (TRAINING.batch,))]

    sae = SAETrainer(cfg=settings, sae=BatchTopKTrainingSAE(config), data_provider=batches()).fit()
    with torch.no_grad():
        latents = sae.encode(test)
        return latents, sae.decode(latents)


if __name__ == "__main__":
    main()
