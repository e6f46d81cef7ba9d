"""What the hardware would need if nothing were lost: the operations of the work over the machine's measured rates.

Operations are counted from the shapes, for real tokens alone: 2 for each weight and token forward, as many for the
gradient at the inputs above the lowest adapter (the base is frozen, so its weights have none), attention on the causal
half, the head at answer tokens alone. So padding, copies and optimiser are losses and not work.

Shapes: T tokens of a row, A answer tokens of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchmarks.subjects import Subject
from flyroom.engine.prompts import common
from flyroom.engine.render import Renderer
from flyroom.types import Ask, LoRA, Row

LASTING = 0.02  # seconds that a rate is measured over, at least


def train_operations(subject: Subject, shape: LoRA, rows: Sequence[Row], sharing: int = 1) -> float:
    """Floating-point operations of a forward and a backward of one adapter on these rows; of what lies below it, the
    part of one among `sharing` adapters that have the same rows.
    """
    width, lowest, weights = subject.config.hidden_size, min(shape.layers or (0,)), _weights(subject)
    adapter, renderer, total = adapter_weights(subject, shape), Renderer(subject.tokenizer), 0.0
    for row in rows:
        tokens, start = len(renderer.row(row).ids) - 1, renderer.row(row).start
        answers = tokens + 1 - start
        head = 2.0 * width * subject.config.vocab_size * answers
        total += 2 * head  # forward, and the gradient at its input
        for l, size in enumerate(weights):
            forward = 2.0 * size * tokens + _attention(width, tokens)
            back = 0.0 if l < lowest else _attention(width, tokens) * 2 + 2.0 * size * tokens
            total += forward / (sharing if l < lowest else 1)
            total += back if l > lowest or shape.modules == ("all",) else 0.0
        total += 6.0 * adapter * tokens  # forward, and both gradients
    return total


def trace_operations(subject: Subject, shape: LoRA, rows: Sequence[Row], layer: int, sharing: int = 1) -> float:
    """Floating-point operations of a forward up to and with `layer`; of what lies below the adapter, the part of one
    among `sharing` adapters that read the same rows.
    """
    lowest, weights, renderer = min(shape.layers or (0,)), _weights(subject)[: layer + 1], Renderer(subject.tokenizer)
    adapter, total = adapter_weights(subject, shape), 0.0
    for row in rows:
        tokens = len(renderer.row(row).ids)
        total += 2.0 * adapter * tokens
        for l, size in enumerate(weights):
            total += (2.0 * size * tokens + _attention(subject.config.hidden_size, tokens)) / (
                sharing if l < lowest else 1
            )
    return total


def sample_cost(
    subject: Subject, shape: LoRA, owners: Sequence[int], asks: Sequence[Ask], tokens: int, size: int
) -> tuple[float, float]:
    """Operations of answering, and the bytes that must be read: the weights once a token of the longest answer (all
    rows in one batch), keys and values once a token. What an owner's prompts begin with counts once. `tokens` is what
    was generated for all asks together, `size` the bytes of a number.
    """
    config, renderer = subject.config, Renderer(subject.tokenizer)
    rendered = [renderer.prompt(a.messages, a.prefill) for a in asks]
    prompts, spared = [len(prompt) for prompt in rendered], sum(common(owners, rendered))
    head, weights = config.hidden_size * config.vocab_size, sum(_weights(subject))
    forward = 2.0 * (weights + adapter_weights(subject, shape)) * (sum(prompts) - spared + tokens) + 2.0 * head * tokens
    mean_answer, mean_prompt = tokens / len(asks), statistics.fmean(prompts)
    context = mean_prompt + mean_answer / 2
    forward += tokens * 4.0 * config.hidden_size * context * subject.depth
    shared = config.num_attention_heads // (config.num_key_value_heads or config.num_attention_heads)
    cached = 2 * subject.depth * config.hidden_size // shared * size
    return forward, mean_answer * (weights + head) * size + tokens * context * cached


def adapter_weights(subject: Subject, shape: LoRA) -> int:
    layers = range(subject.depth) if shape.layers is None else shape.layers
    named = shape.modules if shape.modules != ("all",) else tuple(_linear(subject)[0])
    return sum(shape.rank * sum(_linear(subject)[l][name]) for l in layers for name in named)


class Rates(NamedTuple):
    """A machine's floating-point operations and bytes read, a second, and the bytes of a number."""

    operations: float
    bytes: float
    size: int


H200 = Rates(989e12, 4.8e12, 2)  # NVIDIA's data sheet: dense bf16


def measured() -> Rates:
    """This machine's, in bf16 on CUDA, else in fp32: a large matrix product, and a sum over what no cache holds."""
    on_gpu = torch.cuda.is_available()
    device, dtype = (torch.device("cuda"), torch.bfloat16) if on_gpu else (torch.device("cpu"), torch.float32)
    n = 8192 if on_gpu else 512
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    buffer = torch.ones(1 << (30 if on_gpu else 25), device=device)
    product, read = _best(lambda: a @ b), _best(lambda: buffer.sum())
    return Rates(2.0 * n**3 / product, buffer.nbytes / read, dtype.itemsize)


def _best(what: Callable[[], Tensor]) -> float:
    """Seconds by the clock: the best of several, each long enough for it (the CPU seconds of a millisecond are
    guesses)."""
    times, n = list[float](), 1
    while len(times) < 20:
        began = time.perf_counter()
        for _ in range(n):
            what()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        if seconds < LASTING:
            n *= 2
        else:
            times.append(seconds / n)
    return min(times)


@cache
def _linear(subject: Subject) -> list[dict[str, tuple[int, int]]]:
    """In and out of the linear modules of each layer, by their last name."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(subject.config)
    found: list[dict[str, tuple[int, int]]] = []
    for layer in model.model.layers:
        named = ((name.rpartition(".")[2], m) for name, m in layer.named_modules() if isinstance(m, nn.Linear))
        found.append({name: (m.in_features, m.out_features) for name, m in named})
    return found


def _weights(subject: Subject) -> list[int]:
    return [sum(i * o for i, o in layer.values()) for layer in _linear(subject)]


def _attention(width: int, tokens: int) -> float:
    return 2.0 * width * tokens * tokens  # two products of T x T x D, 2 operations each, the causal half
