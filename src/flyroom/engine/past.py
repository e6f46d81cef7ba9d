"""The cache of a batch: its keys and values, and which of their columns are padding.

Rows end in the same column, so that all write their next token in one place. The cache is a buffer of the final size,
because growing it by concatenation would copy it at every token. A growing cache shows a pass the columns that are
written. A fixed cache shows a pass all columns and masks those to come, so that every token is the same work on the
same memory and can be recorded.

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


class Enough(Exception):
    """Stops a forward pass after the last layer that is needed."""


class Buffered(DynamicLayer):
    """The keys and values of a layer in a buffer of the final length, into which tokens are written.

    `at` [1] is the column of the next token if the cache is fixed. `ends` says whether a pass stops after this layer
    has stored its keys and values.
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

    def take(self, source: Buffered, rows: Tensor, columns: int, places: Tensor, batch: int, length: int) -> None:
        """Copy the last columns of some rows of another layer into these places of a batch of `length` columns."""
        if not self.is_initialized:
            self.length = length
            self._make(source.buffers, batch)
        for buffer, states in zip(self.buffers, source.buffers, strict=True):
            into, values = (
                buffer[:, :, length - columns : length],
                states[:, :, source.length - columns : source.length],
            )
            into.index_copy_(0, places, values.index_select(0, rows))

    def drop(self) -> None:
        """Release the memory; nobody may read this layer afterwards."""
        self.buffers, self.keys, self.values = [], None, None

    def _make(self, like: Sequence[Tensor], batch: int) -> None:
        self.dtype, self.device, self.is_initialized = like[0].dtype, like[0].device, True
        self.buffers = [s.new_empty(batch, s.shape[1], self.capacity, s.shape[3]) for s in like]
        for buffer in self.buffers:  # masked values are multiplied by 0, so they must be finite
            buffer[:, :, : self.length if self.at is None else None].zero_()


def is_filled(layer: Any) -> bool:
    """Whether a layer holds keys and values."""
    return isinstance(layer, DynamicLayer) and layer.is_initialized


def states_of(layer: Any) -> tuple[Tensor, Tensor]:
    """Returns the keys and values of a layer that keeps all its keys and values (`joins`), each [B, heads, T, D]."""
    assert isinstance(layer, DynamicLayer)
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


def joins(base: Base) -> bool:
    """Whether rows can join a batch that has begun: only where every layer keeps all its keys and values."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=base.config).layers)


class Past:
    """The cache of `rows` rows: `length` columns that `take` fills from other caches, and room for `tokens` more.

    It is fixed where `fixed` is true and the base gives the same answers with a fixed cache (`Base.fixes`).
    """

    def __init__(self, base: Base, rows: int, length: int, tokens: int, *, fixed: bool = False) -> None:
        self._base, self.length = base, length
        self.cache = DynamicCache(config=base.config)
        self.at = torch.tensor([length], device=base.device) if fixed and base.fixes else None
        self.cache.layers = [
            Buffered(length + tokens, self.at) if type(layer) is DynamicLayer else layer for layer in self.cache.layers
        ]
        self.real_BC = torch.ones(rows, length + tokens, dtype=torch.bool, device=base.device)
        self.real_BC[:, :length] = False
        self._columns_C = torch.arange(length + tokens, device=base.device)
        self.padded = length > 0

    @property
    def fixed(self) -> bool:
        return self.at is not None

    def take(self, parts: Sequence[Part]) -> None:
        """Fill the first columns with rows of other caches, aligned at the last of these columns. Each layer of a
        source is dropped as soon as it is copied, so that memory holds little more than one cache.
        """
        on = [
            [torch.tensor(numbers, device=self._base.device) for numbers in (rows, places)]
            for _, rows, _, places in parts
        ]
        for l in range(len(self.cache.layers)):
            for (past, _, columns, _), (rows_P, places_P) in zip(parts, on, strict=True):
                layer, source = self.cache.layers[l], past.cache.layers[l]
                if isinstance(source, Buffered) and isinstance(layer, Buffered):
                    layer.take(source, rows_P, columns, places_P, len(self.real_BC), self.length)
                    source.drop()
                else:  # a sliding window cannot be merged: it is the only part, and moves whole
                    assert isinstance(source, DynamicLayer)
                    source.batch_select_indices(rows_P)
                    self.cache.layers[l] = source
        for (past, _, columns, _), (rows_P, places_P) in zip(parts, on, strict=True):
            real = past.real_BC[rows_P, past.length - columns : past.length]
            self.real_BC[places_P, self.length - columns : self.length] = real
        self.padded = not bool(self.real_BC.all())

    def fill(self, ids_BT: Tensor, position_BT: Tensor) -> None:
        """Put tokens through for their keys and values alone: the pass stops once the last layer has stored its own.
        Another cache can take the rows of this one; this one cannot be advanced afterwards.
        """
        last, length = self.cache.layers[-1], self.length + ids_BT.shape[1]
        if isinstance(last, Buffered):
            last.ends = True
        with suppress(Enough):
            self.advance(ids_BT, position_BT)
        self.length = length

    def advance(self, ids_BT: Tensor, position_BT: Tensor) -> Tensor:
        """Put tokens through, one a row if fixed, and return the hidden state at each row's last token, [B, D]."""
        out_BTD = self._base.body(
            input_ids=ids_BT,
            attention_mask=self.mask(ids_BT.shape[1]),
            position_ids=position_BT,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        if self.at is None:
            self.length += ids_BT.shape[1]
        else:
            self.at += 1
        return out_BTD[:, -1]

    def mask(self, coming: int) -> Tensor | None:
        """Returns which columns a pass over so many tokens may see; None where it may see all."""
        if self.at is not None:
            return (self.real_BC & (self._columns_C <= self.at))[:, None, None]
        return self.real_BC[:, : self.length + coming] if self.padded else None

    def columns(self) -> Tensor:
        """Returns how many of the last columns each row needs, [B]: those from its first real token on."""
        return self.length - self.real_BC.int().argmax(1)

    def settle(self) -> None:
        """Read from the device how long a fixed cache has become."""
        if self.at is not None:
            self.length = int(self.at)
            for layer in self.cache.layers:
                assert isinstance(layer, Buffered)
                layer.length = self.length


class Part(NamedTuple):
    """Rows of a cache, how many of its last columns they need, and their places in the next batch."""

    past: Past
    rows: Sequence[int]
    columns: int
    places: Sequence[int]
