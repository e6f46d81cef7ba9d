"""Rows into batches: grouped by adapter, alike in length, under a budget of tokens, padded.

Rows are dealt from each adapter's longest to its shortest, one from each adapter in turn, so a batch holds as many rows
of every adapter; it ends where padding and the cost of another batch are least together. How rows are dealt changes no
result, only the memory and the time.

Left out: packing several rows into one sequence.
Shapes: B rows, T tokens, N answer tokens of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flyroom.engine.bank import Group
from flyroom.engine.render import Rendered

PASS = {"cpu": 150, "cuda": 1000}  # what one more pass costs, in tokens: measured on a CPU, guessed for a GPU
DEALS = 64  # in a batch: finer than that nothing is gained


def pass_cost(device: torch.device) -> int:
    """What one more pass costs there, in tokens."""
    return PASS["cuda" if device.type == "cuda" else "cpu"]


def pack(owners: Sequence[int], lengths: Sequence[int], budget: int, *, overhead: int = 0) -> list[list[int]]:
    """Deal rows into batches of at most `budget` padded tokens, at least one row. Row numbers, grouped by owner.

    Where a batch ends is chosen so that padding, and `overhead` tokens for each batch, are the least in all.
    """
    deals = list(_deals(owners, lengths, budget))
    longest = [max(lengths[row] for row in deal) for deal in deals]
    costs, starts = [0], [0]  # of the first j deals: what they cost at least, and where their last batch starts
    for j in range(1, len(deals) + 1):
        rows, widest, least = 0, 0, None
        for i in range(j - 1, -1, -1):
            rows, widest = rows + len(deals[i]), max(widest, longest[i])
            if least and rows * widest > budget:
                break
            cost = costs[i] + rows * widest + overhead
            if least is None or cost < least[0]:
                least = cost, i
        assert least is not None
        costs.append(least[0])
        starts.append(least[1])
    batches, end = list[list[int]](), len(deals)
    while end:
        batch = [row for deal in deals[starts[end] : end] for row in deal]
        batches.append(sorted(batch, key=lambda row: owners[row]))
        end = starts[end]
    return batches[::-1]


def _deals(owners: Sequence[int], lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows that stay together: one of each owner, or as many as the budget holds, or (for speed, where owners are few)
    several of each."""
    mine: dict[int, list[int]] = {}
    for row in sorted(range(len(owners)), key=lambda i: -lengths[i]):
        mine.setdefault(owners[row], []).append(row)
    deal, widest = list[int](), 0
    for rank in range(max(map(len, mine.values()), default=0)):
        deal += [rows[rank] for rows in mine.values() if rank < len(rows)]
        widest = max(widest, *(lengths[row] for row in deal))
        if len(deal) * widest >= budget // DEALS:
            fit = max(1, budget // widest)
            yield from (deal[i : i + fit] for i in range(0, len(deal), fit))
            deal, widest = [], 0
    if deal:
        yield deal


def groups(owners: Sequence[int]) -> list[Group]:
    """Runs of one owner."""
    found: list[Group] = []
    for row, owner in enumerate(owners):
        if found and found[-1].slot == owner:
            found[-1] = found[-1]._replace(rows=found[-1].rows + 1)
        else:
            found.append(Group(owner, row, 1))
    return found


class Collated(NamedTuple):
    """A right-padded batch. It needs no attention mask: under causal attention no token looks at padding behind it."""

    ids_BT: Tensor
    answer_BT: Tensor  # which of ids_BT are answer tokens
    counts: list[int]  # answer tokens a row
    rows: Sequence[Rendered]

    def predicted(self) -> tuple[Tensor, Tensor]:
        """Flat positions [N] in ids_BT[:, :-1] that predict answer tokens, and those tokens [N], row by row."""
        marks = self.answer_BT[:, 1:]
        return marks.flatten().nonzero().flatten(), self.ids_BT[:, 1:][marks]


def collate(rows: Sequence[Rendered], device: torch.device) -> Collated:
    lengths, starts = np.array([len(r.ids) for r in rows]), np.array([r.start for r in rows])
    place = np.arange(lengths.max())
    real = place < lengths[:, None]
    ids = np.zeros(real.shape, dtype=np.int64)
    ids[real] = np.concatenate([r.ids for r in rows])
    answer = real & (place >= starts[:, None])
    counts = (lengths - starts).tolist()
    return Collated(torch.from_numpy(ids).to(device), torch.from_numpy(answer).to(device), counts, rows)


def left_pad(prompts: Sequence[NDArray[np.int64]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Prompts ending together, and the mask of what is no padding: None if there is none."""
    lengths = np.array([len(p) for p in prompts])
    real = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.zeros(real.shape, dtype=np.int64)
    ids[real] = np.concatenate(prompts)
    mask = None if real.all() else torch.from_numpy(real).to(device)
    return torch.from_numpy(ids).to(device), mask
