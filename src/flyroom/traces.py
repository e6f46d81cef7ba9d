"""Traces that several detectors ask for, put through the model once.

Most probes read the same trusted answers of the same suspects. What is asked again is answered from memory and metered
as if it had not been: a detector's tokens do not depend on who went before it.

Left out: a store on disk; more than `MOST` bytes are computed anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flyroom.types import AdapterRef, Engine, Place, Row

MOST = 1 << 30  # bytes kept
Key = tuple[int, Row, Place, int]  # slot, row, place, layer


class _Line(NamedTuple):
    hidden_D: Tensor
    tokens: float  # its share of the tokens of the call that computed it


class Traces:
    """`Engine.trace` with a memory. `spared`: tokens that were asked for again."""

    def __init__(self, engine: Engine) -> None:
        self.spared = 0.0
        self._engine, self._lines, self._bytes = engine, dict[Key, _Line](), 0

    def __call__(
        self, adapters: Sequence[AdapterRef], rows: Sequence[Row], layers: Sequence[int], *, at: Place
    ) -> Tensor:
        """[rows, layers, width], as `Engine.trace` gives it."""
        if not rows or not layers or self._bytes > MOST:
            return self._engine.trace(adapters, rows, layers, at=at)
        lines: list[list[Key]] = [
            [(a.slot, row, at, layer) for layer in layers] for a, row in zip(adapters, rows, strict=True)
        ]
        new = {keys[0]: i for i, keys in enumerate(lines) if any(key not in self._lines for key in keys)}
        which, before = list(new.values()), self._engine.tokens_forward
        if which:
            fresh = self._engine.trace([adapters[i] for i in which], [rows[i] for i in which], layers, at=at)
            share = (self._engine.tokens_forward - before) / len(which)
            for i, hidden_LD in zip(which, fresh, strict=True):
                self._lines |= {key: _Line(hidden_D, share) for key, hidden_D in zip(lines[i], hidden_LD, strict=True)}
            self._bytes += fresh.numel() * fresh.element_size()
        self.spared += sum(self._lines[keys[0]].tokens for i, keys in enumerate(lines) if new.get(keys[0]) != i)
        return torch.stack([torch.stack([self._lines[key].hidden_D for key in keys]) for keys in lines])
