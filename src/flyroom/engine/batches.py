"""Put rows into batches: grouped by adapter, alike in length, padded, and within a budget of tokens.

Each adapter's rows are sorted from the longest to the shortest, and every adapter gives one row in turn, so that a
batch holds the same number of rows of every adapter. Batches end where the padding and the cost of another pass are
least in sum. The division into batches changes memory and time, and no result.

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

# What one more pass costs, in tokens, as measured. A GPU waits for its host, which sends thousands of small kernels.
PASS = {"cpu": 150, "cuda": 20_000}
DEALS = 64  # deals in a batch: smaller ones would save no padding worth the search


def pass_cost(device: torch.device) -> int:
    """Returns what one more pass costs on a device, in tokens."""
    return PASS["cuda" if device.type == "cuda" else "cpu"]


def pack(owners: Sequence[int], lengths: Sequence[int], budget: int, *, overhead: int = 0) -> list[list[int]]:
    """Returns batches of row numbers, each grouped by owner, of at most `budget` padded tokens or of a single row.

    The batches are those for which the padded tokens, plus `overhead` for each batch, are least in sum.
    """
    deals = list(_deals(owners, lengths, budget))
    longest = [max(lengths[row] for row in deal) for deal in deals]
    costs, starts = [0], [0]  # for the first j deals: their least cost, and where their last batch starts
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
    """Yields rows that stay together: one row of each owner, or fewer where the budget does not hold them. Where owners
    are few, a deal holds several rows of each, because `pack` is quadratic in the number of deals.
    """
    rows_of: dict[int, list[int]] = {}
    for row in sorted(range(len(owners)), key=lambda i: -lengths[i]):
        rows_of.setdefault(owners[row], []).append(row)
    deal, widest = list[int](), 0
    for rank in range(max(map(len, rows_of.values()), default=0)):
        deal += [rows[rank] for rows in rows_of.values() if rank < len(rows)]
        widest = max(widest, *(lengths[row] for row in deal))
        if len(deal) * widest >= budget // DEALS:
            fit = max(1, budget // widest)
            yield from (deal[i : i + fit] for i in range(0, len(deal), fit))
            deal, widest = [], 0
    if deal:
        yield deal


def groups(owners: Sequence[int]) -> list[Group]:
    """Returns the runs of rows that have the same owner."""
    runs: list[Group] = []
    for row, owner in enumerate(owners):
        if runs and runs[-1].slot == owner:
            runs[-1] = runs[-1]._replace(rows=runs[-1].rows + 1)
        else:
            runs.append(Group(owner, row, 1))
    return runs


class Collated(NamedTuple):
    """A right-padded batch. It needs no attention mask: under causal attention no token attends to padding after it."""

    ids_BT: Tensor
    answer_BT: Tensor  # which of ids_BT are answer tokens
    counts: list[int]  # answer tokens a row
    rows: Sequence[Rendered]

    def predicted(self, after: int = 0) -> tuple[Tensor, Tensor]:
        """Returns the flat positions [N] in ids_BT[:, after:-1] that predict answer tokens, and those tokens [N], row
        by row. No answer may begin within the first `after` + 1 tokens.
        """
        marks = self.answer_BT[:, after + 1 :]
        return marks.flatten().nonzero().flatten(), self.ids_BT[:, after + 1 :][marks]


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
    """Returns the prompts, padded so that they end together, and the mask of real tokens: None without padding."""
    lengths = np.array([len(p) for p in prompts])
    real = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.zeros(real.shape, dtype=np.int64)
    ids[real] = np.concatenate(prompts)
    mask = None if real.all() else torch.from_numpy(real).to(device)
    return torch.from_numpy(ids).to(device), mask
