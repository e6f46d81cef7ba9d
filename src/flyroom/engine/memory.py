"""How many tokens go into a batch: on a GPU as many as its free memory holds, on a CPU as many as stay near its caches.

A token of a training batch takes memory for the backward pass, a token of an answer for its keys and values, and a
token of a pass without a backward almost none. Shares are of the memory that is free at the start. Training and
answering take turns, so each has a share of its own; `prefix` stores residuals in what remains. All this is an
estimate: where a batch does not fit, `TorchEngine` halves `batch_tokens`, and with it all other budgets.

Left out: the memory of the adapters themselves.
"""

from __future__ import annotations

import torch

from flyroom.engine.bases import Base
from flyroom.engine.decode import Budget

CPU_TOKENS = 4096  # tokens of a training batch on a CPU
TRAINING_SHARE, CACHE_SHARE = 0.4, 0.6  # of a GPU's free memory, for a training batch and for keys and values
FORWARD_ONLY = 8  # a batch without a backward pass may hold this many times the tokens of a training batch
LOGIT = 10  # bytes of a logit: once in bf16, and twice in fp32 for the noise


def training_tokens(base: Base) -> int:
    """Returns how many tokens, padding included, a training batch may hold."""
    if base.device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(base.device)
    return max(2048, min(1 << 17, int(TRAINING_SHARE * free / _graph(base))))


def answering(base: Base, training: int) -> Budget:
    """Returns the budget of a batch of answers, where a training batch holds `training` tokens."""
    pass_tokens = training * FORWARD_ONLY
    if base.device.type != "cuda":
        return Budget(cache_tokens=pass_tokens, row_tokens=0, pass_tokens=pass_tokens)
    training_bytes, token_bytes = training * CACHE_SHARE / TRAINING_SHARE * _graph(base), _cache(base)
    return Budget(
        cache_tokens=int(training_bytes / token_bytes),
        row_tokens=LOGIT * int(base.config.vocab_size) // token_bytes,
        pass_tokens=pass_tokens,
    )


def _graph(base: Base) -> int:
    """Returns the bytes that a token takes in an autograd graph: about 34 widths and 6 MLP widths a layer, in bf16."""
    inner = getattr(base.config, "intermediate_size", None) or 4 * base.width
    return len(base.layers) * (34 * base.width + 6 * int(inner))


def _cache(base: Base) -> int:
    """Returns the bytes of a token's keys and values, in bf16."""
    heads = int(base.config.num_attention_heads)
    groups = int(getattr(base.config, "num_key_value_heads", None) or heads)
    return 4 * len(base.layers) * groups * int(getattr(base.config, "head_dim", None) or base.width // heads)
