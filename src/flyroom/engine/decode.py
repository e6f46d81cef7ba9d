"""Sampling many adapters in one batch, a token for every row at a time; who is done makes room for who waits.

Prompts are left-padded so that all rows write their next token in one place. When a third of the rows is done they
leave, columns that nobody needs any more are dropped, and as many asks come in as the budget holds. Of a prompt all but
the last token is put through beforehand; the last token goes with the others' next one.

Left out: where layers keep a sliding window, newcomers (all leave first) and recording.
Shapes: B rows in the batch, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flyroom.engine import noise
from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups
from flyroom.engine.graphs import Recorded
from flyroom.engine.past import Part, Past, joins
from flyroom.engine.prompts import put_through
from flyroom.types import Ask

LEAVE = 1 / 3  # the share of rows that must be done before they leave together


class Budget(NamedTuple):
    """Tokens: how many a batch may keep with its answers, what a row takes beside them, how many go through at once."""

    kept: int
    row: int
    through: int


class _Row(NamedTuple):
    """Of a batch: where, how many tokens it has said, and how many columns it needs of what is kept."""

    at: int
    said: int
    columns: int


class Decoded(NamedTuple):
    """An answer: of which ask, its tokens without the stop, and whether one came."""

    ask: int
    tokens: list[int]
    finished: bool


def decode(
    base: Base,
    banks: Banks,
    owners: Sequence[int],
    prompts: Sequence[NDArray[np.int64]],
    asks: Sequence[Ask],
    *,
    budget: Budget,
    fixed: bool = False,
) -> Iterator[list[Decoded]]:
    """Answers, as they are done. A batch is within the budget, or a single row. `fixed`: every pass is over the whole
    of the cache, and on CUDA recorded. The banks are left routed."""
    device, sizes, limits = base.device, [len(p) for p in prompts], [a.max_tokens for a in asks]
    said = _Said(base, prompts, asks)
    waiting = sorted(range(len(asks)), key=lambda i: (sizes[i], limits[i], owners[i], prompts[i].tobytes()))
    alive: dict[int, _Row] = {}  # the asks in the batch
    past, joining = None, joins(base)
    if not joining:  # a window's keys and values stay where they were computed: all go through at once
        budget = budget._replace(kept=min(budget.kept, budget.through))
    while waiting or alive:
        came = _admitted(waiting, alive, sizes, limits, budget) if joining or not alive else []
        which = sorted([*alive, *came], key=lambda i: (owners[i], i))
        new = [i for i in which if i not in alive]
        place, parts = {i: row for row, i in enumerate(which)}, list[Part]()
        if past and alive:
            columns = max(row.columns for row in alive.values()) if joining else past.length
            parts.append(Part(past, [row.at for row in alive.values()], columns, [place[i] for i in alive]))
        if new and sizes[new[0]] > 1:
            n = max(1, budget.through // max(sizes[i] for i in new))
            for some in (new[j : j + n] for j in range(0, len(new), n)):
                mine = [owners[i] for i in some], [prompts[i][:-1] for i in some]
                parts.append(put_through(base, banks, *mine, [place[i] for i in some]))
        left = max(limits[i] - (alive[i].said if i in alive else 0) for i in which)
        past = Past(base, len(which), max((part.columns for part in parts), default=0), left, fixed=fixed)
        past.take(parts)
        banks.route(groups([owners[i] for i in which]))

        which_B = torch.tensor(which, device=device)
        before_B = torch.tensor([sizes[i] - 1 for i in which], device=device)
        done_B = torch.zeros(len(which), dtype=torch.bool, device=device)
        more = partial(said.more, past, which_B, before_B, done_B)
        if past.fixed:
            more = Recorded(more, device)
        while int(done_B.sum()) < LEAVE * len(which):
            more()
        past.settle()

        now = zip(which, done_B.tolist(), said.count[which_B].tolist(), past.columns().tolist(), strict=True)
        alive = {i: _Row(at, n, columns) for at, (i, done, n, columns) in enumerate(now) if not done}
        yield said.of(which_B[done_B])


class _Said:
    """What each of the asks has said so far. Shapes: A asks."""

    def __init__(self, base: Base, prompts: Sequence[NDArray[np.int64]], asks: Sequence[Ask]) -> None:
        device = base.device
        self._base, self._seeds = base, noise.seed_tensor([a.seed for a in asks], device)
        self._temperature = torch.tensor([a.temperature for a in asks], device=device)
        self._limit = torch.tensor([a.max_tokens for a in asks], device=device)
        self._stops = torch.tensor(base.renderer.stops, device=device)
        self._last = max((a.max_tokens for a in asks), default=0)  # a column for what done rows go on to say
        self._tokens = torch.zeros(len(asks), self._last + 1, dtype=torch.int64, device=device)
        self._coming = torch.tensor([int(p[-1]) for p in prompts], device=device)  # the token that goes through next
        self.count, self._finished = torch.zeros_like(self._limit), torch.zeros_like(self._limit, dtype=torch.bool)

    def more(self, past: Past, which_B: Tensor, before_B: Tensor, done_B: Tensor) -> None:
        """A token more of these asks, before which as many stand; `done_B` is changed. It waits for nothing, as it may
        be recorded."""
        step_B = self.count[which_B]
        last_BD = past.read(self._coming[which_B][:, None], (before_B + step_B)[:, None])
        token_B = noise.choose(self._base.head(last_BD), self._seeds[which_B], self._temperature[which_B], step_B)
        stopped_B = torch.isin(token_B, self._stops) & ~done_B
        self._tokens[which_B, torch.where(done_B, self._last, step_B)] = token_B
        self._coming[which_B] = token_B
        self._finished[which_B] |= stopped_B
        self.count[which_B] += ~(done_B | stopped_B)
        done_B |= stopped_B | (self.count[which_B] >= self._limit[which_B])

    def of(self, which_G: Tensor) -> list[Decoded]:
        """The answers of these G."""
        found = which_G, self._tokens[which_G], self.count[which_G], self._finished[which_G]
        return [Decoded(i, ids[:n], end) for i, ids, n, end in zip(*(t.tolist() for t in found), strict=True)]


def _admitted(
    waiting: list[int],
    alive: Mapping[int, _Row],
    sizes: Sequence[int],
    limits: Sequence[int],
    budget: Budget,
) -> list[int]:
    """Who comes in, taken off the end of those who wait: as many as the budget holds, at least one into an empty batch.
    A prompt of one token has nothing to put through beforehand, and comes with its like.
    """
    came = list[int]()
    columns = max((row.columns for row in alive.values()), default=0)
    left = max((limits[i] - row.said for i, row in alive.items()), default=0)
    while waiting:
        i, rows = waiting[-1], len(alive) + len(came)
        columns, left = max(columns, sizes[i] - 1), max(left, limits[i])
        if rows and (rows + 1) * (columns + left + budget.row) > budget.kept:
            break
        if came and (sizes[i] > 1) != (sizes[came[0]] > 1):
            break
        came.append(waiting.pop())
    return came
