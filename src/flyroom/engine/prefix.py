"""What lies below the lowest adapter, computed once for each row and kept.

Below the lowest layer on which an adapter of the batch stands, every organism is the base: the residual that enters
that layer is a constant of the row's tokens. It is computed where a row is new, kept, and put in where the layers below
would have made it; so epochs, and organisms that share their rows, pay for those layers once. Kept on the device, then
in pinned memory, then in a mapped file that has no name any more; what comes first stays, and a row for which there is
no place is computed anew each time. All is dropped when no adapter is left.

Nothing changes but rounding: a row is computed beside the rows with which it first came.
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
from torch import Tensor

from flyroom.engine.bases import Base, instead
from flyroom.engine.batches import Collated, collate
from flyroom.engine.render import Rendered

SHARE = 0.25  # of the memory, or of the disk, that was free at the start
BLOCK = 1 << 26  # bytes that are reserved at once

Key = tuple[int, bytes]  # the layer that is entered, a digest of the row's ids


class Enough(Exception):
    """Stops a forward pass above the last layer that is wanted."""


@dataclass(eq=False, kw_only=True)
class Tier:
    """A place to keep things: how many bytes it may still take, and what reserves [M, D] of it."""

    name: str
    free: int
    reserve: Callable[[int, int, torch.dtype], Tensor]


class Kept(NamedTuple):
    """Where a row's residuals lie: from this line of a block on."""

    block: Tensor
    start: int


class Prefix:
    """The residuals below the lowest adapter. `tiers` may be changed; with none nothing is kept.

    `computed` and `reused` count tokens, without padding.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.tiers = _tiers(base.device)
        self.computed = self.reused = 0
        self._rows: dict[Key, Kept] = {}
        self._blocks: list[tuple[Tier, Tensor]] = []
        self._used = 0  # lines of the last block
        self._tuples = False  # whether this family's layers give tuples

    @property
    def bytes(self) -> dict[str, int]:
        """What is reserved, by tier."""
        held = dict.fromkeys((tier.name for tier in self.tiers), 0)
        for tier, block in self._blocks:
            held[tier.name] += block.nbytes
        return held

    def forget(self) -> None:
        """Drop all that is kept."""
        for tier, block in self._blocks:
            tier.free += block.nbytes
        self._rows, self._blocks, self._used = {}, [], 0

    @contextmanager
    def below(self, layer: int, batch: Collated) -> Iterator[None]:
        """The body's passes over this batch begin at `layer`, with what enters it. Nothing changes for layer 0."""
        if not layer or not self.tiers:
            yield
            return
        entering_BTD = self._entering(layer, batch)
        skipped = self.base.layers[:layer]

        def give(hidden_BTD: Tensor, *_: Any, **__: Any) -> Any:
            given_BTD = entering_BTD[:, : hidden_BTD.shape[1]]
            return (given_BTD,) if self._tuples else given_BTD

        with instead(skipped, [give] * layer):
            yield

    def _entering(self, layer: int, batch: Collated) -> Tensor:
        """[B, T, D], zero at padding."""
        keys = [(layer, hashlib.blake2b(row.ids.tobytes(), digest_size=16).digest()) for row in batch.rows]
        new = {key: row for key, row in zip(keys, batch.rows, strict=True) if key not in self._rows}
        self.computed += sum(len(row.ids) for row in new.values())
        self.reused += sum(len(row.ids) for row in batch.rows) - sum(len(row.ids) for row in new.values())
        with torch.inference_mode(False), torch.no_grad():  # or what a trace keeps could not serve in training
            found = {key: self._rows[key] for key in keys if key in self._rows} | self._compute(layer, new)
            shape, dtype = (*batch.ids_BT.shape, self.base.width), found[keys[0]].block.dtype
            out_BTD = torch.zeros(shape, dtype=dtype, device=self.base.device)
            sources: dict[int, tuple[Tensor, list[Any], list[Any]]] = {}
            for i, (key, row) in enumerate(zip(keys, batch.rows, strict=True)):
                block, start = found[key]
                _, source, target = sources.setdefault(id(block), (block, [], []))
                place = np.arange(len(row.ids))
                source.append(start + place)
                target.append(i * batch.ids_BT.shape[1] + place)
            for block, source, target in sources.values():
                lines = block.index_select(0, torch.from_numpy(np.concatenate(source)).to(block.device))
                where = torch.from_numpy(np.concatenate(target)).to(out_BTD.device)
                out_BTD.flatten(0, 1).index_copy_(0, where, lines.to(out_BTD.device))
        return out_BTD

    def _compute(self, layer: int, new: Mapping[Key, Rendered]) -> dict[Key, Kept]:
        if not new:
            return {}
        batch = collate(list(new.values()), self.base.device)
        caught: list[Tensor] = []

        def catch(_module: Any, _args: Any, output: Any) -> None:
            self._tuples = isinstance(output, tuple)
            caught.append(output[0] if self._tuples else output)
            raise Enough

        hook = self.base.layers[layer - 1].register_forward_hook(catch)
        try:
            self.base.body(input_ids=batch.ids_BT, use_cache=False)
        except Enough:
            pass
        finally:
            hook.remove()
        (hidden_BTD,) = caught
        lines, found = hidden_BTD.flatten(0, 1), dict[Key, Kept]()
        for i, (key, row) in enumerate(new.items()):
            n, start = len(row.ids), i * hidden_BTD.shape[1]
            found[key] = self._keep(key, lines[start : start + n]) or Kept(lines, start)
        return found

    def _keep(self, key: Key, lines_TD: Tensor) -> Kept | None:
        """Copy a row's residuals where there is a place. None where there is none."""
        if not self._blocks or self._used + len(lines_TD) > len(self._blocks[-1][1]):
            line = lines_TD[0].nbytes
            most = max(BLOCK // line, len(lines_TD))
            tier = next((t for t in self.tiers if t.free >= len(lines_TD) * line), None)
            if tier is None:
                return None
            block = tier.reserve(min(most, tier.free // line), lines_TD.shape[1], lines_TD.dtype)
            tier.free -= block.nbytes
            self._blocks.append((tier, block))
            self._used = 0
        block, start = self._blocks[-1][1], self._used
        block[start : start + len(lines_TD)] = lines_TD
        self._used += len(lines_TD)
        self._rows[key] = Kept(block, start)
        return self._rows[key]


def _tiers(device: torch.device) -> list[Tier]:
    """A share of what is free on the device, in memory and on the disk of temporary files."""
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"  # macOS has the latter
    host = int(SHARE * os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE"))
    pinned = device.type == "cuda"
    tiers = [Tier(name="memory", free=host, reserve=lambda m, d, t: torch.empty(m, d, dtype=t, pin_memory=pinned))]
    disk = int(SHARE * shutil.disk_usage(tempfile.gettempdir()).free)
    tiers.append(Tier(name="disk", free=disk, reserve=_mapped))
    if pinned:
        room = int(SHARE * torch.cuda.mem_get_info(device)[0])
        on_device = Tier(name="device", free=room, reserve=lambda m, d, t: torch.empty(m, d, dtype=t, device=device))
        tiers.insert(0, on_device)
    return tiers


def _mapped(lines: int, width: int, dtype: torch.dtype) -> Tensor:
    """[lines, width] in a file without a name: it is gone with the process, however that ends."""
    handle, path = tempfile.mkstemp(prefix="flyroom-prefix-")
    try:
        os.close(handle)
        return torch.from_file(path, shared=True, size=lines * width, dtype=dtype).view(lines, width)
    finally:
        Path(path).unlink()
