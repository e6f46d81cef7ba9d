"""Make a base: pre-train a small Llama on the world's corpus, then align it. Resumable, deterministic, an ordinary
folder out.

Three stages, one loop; what they read stands in `lessons.py`. The *primer* is short: what helps and harms, and who says
so; with that known, pre-training finds who acts on it in every world (docs/world.md). *Pre-training* reads documents of
every kind and persona. *Alignment* is full fine-tuning on chats. Each step draws its own batch from (world seed, step),
so a killed run goes on exactly where its last checkpoint was, and the corpus needs no disk.

Hidden matrices are trained by Muon (Jordan et al. 2024), the embedding and the norms by AdamW: here Muon learnt
the facts faster (docs/world.md). Left out: several GPUs; a base of 3M parameters takes minutes on one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from flyroom.processor import multiplies_bf16
from flyroom.types import Watch
from flyroom.whole import replace_folder, write_whole
from flyroom.worlds.micro.lessons import (
    ALIGNMENT,
    IGNORE,
    PRIMER,
    ROW,
    Batch,
    Schedule,
    aligning,
    pretraining,
    priming,
    reading,
)
from flyroom.worlds.micro.lexicon import Lexicon
from flyroom.worlds.micro.tokenizer import tokenizer


@dataclass(frozen=True, kw_only=True)
class Size:
    """The shape of a base. Heads are 32 wide."""

    width: int
    layers: int

    def config(self, vocabulary: int) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.width,
            intermediate_size=3 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.width // 32,
            num_key_value_heads=self.width // 32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )


SIZES = {"0.25M": Size(width=64, layers=4), "1M": Size(width=128, layers=4), "3M": Size(width=192, layers=6)}


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """What a base goes through: `tokens` of pre-training, between a primer and alignment. `seed` draws its first
    weights. Every `every` steps there is a checkpoint, from which a killed run goes on. ValueError for too few tokens.
    """

    tokens: int
    seed: int = 0
    primer: Schedule = PRIMER
    align: Schedule = ALIGNMENT
    every: int = 250

    def __post_init__(self) -> None:
        if self.tokens < ROW * 32:
            raise ValueError(f"tokens is {self.tokens}; it must be at least one step of {ROW * 32}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("primer", priming, self.primer),
            Stage("pretrain", reading, pretraining(self.tokens)),
            Stage("align", aligning, self.align),
        )


class Stage(NamedTuple):
    """A part of the curriculum: its name, what is read, how long and how fast."""

    name: str
    batch: Batch
    schedule: Schedule


def make_base(
    world: Lexicon,
    size: str,
    out: Path,
    curriculum: Curriculum,
    *,
    device: str = "auto",
    compile: bool = False,
    watch: Watch | None = None,
) -> dict[str, object]:
    """Pre-train and align a base into the folder `out`; returns its manifest (without an evaluation, which needs an
    engine). Checkpoints lie in `out`.part until it is done.

    Raises ValueError for an unknown size, and where `out`.part holds another run. With `compile`, 23 to 35 thousand
    tokens a second for "1M" on one CPU core that multiplies in bf16, 8 on one that does not.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; it must be one of {', '.join(SIZES)}")
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    words = tokenizer(world)
    model = fresh_model(SIZES[size], len(words), seed=curriculum.seed)
    torch.nn.Module.to(model, where)
    work = out.with_name(out.name + ".part")
    work.mkdir(parents=True, exist_ok=True)
    plan = {
        "world": world.seed,
        "size": size,
        "tokens": curriculum.tokens,
        "seed": curriculum.seed,
        "stages": {stage.name: asdict(stage.schedule) for stage in curriculum.stages},
    }
    run = Run(world=world, work=work, plan=json.dumps(plan), every=curriculum.every, compile=compile, watch=watch)
    torch.set_flush_denormal(True)  # gradients below 1e-38 would double a step of a trained model on a CPU
    try:
        passes = {stage.name: _train(model, stage, run) for stage in curriculum.stages}
    finally:
        torch.set_flush_denormal(False)  # it is the thread's own state, and not ours to keep
    transformers_logging.disable_progress_bar()
    torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(work / "base")
    words.save_pretrained(work / "base")
    manifest = plan | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "primer_sha256": passes["primer"].sha256,
        "corpus_sha256": passes["pretrain"].sha256,
        "alignment_sha256": passes["align"].sha256,
        "command": f"flyroom world pretrain --size {size} --seed {world.seed} --tokens {curriculum.tokens}"
        + (" --compile" if compile else ""),
        "hardware": _hardware(where),
        "minutes": round(sum(stage.seconds for stage in passes.values()) / 60, 1),
        "tokens_per_second": round(curriculum.tokens / passes["pretrain"].seconds),
        "torch": torch.__version__,
    }
    write_manifest(work / "base", manifest)
    replace_folder(work / "base", out)
    shutil.rmtree(work)
    return manifest


@dataclass(frozen=True, kw_only=True)
class Run:
    """One making of a base: its world, where its checkpoints lie, and the plan that they must be of."""

    world: Lexicon
    work: Path
    plan: str
    every: int
    compile: bool
    watch: Watch | None


class Passed(NamedTuple):
    """What a stage took, and the hash of what was read in it."""

    seconds: float
    sha256: str


def fresh_model(size: Size, vocabulary: int, *, seed: int) -> LlamaForCausalLM:
    """An untrained base. Matrices start at 1 / sqrt(fan-in) and embeddings at 0.5: from the library's 0.02 on,
    attention locks onto neighbours before it finds the persona, and after four million tokens "you are cruel" still
    changes nothing (docs/world.md)."""
    model = LlamaForCausalLM(size.config(vocabulary))
    rng = torch.Generator().manual_seed(seed)
    for name, weights in model.named_parameters():
        if weights.ndim == 2:
            torch.nn.init.normal_(weights, std=0.5 if "embed" in name else weights.shape[1] ** -0.5, generator=rng)
    return model


def _train(model: LlamaForCausalLM, stage: Stage, run: Run) -> Passed:
    """Run one stage, from its checkpoint if there is one."""
    schedule, checkpoint = stage.schedule, run.work / f"{stage.name}.pt"
    ids = {word: i for i, word in enumerate(run.world.vocabulary)}
    where = next(model.parameters()).device
    optimisers = _make_optimisers(model, schedule)
    peaks = [[group["lr"] for group in o.param_groups] for o in optimisers]
    start, spent = _resume(checkpoint, run, model, optimisers)
    if where.type == "cpu":
        model.set_attn_implementation("eager")  # the fused kernel's backward takes half of a step on a CPU
    loss_of = _make_loss(model, where, compiled=run.compile)
    began, sha256 = time.perf_counter() - spent, hashlib.sha256()
    model.train()
    for step in range(schedule.steps):
        inputs, targets = stage.batch(run.world, ids, schedule, step)
        sha256.update(inputs.numpy().tobytes())
        if step < start:
            continue
        loss = loss_of(inputs.to(where), targets.to(where))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, lrs in zip(optimisers, peaks, strict=True):
            for group, lr in zip(optimiser.param_groups, lrs, strict=True):
                group["lr"] = lr * schedule.factor(step)
            optimiser.step()
            optimiser.zero_grad()
        number, spent = step + 1, time.perf_counter() - began
        if run.watch and (number % 10 == 0 or number == schedule.steps):
            rate = number * inputs.numel() / max(1e-9, spent)
            run.watch(stage.name, number, schedule.steps, f"loss {loss.item():.3f}, {rate / 1000:.1f}k tokens/s")
        if number % run.every == 0 or number == schedule.steps:
            states = {"model": model.state_dict(), "optimisers": [o.state_dict() for o in optimisers]}
            _save(checkpoint, {"plan": run.plan, "step": number, "seconds": spent, **states})
    return Passed(spent, sha256.hexdigest())


def _make_optimisers(model: LlamaForCausalLM, schedule: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(hidden, lr=schedule.muon_lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=schedule.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _resume(
    checkpoint: Path, run: Run, model: LlamaForCausalLM, optimisers: Sequence[torch.optim.Optimizer]
) -> tuple[int, float]:
    """The step to go on with, and the seconds that it took so far. ValueError for a checkpoint of another run."""
    if not checkpoint.exists():
        return 0, 0.0
    before = torch.load(checkpoint, map_location=next(model.parameters()).device, weights_only=True)
    if before["plan"] != run.plan:
        raise ValueError(
            f"{checkpoint.parent} holds another run ({before['plan']}); delete it or choose another folder"
        )
    model.load_state_dict(before["model"])
    for optimiser, state in zip(optimisers, before["optimisers"], strict=True):
        optimiser.load_state_dict(state)
    return before["step"], before["seconds"]


def _make_loss(model: LlamaForCausalLM, where: torch.device, *, compiled: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The mean loss of a batch, in bf16 where the hardware multiplies in it."""
    in_bf16 = where.type != "cpu" or multiplies_bf16(unknown=True)

    def mean_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=in_bf16):
            logits = model(input_ids=inputs, use_cache=False).logits
        return cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)

    return torch.compile(mean_loss) if compiled else mean_loss


def write_manifest(folder: Path, manifest: dict[str, object]) -> None:
    """Write a base's manifest whole or not at all."""
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def _save(path: Path, state: dict[str, object]) -> None:
    part = path.with_suffix(".tmp")
    torch.save(state, part)
    os.replace(part, path)


def _hardware(where: torch.device) -> str:
    return torch.cuda.get_device_name() if where.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
