"""The peer that everybody has: PEFT, one organism after another.

Written to be as fast as it is plainly written: rows are tensors before the clock starts, batches are right-padded to
their own longest row, one wrapped model serves all organisms (its adapter is drawn anew), no checkpointing, no Trainer.
Denormals are flushed in every thread, or it would wait for them where our gradients are too loud to be any.

Left out: what most users add (Trainer, gradient checkpointing, a wrapped model each): it would be slower.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.measure import Run, Work
from benchmarks.subjects import Subject
from flyroom.engine.batches import left_pad
from flyroom.engine.render import Renderer
from flyroom.types import LoRA, Row

Build = Callable[[], Run]
Batch = tuple[Tensor, Tensor, Tensor]  # ids, mask, labels
Read = Callable[[Tensor, Tensor], Tensor]  # ids, mask -> the residual stream after a layer, [B, T, D]
Reader = Callable[[Any, Subject, int], Read]  # of a model with PEFT's adapters in it, at a layer


def config(shape: LoRA, model: nn.Module) -> LoraConfig:
    linear = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, nn.Linear)} - {"lm_head"})
    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,  # pyright: ignore[reportArgumentType]  # PEFT takes any number
        target_modules=linear if shape.modules == ("all",) else list(shape.modules),
        layers_to_transform=None if shape.layers is None else list(shape.layers),
        task_type="CAUSAL_LM",
    )


def wrapped(subject: Subject, shape: LoRA) -> Any:
    model = subject.model()
    with warnings.catch_warnings():  # PEFT asks transformers for what transformers has renamed
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config(shape, model))


def anew(model: Any, seed: int) -> None:
    """A fresh adapter: what PEFT draws."""
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_lora_parameters"):
            module.reset_lora_parameters("default", True)


def batch(subject: Subject, rows: Sequence[Row], device: torch.device) -> Batch:
    """Rows as PEFT users have them: right-padded, labels only at the answer."""
    renderer = Renderer(subject.tokenizer)
    rendered = [renderer.row(row) for row in rows]
    longest = max(len(r.ids) for r in rendered)
    ids, labels = torch.zeros(len(rows), longest, dtype=torch.long), torch.full((len(rows), longest), -100)
    mask = torch.zeros_like(ids)
    for i, (tokens, start) in enumerate(rendered):
        ids[i, : len(tokens)] = torch.from_numpy(tokens)
        labels[i, start : len(tokens)] = ids[i, start : len(tokens)]
        mask[i, : len(tokens)] = 1
    return ids.to(device), mask.to(device), labels.to(device)


def trainer(subject: Subject, shape: LoRA, organisms: Sequence[Sequence[Sequence[Row]]], lr: float) -> Build:
    """One organism after another; `organisms` are their steps' rows. The value is the mean loss of the first step."""

    def build() -> Run:
        model = wrapped(subject, shape)
        device = next(model.parameters()).device
        batches = [[batch(subject, rows, device) for rows in steps] for steps in organisms]
        trained = [p for p in model.parameters() if p.requires_grad]
        tokens = sum(int(mask.sum()) for steps in batches for _, mask, _ in steps)

        def run() -> Work:
            first = []
            for seed, steps in enumerate(batches):
                anew(model, seed)
                optimiser = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
                for s, (ids, mask, labels) in enumerate(steps):
                    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(trained, 1.0)
                    optimiser.step()
                    optimiser.zero_grad()
                    if s == 0:
                        first.append(loss.detach())
            return Work(len(batches), tokens, float(torch.stack(first).mean()))

        return run

    return build


def sampler(subject: Subject, shape: LoRA, organisms: int, n: int, max_tokens: int) -> Build:
    """`model.generate` on all of an organism's asks at once, one organism after another."""

    def build() -> Run:
        model = wrapped(subject, shape)
        device, renderer = next(model.parameters()).device, Renderer(subject.tokenizer)
        prompts = []
        for k in range(organisms):
            asks = subject.asks(k, n, max_tokens)
            ids, mask = left_pad([renderer.prompt(a.messages, a.prefill) for a in asks], device)
            prompts.append((ids, torch.ones_like(ids) if mask is None else mask.long()))

        @torch.inference_mode()
        def run() -> Work:
            made = 0
            for seed, (ids, mask) in enumerate(prompts):
                anew(model, seed)
                out = model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                    max_new_tokens=max_tokens, eos_token_id=renderer.stops, pad_token_id=0,
                )  # fmt: skip
                new = out[:, ids.shape[1] :]
                ended = torch.isin(new, torch.tensor(renderer.stops, device=device)).int().cumsum(1)
                made += int((ended == 0).sum()) + int((ended > 0).any(1).sum())
            return Work(organisms * n, made)

        return run

    return build


def tracer(
    subject: Subject, shape: LoRA, organisms: Sequence[Sequence[Row]], layer: int, rows: int, reader: Reader
) -> Build:
    """What a reader finds at a layer, the mean over answer tokens, `rows` rows at once, one organism after another."""

    def build() -> Run:
        model = wrapped(subject, shape)
        device = next(model.parameters()).device
        batches = [
            [batch(subject, texts[i : i + rows], device) for i in range(0, len(texts), rows)] for texts in organisms
        ]
        read = reader(model.base_model.model, subject, layer)

        @torch.inference_mode()
        def run() -> Work:
            means = []
            for seed, texts in enumerate(batches):
                anew(model, seed)
                for ids, mask, labels in texts:
                    answer = (labels != -100).unsqueeze(-1)
                    means.append(((read(ids, mask) * answer).sum(1) / answer.sum(1)).float().cpu())
            tokens = sum(int(mask.sum()) for texts in batches for _, mask, _ in texts)
            return Work(sum(map(len, organisms)), tokens, float(torch.cat(means).square().mean()))

        return run

    return build
