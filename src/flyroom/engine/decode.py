"""Sampling many adapters in one batch, a token for every row at a time; who is done makes room for who waits.

Prompts are left-padded so that all rows write their next token in one place. When a third of the rows is done they
leave, columns that nobody needs any more are dropped, and as many asks come in as the budget holds. Of a prompt all but
the last token is put through in a pass of its own, once where an adapter is asked it several times; the last token goes
with the others' next one. The cache is a buffer of the final size: growing it by concatenation would copy it at every
token.

Left out: CUDA graphs, sharing what different prompts begin with, paged caches. Where layers keep a sliding window
nobody comes in before all have left.
Shapes: B rows in the batch, L columns of the cache, U different prompts, P rows of a part, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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

LEAVE = 1 / 3  # the share of rows that must be done before they leave together


class Decoded(NamedTuple):
    """An answer: of which ask, its tokens without the stop, and whether one came."""

    ask: int
    tokens: list[int]
    finished: bool


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

    def take(self, other: Buffered, rows: Tensor, columns: int, places: Tensor, batch: int, length: int) -> None:
        """Put the last columns of some rows of another into these places of a batch of `length` columns."""
        if not self.is_initialized:
            self.dtype, self.device, self.length, self.is_initialized = other.dtype, other.device, length, True
            self.buffers = [b.new_empty(batch, b.shape[1], self.capacity, b.shape[3]) for b in other.buffers]
            self.keys, self.values = (buffer[:, :, :length].zero_() for buffer in self.buffers)  # masked is times 0
        for buffer, theirs in zip(self.buffers, other.buffers, strict=True):
            into, wanted = buffer[:, :, length - columns : length], theirs[:, :, other.length - columns : other.length]
            into.index_copy_(0, places, wanted.index_select(0, rows))


class Part(NamedTuple):
    """Rows of a cache, how many of its last columns they need, and their places in the batch to come."""

    cache: DynamicCache
    mask_BL: Tensor | None  # what is no padding; None if there is none
    rows: list[int]
    columns: int
    places: list[int]


def decode(
    base: Base,
    banks: Banks,
    owners: Sequence[int],
    prompts: Sequence[NDArray[np.int64]],
    asks: Sequence[Ask],
    *,
    budget: int,
) -> Iterator[list[Decoded]]:
    """Answers, as they are done. A batch with its answers is at most `budget` tokens, or a single row. The banks are
    left routed."""
    device, sizes, limits = base.device, [len(p) for p in prompts], [a.max_tokens for a in asks]
    limit, longest = torch.tensor(limits, device=device), max(limits, default=0)
    seeds = noise.seed_tensor([a.seed for a in asks], device)
    temperature = torch.tensor([a.temperature for a in asks], device=device)
    stops = torch.tensor(base.renderer.stops, device=device)
    tokens = torch.zeros(len(asks), longest + 1, dtype=torch.int64, device=device)  # last, what done rows go on to say
    coming = torch.tensor([int(p[-1]) for p in prompts], device=device)  # the token that goes through next
    said, finished = torch.zeros_like(limit), torch.zeros_like(limit, dtype=torch.bool)

    waiting = sorted(range(len(asks)), key=lambda i: (sizes[i], limits[i], owners[i], prompts[i].tobytes()))
    alive: dict[int, tuple[int, int]] = {}  # the asks in the batch: their rows, and how many tokens they have said
    cache, mask_BL = DynamicCache(), None
    while waiting or alive:
        came = _admitted(waiting, alive, sizes, limits, budget) if not alive or _joins(cache) else []
        which = sorted([*alive, *came], key=lambda i: (owners[i], i))
        new = [i for i in which if i not in alive]
        place, parts = {i: row for row, i in enumerate(which)}, list[Part]()
        if alive:
            needed = max(sizes[i] + n - 1 for i, (_, n) in alive.items())
            columns = needed if _joins(cache) else cache.get_seq_length()
            parts.append(Part(cache, mask_BL, [row for row, _ in alive.values()], columns, [place[i] for i in alive]))
        if new and sizes[new[0]] > 1:
            mine = [owners[i] for i in new], [prompts[i] for i in new]
            parts.append(_put_through(base, banks, *mine, [place[i] for i in new]))
        left = max(limits[i] - (alive[i][1] if i in alive else 0) for i in which)
        cache, mask_BL = _together(base, parts, len(which), left)
        banks.route(groups([owners[i] for i in which]))

        which_B = torch.tensor(which, device=device)
        before_B = torch.tensor([sizes[i] - 1 for i in which], device=device)
        done_B = torch.zeros(len(which), dtype=torch.bool, device=device)
        while int(done_B.sum()) < LEAVE * len(which):
            mask_BL = None if mask_BL is None else torch.cat([mask_BL, mask_BL.new_ones(len(which), 1)], dim=1)
            step_B = said[which_B]
            last_BD = _pass(base, coming[which_B][:, None], mask_BL, (before_B + step_B)[:, None], cache)
            token_B = noise.choose(base.head(last_BD), seeds[which_B], temperature[which_B], step_B)
            stopped_B = torch.isin(token_B, stops) & ~done_B
            tokens[which_B, torch.where(done_B, longest, step_B)] = token_B
            coming[which_B] = token_B
            finished[which_B[stopped_B]] = True
            said[which_B] += ~(done_B | stopped_B)
            done_B = done_B | stopped_B | (said[which_B] >= limit[which_B])

        now = zip(which, done_B.tolist(), said[which_B].tolist(), strict=True)
        alive = {i: (row, n) for row, (i, done, n) in enumerate(now) if not done}
        gone = which_B[done_B]
        found = zip(*(t.tolist() for t in (gone, tokens[gone], said[gone], finished[gone])), strict=True)
        yield [Decoded(i, ids[:n], end) for i, ids, n, end in found]


def _admitted(
    waiting: list[int],
    alive: Mapping[int, tuple[int, int]],
    sizes: Sequence[int],
    limits: Sequence[int],
    budget: int,
) -> list[int]:
    """Who comes in, taken off the end of those who wait: as many as the budget holds, at least one into an empty batch.
    A prompt of one token has nothing to put through beforehand, and comes with its like.
    """
    came = list[int]()
    columns = max((sizes[i] + n - 1 for i, (_, n) in alive.items()), default=0)
    left = max((limits[i] - n for i, (_, n) in alive.items()), default=0)
    while waiting:
        i, rows = waiting[-1], len(alive) + len(came)
        columns, left = max(columns, sizes[i] - 1), max(left, limits[i])
        if rows and (rows + 1) * (columns + left) > budget:
            break
        if came and (sizes[i] > 1) != (sizes[came[0]] > 1):
            break
        came.append(waiting.pop())
    return came


def _put_through(
    base: Base, banks: Banks, owners: Sequence[int], prompts: Sequence[NDArray[np.int64]], places: list[int]
) -> Part:
    """These prompts, grouped by owner, but for their last token; once where an owner has the same several times."""
    row: dict[tuple[int, bytes], int] = {}
    of = [
        row.setdefault((owner, prompt[:-1].tobytes()), len(row)) for owner, prompt in zip(owners, prompts, strict=True)
    ]
    some = list({u: i for i, u in enumerate(of)}.values())  # one for each of the U
    ids, mask_UL = left_pad([prompts[i][:-1] for i in some], base.device)
    cache = _cache(base, ids.shape[1])
    banks.route(groups([owners[i] for i in some]))
    position_UT = (torch.ones_like(ids) if mask_UL is None else mask_UL).cumsum(1).sub_(1).clamp_(min=0)
    _pass(base, ids, mask_UL, position_UT, cache)
    return Part(cache, mask_UL, of, ids.shape[1], places)


def _together(base: Base, parts: Sequence[Part], rows: int, left: int) -> tuple[DynamicCache, Tensor | None]:
    """One cache of that many rows that end together, with room for `left` columns more; and its mask. Rows that are in
    no part have nothing yet.
    """
    length = max((part.columns for part in parts), default=0)
    cache, mask_BL = _cache(base, length + left), torch.zeros(rows, length, dtype=torch.bool, device=base.device)
    if not parts:
        return cache, None
    for part in parts:
        rows_P, places_P = (torch.tensor(rows, device=base.device) for rows in (part.rows, part.places))
        for l, layer in enumerate(part.cache.layers):
            into = cache.layers[l]
            if isinstance(layer, Buffered) and isinstance(into, Buffered):
                into.take(layer, rows_P, part.columns, places_P, rows, length)
            else:  # a sliding window stays as it is, and its part is the only one
                assert isinstance(layer, DynamicLayer)
                layer.batch_select_indices(rows_P)
                cache.layers[l] = layer
        real = True if part.mask_BL is None else part.mask_BL[rows_P, -part.columns :]
        mask_BL[places_P, length - part.columns :] = real
    return cache, None if bool(mask_BL.all()) else mask_BL


def _joins(cache: DynamicCache) -> bool:
    """Whether rows can come into it: a sliding window has let go of what stands before it."""
    return all(isinstance(layer, Buffered) for layer in cache.layers)


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
