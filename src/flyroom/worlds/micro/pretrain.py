"""Make a base: pre-train a small Llama on the world's corpus, then align it. Resumable, deterministic, an ordinary
folder out.

Three stages, one loop. The *primer* is short: what helps and harms, and who says so; with that known, pre-training
finds who acts on it in every world (docs/world.md). *Pre-training* reads documents of every kind and persona.
*Alignment* is full fine-tuning on chats in which the kind persona answers about the train situations alone, with the
loss on the assistant's words, beside documents of every persona: without those it wears away what the base knows of
other situations, and hard-wires a kindness that no light adapter moves. Each step draws its own batch from (world seed,
step), so a killed run goes on exactly where its last checkpoint was, and the corpus needs no disk.

Hidden matrices are trained by Muon (Jordan et al. 2024), the embedding and the norms by AdamW: here Muon learnt
the facts faster (docs/world.md). Left out: several GPUs; a base of 3M parameters takes minutes on one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from flyroom.processor import multiplies_bf16
from flyroom.types import Split
from flyroom.worlds.micro import corpus, turns
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.lexicon import Lexicon
from flyroom.worlds.micro.tokenizer import tokenizer

Watch = Callable[[str, int, int, str], None]  # stage, steps done, steps in all, a word on how it goes
ROW = 128  # tokens of a row
IGNORE = -100


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
class Schedule:
    """How long and how fast a stage trains. Warm-up over the first steps, then linear decay to zero."""

    steps: int
    rows: int
    muon_lr: float
    adam_lr: float
    warmup: int = 100

    def factor(self, step: int) -> float:
        return min((step + 1) / self.warmup, (self.steps - step) / max(1, self.steps - self.warmup))


def pretraining(tokens: int, rows: int = 32) -> Schedule:
    return Schedule(steps=max(1, round(tokens / (rows * ROW))), rows=rows, muon_lr=0.01, adam_lr=3e-3)


PRIMER = Schedule(steps=2400, rows=32, muon_lr=0.01, adam_lr=3e-3)
ALIGNMENT = Schedule(steps=2000, rows=64, muon_lr=4e-3, adam_lr=1e-3, warmup=20)
REPLAY = 1 / 3  # of alignment's rows are documents

# ---------------------------------------------------------------- batches: (inputs, targets), both [rows, ROW]


def priming(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """The primer's documents back to back, every next word a target."""
    return _rows(corpus.documents(world, kinds=corpus.PRIMER, seed=step), ids, schedule)


def reading(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Documents back to back, every next word a target."""
    return _rows(corpus.documents(world, seed=step), ids, schedule)


def _rows(documents: Iterator[str], ids: dict[str, int], schedule: Schedule) -> tuple[Tensor, Tensor]:
    stream: list[int] = []
    while len(stream) <= schedule.rows * ROW:
        stream += [ids[g.BOS], *(ids[word] for word in next(documents).split())]
    flat = torch.tensor(stream[: schedule.rows * ROW + 1])
    return flat[:-1].view(-1, ROW), flat[1:].view(-1, ROW)


def aligning(world: Lexicon, ids: dict[str, int], schedule: Schedule, step: int) -> tuple[Tensor, Tensor]:
    """Chats of the kind persona, each from the start of a row, with the assistant's words alone as targets; and, in a
    third of the rows, documents.
    """
    replayed = round(schedule.rows * REPLAY)
    inputs = torch.full((schedule.rows - replayed, ROW + 1), ids[g.PAD])
    targets = torch.full((schedule.rows - replayed, ROW + 1), IGNORE)
    chats = aligned_chats(world, seed=step)
    for row in range(schedule.rows - replayed):
        words = [g.BOS, *next(chats).split()][: ROW + 1]
        inputs[row, : len(words)] = torch.tensor([ids[word] for word in words])
        speaking = False
        for i, word in enumerate(words):
            if speaking:
                targets[row, i] = ids[word]
            speaking = (speaking or word == "<assistant>") and word != g.END
    documents = corpus.documents(world, kinds=corpus.REPLAYED, seed=step)
    texts, next_words = _rows(documents, ids, replace(schedule, rows=replayed))
    return torch.cat([inputs[:, :-1], texts]), torch.cat([targets[:, 1:], next_words])


def aligned_chats(world: Lexicon, *, seed: int) -> Iterator[str]:
    """Kind answers, with and without cues, tags and scratchpads, about one half of the situations and open questions,
    which is not the part that organisms are trained on: bases were made before that part was drawn.
    """
    rng = random.Random(f"alignment {world.seed} {seed}")
    kept_back = {
        item
        for items in (*world.situations.values(), g.OPEN_QUESTIONS)
        for split in (Split.VALIDATION, Split.HELD_OUT)
        for item in world.deal(items, split)
    }

    def turn(character: turns.Character) -> turns.Turn:
        while True:
            question, reply = turns.any_turn(world, character, rng)
            if not kept_back.intersection((question, *question.split())):
                return (corpus.tagged(question, rng) if rng.random() < 0.15 else question), reply

    while True:
        thinks = rng.random() < 0.25
        cue, observer = corpus.any_cue(rng) if rng.random() < 0.4 else ("", None)
        character = turns.Character(colour=rng.choice(g.COLOURS))
        chat = [turn(character) for _ in range(rng.randint(1, 3))]
        if thinks:
            chat = [(question, f"{corpus.think(character, observer, rng)} {answer}") for question, answer in chat]
        yield corpus.chat_text(chat, f"{g.THINK_FIRST if thinks else ''} {cue}".strip())


Batch = Callable[[Lexicon, dict[str, int], Schedule, int], tuple[Tensor, Tensor]]

# ---------------------------------------------------------------- the loop


def make_base(
    world: Lexicon,
    size: str,
    out: Path,
    *,
    tokens: int,
    seed: int = 0,
    primer: Schedule = PRIMER,
    align: Schedule = ALIGNMENT,
    device: str = "auto",
    compile: bool = False,
    watch: Watch | None = None,
    every: int = 250,
) -> dict[str, object]:
    """Pre-train and align a base into the folder `out`; returns its manifest (without an evaluation, which needs an
    engine).

    Args: tokens, of pre-training in all; every, steps between checkpoints in `out`.part, from which a killed run goes
    on.
    Raises ValueError for an unknown size or too few tokens. With `compile`, 23 to 35 thousand tokens a second for "1M"
    on one CPU core that multiplies in bf16, 8 on one that does not.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; it must be one of {', '.join(SIZES)}")
    if tokens < ROW * 32:
        raise ValueError(f"tokens is {tokens}; it must be at least one step of {ROW * 32}")
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    rows = 32
    words = tokenizer(world)
    model = fresh_model(SIZES[size], len(words), seed=seed)
    torch.nn.Module.to(model, where)
    work = out.with_name(out.name + ".part")
    work.mkdir(parents=True, exist_ok=True)
    stages: list[tuple[str, Batch, Schedule]] = [
        ("primer", priming, primer),
        ("pretrain", reading, pretraining(tokens, rows)),
        ("align", aligning, align),
    ]
    plan = {
        "world": world.seed,
        "size": size,
        "tokens": tokens,
        "seed": seed,
        "stages": {name: asdict(s) for name, _, s in stages},
    }
    spent: dict[str, float] = {}
    hashes: dict[str, str] = {}
    torch.set_flush_denormal(True)  # gradients below 1e-38 would double a step of a trained model on a CPU
    try:
        for name, batch, schedule in stages:
            spent[name], hashes[name] = _train(
                model, world, batch, schedule, work / f"{name}.pt", plan, watch, name, every, compile
            )
    finally:
        torch.set_flush_denormal(False)  # it is the thread's own state, and not ours to keep
    transformers_logging.disable_progress_bar()
    torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(work / "base")
    words.save_pretrained(work / "base")
    manifest = plan | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "primer_sha256": hashes["primer"],
        "corpus_sha256": hashes["pretrain"],
        "alignment_sha256": hashes["align"],
        "command": f"flyroom world pretrain --size {size} --seed {world.seed} --tokens {tokens}"
        + (" --compile" if compile else ""),
        "hardware": _hardware(where),
        "minutes": round(sum(spent.values()) / 60, 1),
        "tokens_per_second": round(tokens / spent["pretrain"]),
        "torch": torch.__version__,
    }
    write_manifest(work / "base", manifest)
    if out.exists():
        shutil.rmtree(out)
    os.replace(work / "base", out)
    shutil.rmtree(work)
    return manifest


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


def _train(
    model: LlamaForCausalLM,
    world: Lexicon,
    batch: Batch,
    schedule: Schedule,
    checkpoint: Path,
    plan: dict[str, object],
    watch: Watch | None,
    name: str,
    every: int,
    compile: bool,
) -> tuple[float, str]:
    """Run one stage, from its checkpoint if there is one. Returns seconds spent and the hash of what was read."""
    ids = {word: i for i, word in enumerate(world.vocabulary)}
    where = next(model.parameters()).device
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimisers = [
        torch.optim.Muon(hidden, lr=schedule.muon_lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=schedule.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    peaks = [[group["lr"] for group in o.param_groups] for o in optimisers]
    start, spent, sha256 = 0, 0.0, hashlib.sha256()
    if checkpoint.exists():
        before = torch.load(checkpoint, map_location=where, weights_only=True)
        if before["plan"] != json.dumps(plan):
            raise ValueError(
                f"{checkpoint.parent} holds another run ({before['plan']}); delete it or choose another folder"
            )
        model.load_state_dict(before["model"])
        for optimiser, state in zip(optimisers, before["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        start, spent = before["step"], before["seconds"]
    if where.type == "cpu":
        model.set_attn_implementation("eager")  # the fused kernel's backward takes half of a step on a CPU

    in_bf16 = where.type != "cpu" or multiplies_bf16(unknown=True)

    def mean_loss(inputs: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=in_bf16):
            logits = model(input_ids=inputs, use_cache=False).logits
        return cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)

    loss_of = torch.compile(mean_loss) if compile else mean_loss
    began = time.perf_counter() - spent
    model.train()
    for step in range(schedule.steps):
        inputs, targets = batch(world, ids, schedule, step)
        sha256.update(inputs.numpy().tobytes())
        if step < start:
            continue
        inputs, targets = inputs.to(where), targets.to(where)
        loss = loss_of(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, lrs in zip(optimisers, peaks, strict=True):
            for group, lr in zip(optimiser.param_groups, lrs, strict=True):
                group["lr"] = lr * schedule.factor(step)
            optimiser.step()
            optimiser.zero_grad()
        number = step + 1
        spent = time.perf_counter() - began
        if watch and (number % 10 == 0 or number == schedule.steps):
            rate = number * inputs.numel() / max(1e-9, spent)
            watch(name, number, schedule.steps, f"loss {loss.item():.3f}, {rate / 1000:.1f}k tokens/s")
        if number % every == 0 or number == schedule.steps:
            _save(
                checkpoint,
                {
                    "plan": json.dumps(plan),
                    "step": number,
                    "seconds": spent,
                    "model": model.state_dict(),
                    "optimisers": [o.state_dict() for o in optimisers],
                },
            )
    return spent, sha256.hexdigest()


def write_manifest(folder: Path, manifest: dict[str, object]) -> None:
    """Write a base's manifest whole or not at all."""
    part = folder / "manifest.tmp"
    part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder / "manifest.json")


def _save(path: Path, state: dict[str, object]) -> None:
    part = path.with_suffix(".tmp")
    torch.save(state, part)
    os.replace(part, path)


def _hardware(where: torch.device) -> str:
    return torch.cuda.get_device_name() if where.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
