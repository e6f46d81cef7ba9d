"""A store of what the layers below the lowest adapter compute, so that they compute it once for each row.

Below the lowest layer on which an adapter of the batch stands, every organism is the base. So the residual that enters
that layer depends on the row's tokens alone. The store computes it for a new row, keeps it, and puts it in the place of
the output of the layers below. Epochs, and organisms that share their rows, then pay for those layers once. It stores
residuals on the device, then in pinned memory, then in a mapped file that has no name any more. Rows that came first
stay; a row for which there is no space is computed anew each time. The engine drops everything when it has no adapter.

Where rows share a beginning (`beginnings`), the layers below compute that once, too, and rows are kept without it.

Results differ by rounding alone: a row is computed in the batch in which it came first.
Left out: what lies below the adapter within its layer; keys and values for sampling.
Shapes: B rows, T tokens, D width, M tokens of a block.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from flyroom.engine.bases import Base
from flyroom.engine.batches import Collated, collate
from flyroom.engine.past import states_of
from flyroom.engine.render import Rendered
from flyroom.engine.trunk import Entry, begin_at, run_below

SHARE = 0.25  # of the memory, and of the disk, that is free at the start
BLOCK = 1 << 26  # bytes that are reserved together

Key = tuple[int, int, bytes]  # the layer that the residual enters, the first token kept, and a digest of the row's ids


@dataclass(eq=False, kw_only=True)
class Tier:
    """A kind of memory: how many bytes of it the store may still take, and the function that reserves [M, D] of it."""

    name: str
    free: int
    reserve: Callable[[int, int, torch.dtype], Tensor]


class Location(NamedTuple):
    """Where the residuals of a row lie: in a block, from this line on."""

    block: Tensor
    start: int


class Prefix:
    """The residuals below the lowest adapter. `tiers` may be changed; without tiers nothing is stored.

    `computed` and `reused` count tokens, without padding.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.tiers = _tiers(base.device)
        self.computed = self.reused = 0
        self._rows: dict[Key, Location] = {}
        self._blocks: list[tuple[Tier, Tensor]] = []
        self._lines = 0  # lines of the last block
        self._beginnings: dict[Key, list[tuple[Tensor, Tensor]]] = {}  # keys and values of beginnings that rows share
        self._is_tuple = False  # whether the layers of this family return tuples

    @property
    def bytes(self) -> dict[str, int]:
        """The bytes that are reserved, by tier."""
        sizes = dict.fromkeys((tier.name for tier in self.tiers), 0)
        for tier, block in self._blocks:
            sizes[tier.name] += block.nbytes
        return sizes

    def forget(self) -> None:
        """Drop everything that is stored."""
        for tier, block in self._blocks:
            tier.free += block.nbytes
        self._rows, self._blocks, self._lines, self._beginnings = {}, [], 0, {}

    @contextmanager
    def below(self, layer: int, batch: Collated, after: int = 0) -> Iterator[None]:
        """Make the body's passes over this batch begin at `layer`, with the residual that enters it. Does nothing for
        layer 0. The passes leave out the first `after` tokens, which all rows share.
        """
        if not layer or not self.tiers:
            yield
            return
        with begin_at(self.base, layer, Entry(self._entering(layer, batch, after), self._is_tuple)):
            yield

    def _entering(self, layer: int, batch: Collated, after: int) -> Tensor:
        """Returns the residuals that enter a layer, [B, T, D], zero at padding. T begins behind `after` tokens."""
        keys = [_key(layer, after, row.ids) for row in batch.rows]
        new = {key: row for key, row in zip(keys, batch.rows, strict=True) if key not in self._rows}
        computed = sum(len(row.ids) - after for row in new.values())
        self.computed += computed
        self.reused += sum(len(row.ids) - after for row in batch.rows) - computed
        longest = batch.ids_BT.shape[1] - after
        with torch.inference_mode(False), torch.no_grad():  # training cannot use inference tensors
            locations = {key: self._rows[key] for key in keys if key in self._rows} | self._compute(layer, new, after)
            shape, dtype = (len(keys), longest, self.base.width), locations[keys[0]].block.dtype
            out_BTD = torch.zeros(shape, dtype=dtype, device=self.base.device)
            sources: dict[int, tuple[Tensor, list[Any], list[Any]]] = {}
            for i, (key, row) in enumerate(zip(keys, batch.rows, strict=True)):
                block, start = locations[key]
                _, source, target = sources.setdefault(id(block), (block, [], []))
                place = np.arange(len(row.ids) - after)
                source.append(start + place)
                target.append(i * longest + place)
            for block, source, target in sources.values():
                lines = block.index_select(0, torch.from_numpy(np.concatenate(source)).to(block.device))
                where = torch.from_numpy(np.concatenate(target)).to(out_BTD.device)
                out_BTD.flatten(0, 1).index_copy_(0, where, lines.to(out_BTD.device))
        return out_BTD

    def _compute(self, layer: int, new: Mapping[Key, Rendered], after: int) -> dict[Key, Location]:
        if not new:
            return {}
        rows = list(new.values())
        ids_BT, cache = collate(rows, self.base.device).ids_BT, None
        if after:
            cache = DynamicCache(config=self.base.config)
            for l, (keys, values) in enumerate(self._begin(layer, rows[0].ids[:after])):
                cache.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), l)
        hidden_BTD, self._is_tuple = run_below(self.base, layer, ids_BT[:, after:], cache)
        lines, locations = hidden_BTD.flatten(0, 1), dict[Key, Location]()
        for i, (key, row) in enumerate(new.items()):
            n, start = len(row.ids) - after, i * hidden_BTD.shape[1]
            locations[key] = self._store(key, lines[start : start + n]) or Location(lines, start)
        return locations

    def _begin(self, layer: int, ids_T: NDArray[np.int64]) -> list[tuple[Tensor, Tensor]]:
        """Returns the keys and values of a beginning in the layers below, each [1, heads, T, head width]."""
        key = _key(layer, len(ids_T), ids_T)
        if key not in self._beginnings:
            cache = DynamicCache(config=self.base.config)
            run_below(self.base, layer, torch.from_numpy(ids_T).to(self.base.device)[None], cache)
            self._beginnings[key] = [states_of(below) for below in cache.layers[:layer]]
        return self._beginnings[key]

    def _store(self, key: Key, lines_TD: Tensor) -> Location | None:
        """Copy the residuals of a row into the first tier that has space. Returns None where no tier has any."""
        if not self._blocks or self._lines + len(lines_TD) > len(self._blocks[-1][1]):
            line = lines_TD[0].nbytes
            length = max(BLOCK // line, len(lines_TD))
            tier = next((t for t in self.tiers if t.free >= len(lines_TD) * line), None)
            if tier is None:
                return None
            block = tier.reserve(min(length, tier.free // line), lines_TD.shape[1], lines_TD.dtype)
            tier.free -= block.nbytes
            self._blocks.append((tier, block))
            self._lines = 0
        block, start = self._blocks[-1][1], self._lines
        block[start : start + len(lines_TD)] = lines_TD
        self._lines += len(lines_TD)
        self._rows[key] = Location(block, start)
        return self._rows[key]


def _key(layer: int, after: int, ids_T: NDArray[np.int64]) -> Key:
    return layer, after, hashlib.blake2b(ids_T.tobytes(), digest_size=16).digest()


def _tiers(device: torch.device) -> list[Tier]:
    """Returns the tiers, each with a share of what is free: on the device, in memory, on the temporary disk."""
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"  # macOS has only the latter
    host = int(SHARE * os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"))
    pinned = device.type == "cuda"
    tiers = [Tier(name="memory", free=host, reserve=lambda m, d, t: torch.empty(m, d, dtype=t, pin_memory=pinned))]
    disk = int(SHARE * shutil.disk_usage(tempfile.gettempdir()).free)
    tiers.append(Tier(name="disk", free=disk, reserve=_map_file))
    if pinned:
        room = int(SHARE * torch.cuda.mem_get_info(device)[0])
        on_device = Tier(name="device", free=room, reserve=lambda m, d, t: torch.empty(m, d, dtype=t, device=device))
        tiers.insert(0, on_device)
    return tiers


def _map_file(lines: int, width: int, dtype: torch.dtype) -> Tensor:
    """Returns [lines, width] in a file without a name: the system removes it when the process ends, however it ends."""
    handle, path = tempfile.mkstemp(prefix="flyroom-prefix-")
    try:
        os.close(handle)
        return torch.from_file(path, shared=True, size=lines * width, dtype=dtype).view(lines, width)
    finally:
        Path(path).unlink()
