"""How much goes into a batch: on a GPU what its free memory holds, on a CPU what stays near the caches.

A token of a training batch keeps what its backward needs, of an answer its keys and values, and of a pass that nothing
follows next to nothing. Training and answering take turns, so each has its own share of what is free at the start,
beside what is kept below the adapters. An estimate: where it was too much, `TorchEngine` halves its batches, and all
that follows from them.

Left out: what the adapters themselves take.
"""

from __future__ import annotations

import torch

from flyroom.engine.bases import Base
from flyroom.engine.decode import Budget

CPU_TOKENS = 4096  # of a training batch on a CPU
TRAINED, CACHED = 0.4, 0.6  # of a GPU's free memory: for a training batch, for keys and values
FOLLOWED = 8  # a batch that no backward follows may be this much larger than a training batch
LOGIT = 10  # bytes: in bf16 as they come, twice in fp32 with the noise


def training_tokens(base: Base) -> int:
    """Of a batch, with padding."""
    if base.device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(base.device)
    return max(2048, min(1 << 17, int(TRAINED * free / _graph(base))))


def answering(base: Base, training: int) -> Budget:
    """Of answers, where a training batch is of so many tokens."""
    through = training * FOLLOWED
    if base.device.type != "cuda":
        return Budget(kept=through, row=0, through=through)
    kept, cache = training * CACHED / TRAINED * _graph(base), _cache(base)
    return Budget(kept=int(kept / cache), row=LOGIT * int(base.config.vocab_size) // cache, through=through)


def _graph(base: Base) -> int:
    """Bytes of a token in a graph: about 34 widths and 6 MLP widths a layer, in bf16."""
    inner = getattr(base.config, "intermediate_size", None) or 4 * base.width
    return len(base.layers) * (34 * base.width + 6 * int(inner))


def _cache(base: Base) -> int:
    """Bytes of a token's keys and values, in bf16."""
    heads = int(base.config.num_attention_heads)
    groups = int(getattr(base.config, "num_key_value_heads", None) or heads)
    return 4 * len(base.layers) * groups * int(getattr(base.config, "head_dim", None) or base.width // heads)
