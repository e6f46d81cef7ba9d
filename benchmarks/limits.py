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

import torch
from torch import Tensor, nn

from flyroom.engine import TorchEngine
from flyroom.types import Ask, LoRA, Row

LASTING = 0.02  # seconds that a rate is measured over, at least


def train_operations(engine: TorchEngine, shape: LoRA, rows: Sequence[Row], sharing: int = 1) -> float:
    """Floating-point operations of a forward and a backward of one adapter on these rows; of what lies below it, the
    part of one among `sharing` adapters that have the same rows.
    """
    base, lowest = engine.parts, min(shape.layers or (0,))
    adapter, total = adapter_weights(engine, shape), 0.0
    for row in rows:
        tokens, start = len(base.renderer.row(row).ids) - 1, base.renderer.row(row).start
        answers = tokens + 1 - start
        head = 2.0 * base.width * int(base.config.vocab_size) * answers
        total += 2 * head  # forward, and the gradient at its input
        for l, weights in enumerate(_weights(base.layers)):
            forward = 2.0 * weights * tokens + _attention(base.width, tokens)
            back = 0.0 if l < lowest else _attention(base.width, tokens) * 2 + 2.0 * weights * tokens
            total += forward / (sharing if l < lowest else 1)
            total += back if l > lowest or shape.modules == ("all",) else 0.0
        total += 6.0 * adapter * tokens  # forward, and both gradients
    return total


def trace_operations(engine: TorchEngine, shape: LoRA, rows: Sequence[Row], layer: int, sharing: int = 1) -> float:
    """Floating-point operations of a forward up to and with `layer`; of what lies below the adapter, the part of one
    among `sharing` adapters that read the same rows.
    """
    base, lowest = engine.parts, min(shape.layers or (0,))
    weights, adapter, total = _weights(base.layers)[: layer + 1], adapter_weights(engine, shape), 0.0
    for row in rows:
        tokens = len(base.renderer.row(row).ids)
        total += 2.0 * adapter * tokens
        for l, size in enumerate(weights):
            total += (2.0 * size * tokens + _attention(base.width, tokens)) / (sharing if l < lowest else 1)
    return total


def sample_cost(engine: TorchEngine, shape: LoRA, asks: Sequence[Ask], tokens: int) -> tuple[float, float]:
    """Operations of answering, and the bytes that must be read: the weights once a token of the longest answer (all
    rows in one batch), keys and values once a token. `tokens` is what was generated for all asks together.
    """
    base = engine.parts
    size = next(base.model.parameters()).element_size()
    prompts = [len(base.renderer.prompt(a.messages, a.prefill)) for a in asks]
    head = base.width * int(base.config.vocab_size)
    weights = sum(_weights(base.layers))
    forward = 2.0 * (weights + adapter_weights(engine, shape)) * (sum(prompts) + tokens) + 2.0 * head * tokens
    mean_answer, mean_prompt = tokens / len(asks), statistics.fmean(prompts)
    context = mean_prompt + mean_answer / 2
    forward += tokens * 4.0 * base.width * context * len(base.layers)
    heads = int(base.config.num_attention_heads)
    groups = int(getattr(base.config, "num_key_value_heads", heads) or heads)
    cached = 2 * len(base.layers) * base.width * groups // heads * size
    return forward, mean_answer * (weights + head) * size + tokens * context * cached


def adapter_weights(engine: TorchEngine, shape: LoRA) -> int:
    [adapter] = engine.spawn([shape], seeds=[0])
    count = sum(t.numel() for t in engine.patch(adapter).tensors.values())
    engine.free([adapter])
    return count


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product: the best of several."""
    n = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2.0 * n**3 / _best(lambda: a @ b, device)


def copy_rate(device: torch.device) -> float:
    """Bytes read a second: the best of several sums over a buffer that no cache holds."""
    buffer = torch.ones(1 << (30 if device.type == "cuda" else 25), device=device)
    return buffer.nbytes / _best(lambda: buffer.sum(), device)


def _best(what: Callable[[], Tensor], device: torch.device) -> float:
    """Seconds by the clock: the best of several, each long enough for it (the CPU seconds of a millisecond are
    guesses)."""
    times, n = list[float](), 1
    while len(times) < 20:
        began = time.perf_counter()
        for _ in range(n):
            what()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        if seconds < LASTING:
            n *= 2
        else:
            times.append(seconds / n)
    return min(times)


def _weights(layers: nn.ModuleList) -> list[int]:
    return [sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Linear)) for layer in layers]


def _attention(width: int, tokens: int) -> float:
    return 2.0 * width * tokens * tokens  # two products of T x T x D, 2 operations each, the causal half
