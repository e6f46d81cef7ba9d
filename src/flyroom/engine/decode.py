"""Sample many adapters in one batch, one token for every row at a time; rows that end make room for asks that wait.

Prompts are padded on the left, so that all rows write their next token in the same column. When a third of the rows
have ended, they leave, columns that no row needs are dropped, and as many asks come in as the budget holds. All tokens
of a prompt but the last go through the model beforehand; the last one goes with the next token of the other rows.

Left out, where layers keep a sliding window: newcomers (the batch empties first) and recording.
Shapes: B rows in the batch, D width, G rows that leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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

LEAVE = 1 / 3  # the share of rows that must have ended before they leave together


class Budget(NamedTuple):
    """Limits in tokens: what a batch may hold in its cache, answers included; what each row takes beside that; and what
    goes through the model in one pass.
    """

    cache_tokens: int
    row_tokens: int
    pass_tokens: int


class _Row(NamedTuple):
    """A row of the batch: its place, how many tokens it has generated, and how many columns of the cache it needs."""

    place: int
    generated: int
    columns: int


class Decoded(NamedTuple):
    """An answer: the number of its ask, its tokens without the stop token, and whether there was a stop token."""

    ask: int
    tokens: list[int]
    finished: bool


def fit_ask(base: Base, ask: Ask, prompt: int) -> Ask:
    """Returns the ask at a temperature, with its tokens limited to what remains of the base's context."""
    temperature = base.temperature if ask.temperature is None else ask.temperature
    if ask.max_tokens < 1 or temperature < 0:
        raise ValueError(f"ask.max_tokens is {ask.max_tokens}, ask.temperature {temperature}; at least 1 and 0")
    room = ask.max_tokens if base.window is None else base.window - prompt
    if room < 1:
        raise ValueError(f"a prompt is {prompt} tokens long; {base.ref.name} takes at most {base.window}")
    return replace(ask, max_tokens=min(room, ask.max_tokens), temperature=temperature)


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
    """Yields answers as they end. A batch is within the budget, or a single row.

    With `fixed` every pass attends over the whole cache and is recorded on CUDA. The banks stay routed to the last
    batch.
    """
    device, sizes, limits = base.device, [len(p) for p in prompts], [a.max_tokens for a in asks]
    answers = _Answers(base, prompts, asks)
    queue = sorted(range(len(asks)), key=lambda i: (sizes[i], limits[i], owners[i], prompts[i].tobytes()))
    alive: dict[int, _Row] = {}  # the asks in the batch
    past, can_join = None, joins(base)
    if not can_join:  # sliding windows cannot be moved between batches: all prompts go through in one pass
        budget = budget._replace(cache_tokens=min(budget.cache_tokens, budget.pass_tokens))
    while queue or alive:
        newcomers = _admit(queue, alive, sizes, limits, budget) if can_join or not alive else []
        which = sorted([*alive, *newcomers], key=lambda i: (owners[i], i))
        new = [i for i in which if i not in alive]
        place, parts = {i: row for row, i in enumerate(which)}, list[Part]()
        if past and alive:
            columns = max(row.columns for row in alive.values()) if can_join else past.length
            parts.append(Part(past, [row.place for row in alive.values()], columns, [place[i] for i in alive]))
        if new and sizes[new[0]] > 1:
            n = max(1, budget.pass_tokens // max(sizes[i] for i in new))
            for chunk in (new[j : j + n] for j in range(0, len(new), n)):
                chunk_inputs = [owners[i] for i in chunk], [prompts[i][:-1] for i in chunk]
                parts.append(put_through(base, banks, *chunk_inputs, [place[i] for i in chunk]))
        remaining = max(limits[i] - (alive[i].generated if i in alive else 0) for i in which)
        past = Past(base, len(which), max((part.columns for part in parts), default=0), remaining, fixed=fixed)
        past.take(parts)
        banks.route(groups([owners[i] for i in which]))

        which_B = torch.tensor(which, device=device)
        before_B = torch.tensor([sizes[i] - 1 for i in which], device=device)
        done_B = torch.zeros(len(which), dtype=torch.bool, device=device)
        extend = partial(answers.extend, past, which_B, before_B, done_B)
        if past.fixed:
            extend = Recorded(extend, device)
        while int(done_B.sum()) < LEAVE * len(which):
            extend()
        past.settle()

        states = zip(which, done_B.tolist(), answers.count[which_B].tolist(), past.columns().tolist(), strict=True)
        alive = {i: _Row(row, n, columns) for row, (i, finished, n, columns) in enumerate(states) if not finished}
        yield answers.collect(which_B[done_B])


class _Answers:
    """The tokens that every ask has generated so far."""

    def __init__(self, base: Base, prompts: Sequence[NDArray[np.int64]], asks: Sequence[Ask]) -> None:
        device = base.device
        self._base, self._seeds = base, noise.seed_tensor([a.seed for a in asks], device)
        self._temperature = torch.tensor([a.temperature for a in asks], device=device)
        self._limit = torch.tensor([a.max_tokens for a in asks], device=device)
        self._stops = torch.tensor(base.renderer.stops, device=device)
        self._last = max((a.max_tokens for a in asks), default=0)  # the column into which ended rows write
        self._tokens = torch.zeros(len(asks), self._last + 1, dtype=torch.int64, device=device)
        self._next = torch.tensor([int(p[-1]) for p in prompts], device=device)  # the tokens that go through next
        self.count, self._finished = torch.zeros_like(self._limit), torch.zeros_like(self._limit, dtype=torch.bool)

    def extend(self, past: Past, which_B: Tensor, before_B: Tensor, done_B: Tensor) -> None:
        """Generate one more token for these asks and update `done_B`. `before_B` counts the tokens before the last of
        each prompt. This never waits for the device, because it may be recorded.
        """
        step_B = self.count[which_B]
        last_BD = past.advance(self._next[which_B][:, None], (before_B + step_B)[:, None])
        token_B = noise.choose(self._base.head(last_BD), self._seeds[which_B], self._temperature[which_B], step_B)
        stopped_B = torch.isin(token_B, self._stops) & ~done_B
        self._tokens[which_B, torch.where(done_B, self._last, step_B)] = token_B
        self._next[which_B] = token_B
        self._finished[which_B] |= stopped_B
        self.count[which_B] += ~(done_B | stopped_B)
        done_B |= stopped_B | (self.count[which_B] >= self._limit[which_B])

    def collect(self, which_G: Tensor) -> list[Decoded]:
        """Returns the answers of these asks."""
        columns = which_G, self._tokens[which_G], self.count[which_G], self._finished[which_G]
        return [Decoded(i, ids[:n], end) for i, ids, n, end in zip(*(t.tolist() for t in columns), strict=True)]


def _admit(
    queue: list[int],
    alive: Mapping[int, _Row],
    sizes: Sequence[int],
    limits: Sequence[int],
    budget: Budget,
) -> list[int]:
    """Take asks off the end of `queue`: as many as the budget holds, and at least one into an empty batch.

    Prompts of one token have nothing to put through beforehand, so they never come together with longer ones.
    """
    newcomers = list[int]()
    columns = max((row.columns for row in alive.values()), default=0)
    remaining = max((limits[i] - row.generated for i, row in alive.items()), default=0)
    while queue:
        i, rows = queue[-1], len(alive) + len(newcomers)
        columns, remaining = max(columns, sizes[i] - 1), max(remaining, limits[i])
        if rows and (rows + 1) * (columns + remaining + budget.row_tokens) > budget.cache_tokens:
            break
        if newcomers and (sizes[i] > 1) != (sizes[newcomers[0]] > 1):
            break
        newcomers.append(queue.pop())
    return newcomers
