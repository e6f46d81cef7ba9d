"""What a batch has read: its keys and values, and which of their columns are padding.

Rows end together, so that all write their next token in one column. The cache is a buffer of the final size: growing it
by concatenation would copy it at every token. A *growing* one shows a pass the columns that are written; a *fixed* one
shows all and masks what is to come, so that every token is the same work on the same memory and can be recorded.

Left out: paged caches; joining or fixing layers that keep a sliding window.
Shapes: B rows, C columns in all, P rows of a part, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from flyroom.engine.bases import Base
from flyroom.engine.prefix import Enough


class Buffered(DynamicLayer):
    """A layer's keys and values in a buffer of the final length: a token is written in, not concatenated on. `at` [1]:
    where, if the length is fixed. `ends`: whether a pass does, once this layer has kept what it will.
    """

    ends = False

    def __init__(self, capacity: int, at: Tensor | None = None) -> None:
        super().__init__()
        self.capacity, self.at = capacity, at
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self._make((key_states, value_states), len(key_states))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.at is not None:
            self.keys, self.values = (
                buffer.index_copy_(2, self.at, states)
                for buffer, states in zip(self.buffers, (key_states, value_states), strict=True)
            )
            return self.keys, self.values
        end = self.length + key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = states
        self.length = end
        if self.ends:
            raise Enough
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def take(self, other: Buffered, rows: Tensor, columns: int, places: Tensor, batch: int, length: int) -> None:
        """Put the last columns of some rows of another into these places of a batch of `length` columns."""
        if not self.is_initialized:
            self.length = length
            self._make(other.buffers, batch)
        for buffer, theirs in zip(self.buffers, other.buffers, strict=True):
            into, wanted = buffer[:, :, length - columns : length], theirs[:, :, other.length - columns : other.length]
            into.index_copy_(0, places, wanted.index_select(0, rows))

    def drop(self) -> None:
        """Let go of the memory; nothing is read from it again."""
        self.buffers, self.keys, self.values = [], None, None

    def _make(self, like: Sequence[Tensor], batch: int) -> None:
        self.dtype, self.device, self.is_initialized = like[0].dtype, like[0].device, True
        self.buffers = [s.new_empty(batch, s.shape[1], self.capacity, s.shape[3]) for s in like]
        for buffer in self.buffers:  # what is masked is times 0, and must be a number
            buffer[:, :, : self.length if self.at is None else None].zero_()


def joins(base: Base) -> bool:
    """Whether rows can join a batch that has begun: where layers keep everything."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=base.config).layers)


class Past:
    """Of `rows` rows: `length` columns that other pasts are to fill (`take`), and `left` more to come. Fixed where
    asked, and where the family's layers keep everything.
    """

    def __init__(self, base: Base, rows: int, length: int, left: int, *, fixed: bool = False) -> None:
        self._base, self.length = base, length
        self.cache = DynamicCache(config=base.config)
        self.at = torch.tensor([length], device=base.device) if fixed and joins(base) else None
        self.cache.layers = [
            Buffered(length + left, self.at) if type(layer) is DynamicLayer else layer for layer in self.cache.layers
        ]
        self.real_BC = torch.ones(rows, length + left, dtype=torch.bool, device=base.device)
        self.real_BC[:, :length] = False
        self._columns_C = torch.arange(length + left, device=base.device)
        self.padded = length > 0

    @property
    def fixed(self) -> bool:
        return self.at is not None

    def take(self, parts: Sequence[Part]) -> None:
        """Fill the first columns: rows of other pasts, which end where these end. Layer by layer what was theirs is
        dropped, so that hardly more than one of both is held."""
        on = [[torch.tensor(some, device=self._base.device) for some in (rows, places)] for _, rows, _, places in parts]
        for l in range(len(self.cache.layers)):
            for (past, _, columns, _), (rows_P, places_P) in zip(parts, on, strict=True):
                ours, theirs = self.cache.layers[l], past.cache.layers[l]
                if isinstance(theirs, Buffered) and isinstance(ours, Buffered):
                    ours.take(theirs, rows_P, columns, places_P, len(self.real_BC), self.length)
                    theirs.drop()
                else:  # a sliding window stays as it is, and its part is the only one
                    assert isinstance(theirs, DynamicLayer)
                    theirs.batch_select_indices(rows_P)
                    self.cache.layers[l] = theirs
        for (past, _, columns, _), (rows_P, places_P) in zip(parts, on, strict=True):
            real = past.real_BC[rows_P, past.length - columns : past.length]
            self.real_BC[places_P, self.length - columns : self.length] = real
        self.padded = not bool(self.real_BC.all())

    def fill(self, ids_BT: Tensor, position_BT: Tensor) -> None:
        """Put tokens through of which only keys and values are wanted: the pass ends where the last layer keeps its
        own. For a past that others take from; it is not read."""
        last, length = self.cache.layers[-1], self.length + ids_BT.shape[1]
        if isinstance(last, Buffered):
            last.ends = True
        with suppress(Enough):
            self.read(ids_BT, position_BT)
        self.length = length

    def read(self, ids_BT: Tensor, position_BT: Tensor) -> Tensor:
        """Put tokens through, one where it is fixed: the hidden state at each row's last, [B, D]."""
        out_BTD = self._base.body(
            input_ids=ids_BT,
            attention_mask=self._mask(ids_BT.shape[1]),
            position_ids=position_BT,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        if self.at is None:
            self.length += ids_BT.shape[1]
        else:
            self.at += 1
        return out_BTD[:, -1]

    def _mask(self, coming: int) -> Tensor | None:
        if self.at is not None:
            return (self.real_BC & (self._columns_C <= self.at))[:, None, None]
        return self.real_BC[:, : self.length + coming] if self.padded else None

    def columns(self) -> Tensor:
        """How many of the last columns each row needs, [B]: from its first that is no padding."""
        return self.length - self.real_BC.int().argmax(1)

    def settle(self) -> None:
        """Tell the host how long a fixed one has become."""
        if self.at is not None:
            self.length = int(self.at)
            for layer in self.cache.layers:
                assert isinstance(layer, Buffered)
                layer.length = self.length


class Part(NamedTuple):
    """Rows of a past, how many of its last columns they need, and their places in the batch to come."""

    past: Past
    rows: Sequence[int]
    columns: int
    places: Sequence[int]
