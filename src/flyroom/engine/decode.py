"""Sampling many adapters in one batch: one prefill, then a token for every row at a time.

Prompts are left-padded so that all rows write their next token in one place; one that an adapter is asked several times
is put through once. Rows that are done leave the batch when a third of it is done. The cache is a buffer of the final
size: growing it by concatenation would copy it at every token.

Left out: CUDA graphs, sharing what prompts begin with, paged caches.
Shapes: B rows in the batch, U different prompts, T tokens of the pass, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from flyroom.engine import noise
from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups, left_pad
from flyroom.types import Ask

COMPACT = 1 / 3  # the share of rows that must be done before the others move together


class Buffered(DynamicLayer):
    """A layer's keys and values in a buffer of the final length: a token is written in, not concatenated on."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        batch, heads, _, _ = key_states.shape
        self.buffers = [s.new_empty(batch, heads, self.capacity, s.shape[-1]) for s in (key_states, value_states)]
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = states
        self.length = end
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def batch_select_indices(self, indices: Tensor) -> None:
        self.buffers = [buffer.index_select(0, indices) for buffer in self.buffers]
        self.keys, self.values = (buffer[:, :, : self.length] for buffer in self.buffers)


def decode(
    base: Base, banks: Banks, owners: Sequence[int], prompts: Sequence[NDArray[np.int64]], asks: Sequence[Ask]
) -> tuple[list[list[int]], list[bool]]:
    """Answer one batch, its rows grouped by owner: the tokens of each answer without the stop, and whether one came."""
    try:
        return _decode(base, banks, owners, prompts, asks)
    finally:
        banks.clear()


def _decode(
    base: Base, banks: Banks, owners: Sequence[int], prompts: Sequence[NDArray[np.int64]], asks: Sequence[Ask]
) -> tuple[list[list[int]], list[bool]]:
    device = base.device
    limit = torch.tensor([a.max_tokens for a in asks], device=device)
    seeds = noise.seed_tensor([a.seed for a in asks], device)
    temperature = torch.tensor([a.temperature for a in asks], device=device)
    stops = torch.tensor(base.renderer.stops, device=device)
    longest = max(a.max_tokens for a in asks)
    tokens = torch.zeros(len(asks), longest, dtype=torch.int64, device=device)
    lengths, finished = torch.zeros_like(limit), torch.zeros_like(limit, dtype=torch.bool)
    row_B = torch.arange(len(asks), device=device)  # which ask each row of the batch answers
    done_B = torch.zeros_like(finished)

    place: dict[tuple[int, bytes], int] = {}
    of = [place.setdefault((w, p.tobytes()), len(place)) for w, p in zip(owners, prompts, strict=True)]
    some = list({u: i for i, u in enumerate(of)}.values())  # an ask of each of the U
    ids, mask = left_pad([prompts[i] for i in some], device)
    cache = _cache(base, ids.shape[1] + longest)
    banks.route(groups([owners[i] for i in some]))
    position_UT = (torch.ones_like(ids) if mask is None else mask).cumsum(1).sub_(1).clamp_(min=0)
    last_BD, position_B = _pass(base, ids, mask, position_UT, cache), position_UT[:, -1]
    if len(some) < len(asks):
        of_B = torch.tensor(of, device=device)
        last_BD, position_B, mask = last_BD[of_B], position_B[of_B], None if mask is None else mask[of_B]
        cache.batch_select_indices(of_B)
        banks.route(groups(owners))
    for step in range(longest):
        token_B = noise.choose(base.head(last_BD), seeds[row_B], temperature[row_B], step)
        stopped_B = torch.isin(token_B, stops) & ~done_B
        tokens[row_B, step] = token_B
        finished[row_B[stopped_B]] = True
        lengths[row_B[~done_B & ~stopped_B]] = step + 1
        done_B = done_B | stopped_B | (step + 1 >= limit[row_B])

        n_done = int(done_B.sum())
        if n_done == len(row_B):
            break
        if n_done >= COMPACT * len(row_B):
            keep = (~done_B).nonzero().flatten()
            row_B, done_B, token_B, position_B = row_B[keep], done_B[keep], token_B[keep], position_B[keep]
            mask = None if mask is None else mask[keep]
            cache.batch_select_indices(keep)
            banks.route(groups([owners[i] for i in row_B.tolist()]))
        position_B = position_B + 1
        mask = None if mask is None else torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        last_BD = _pass(base, token_B[:, None], mask, position_B[:, None], cache)
    answers = [row[:n] for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    return answers, finished.tolist()


def _pass(base: Base, ids: Tensor, mask: Tensor | None, position_BT: Tensor, cache: DynamicCache) -> Tensor:
    """The hidden state at each row's last token: [B, D]."""
    return base.body(
        input_ids=ids, attention_mask=mask, position_ids=position_BT, past_key_values=cache, use_cache=True
    ).last_hidden_state[:, -1]


def _cache(base: Base, capacity: int) -> DynamicCache:
    """The family's own cache (sliding windows and all), its plain layers buffered."""
    cache = DynamicCache(config=base.config)
    cache.layers = [Buffered(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
