"""Rows that share a cache: a step writes one more token of each, and between two steps rows come and go.

A row that has ended stays at its place until enough have, or others come: laying the cache out anew costs more than a
row that is written in vain. Newcomers are put through without those that are being written, and all are laid into one
cache with room for `GROW` tokens.

Left out: which rows are let in, which `live` says.
Shapes: B rows, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flyroom.engine import noise, nucleus
from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups
from flyroom.engine.decode import LEAVE, Budget
from flyroom.engine.past import Part, Past, joins
from flyroom.engine.prompts import put_through
from flyroom.types import Ask

GROW = 256  # columns by which a cache grows: copying it is then rare, and little of it lies idle


class Score(NamedTuple):
    """A token, its log-probability (None where none was asked for, or nothing stands before it), and the likeliest
    tokens in its place with theirs.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class LiveRow:
    """An answer in the making. `prompt` begins with the adapter's own system message, and has `visible` tokens without
    it; `ask` is within the context; `end` says why it ended.
    """

    owner: int
    prompt: NDArray[np.int64]
    visible: int
    ask: Ask
    top_p: float
    top: int | None
    tokens: list[int] = field(default_factory=list)
    end: Literal["", "stop", "length", "dropped"] = ""

    @property
    def ids(self) -> NDArray[np.int64]:
        """The prompt and what was written so far: what has to go through the model."""
        return np.concatenate([self.prompt, np.array(self.tokens, dtype=np.int64)])

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)

    @property
    def remaining(self) -> int:
        return self.ask.max_tokens - len(self.tokens)


class Writing(NamedTuple):
    """What a row wrote in a step: a token, or None where it wrote the end of the answer, and then `close`, the token
    that ended it. `row.end` says if it ended.
    """

    row: LiveRow
    token: Score | None
    close: Score | None = None


class Batch:
    """Rows that share a cache."""

    def __init__(self, base: Base, banks: Banks) -> None:
        self._base, self._banks, self._joins = base, banks, joins(base)
        self.rows: list[LiveRow] = []
        self.arrivals: list[LiveRow] = []  # in the order in which they came
        self.past: Past | None = None
        self.room, self.routed = 0, False

    @property
    def alive(self) -> list[LiveRow]:
        return [row for row in self.rows if not row.end]

    @property
    def is_full(self) -> bool:
        return self.room == 0

    def cost(self, budget: Budget) -> int:
        """Tokens of memory once it has grown."""
        return cost_of(self.alive, budget)

    def remove(self, row: LiveRow) -> None:
        """Take a row out that has not ended; it keeps its tokens."""
        index = self.rows.index(row)
        self.rows[index] = LiveRow(row.owner, row.prompt, row.visible, row.ask, 1.0, None, end="dropped")
        self.arrivals.remove(row)

    def seat(self, newcomers: Sequence[LiveRow], *, pass_tokens: int) -> None:
        """Put newcomers through and lay all rows into one cache with room to grow. Does nothing where nobody comes,
        few have ended, and there is room.
        """
        alive = {place: row for place, row in enumerate(self.rows) if not row.end}
        if not newcomers and not self.is_full and len(self.rows) - len(alive) < LEAVE * len(self.rows):
            return
        if not newcomers and not alive:
            return
        rows = sorted([*alive.values(), *newcomers], key=lambda row: row.owner)
        place = {id(row): i for i, row in enumerate(rows)}
        parts = self._stay(alive, place) + self._come(newcomers, place, pass_tokens)
        length = max((part.columns for part in parts), default=0)
        self.room = min(GROW, max(row.remaining for row in rows))
        self.past = Past(self._base, len(rows), length, self.room)
        self.past.take(parts)
        self.arrivals = [row for row in self.arrivals if not row.end] + list(newcomers)
        self.rows, self.routed = rows, False
        self._fill_tensors()

    def _stay(self, alive: dict[int, LiveRow], place: dict[int, int]) -> list[Part]:
        if self.past is None or not alive:
            return []
        needs = self.past.columns().tolist() if self._joins else []
        columns = max(needs[i] for i in alive) if self._joins else self.past.length
        return [Part(self.past, list(alive), columns, [place[id(row)] for row in alive.values()])]

    def _come(self, newcomers: Sequence[LiveRow], place: dict[int, int], pass_tokens: int) -> list[Part]:
        """All tokens but the last go through beforehand; a prompt of one token has nothing to put through."""
        rows = sorted((row for row in newcomers if row.length > 1), key=lambda row: row.owner)
        size = max(1, pass_tokens // max((row.length for row in rows), default=1))
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        return [
            put_through(
                self._base,
                self._banks,
                [row.owner for row in chunk],
                [row.ids[:-1] for row in chunk],
                [place[id(row)] for row in chunk],
            )
            for chunk in chunks
        ]

    def _fill_tensors(self) -> None:
        """What a step needs of its rows, on the device."""
        rows, device = self.rows, self._base.device
        self._next_B = torch.tensor([int(row.ids[-1]) for row in rows], device=device)
        self._place_B = torch.tensor([row.length - 1 for row in rows], device=device)
        self._step_B = torch.tensor([len(row.tokens) for row in rows], device=device)
        self._seeds_B = noise.seed_tensor([row.ask.seed for row in rows], device)
        self._temperature_B = torch.tensor([row.ask.temperature for row in rows], device=device)
        self._top_p_B = torch.tensor([row.top_p for row in rows], device=device)
        self._limits = any(row.top_p < 1 for row in rows)
        self._top = max((row.top for row in rows if row.top is not None), default=None)

    def extend(self, *, alone: bool) -> list[Writing]:
        """Write one more token of every row. A batch that is not `alone` shares the banks with others."""
        if self.past is None or not self.alive:
            return []
        if not (self.routed and alone):
            self._banks.route(groups([row.owner for row in self.rows]))
            self.routed = True
        last_BD = self.past.advance(self._next_B[:, None], self._place_B[:, None])
        self.room -= 1
        logits_BV = self._base.head(last_BD)
        pool_BV = nucleus.keep_nucleus(logits_BV, self._temperature_B, self._top_p_B) if self._limits else logits_BV
        token_B = noise.choose(pool_BV, self._seeds_B, self._temperature_B, self._step_B)
        scores = self._score(logits_BV, token_B)
        writings = [self._write(row, score) for row, score in zip(self.rows, scores, strict=True) if not row.end]
        # Rows that have ended stay at their place: a position beyond the context may not exist.
        on_B = torch.tensor([not row.end for row in self.rows], device=token_B.device)
        self._next_B, self._place_B, self._step_B = token_B, self._place_B + on_B, self._step_B + on_B
        return writings

    def _score(self, logits_BV: Tensor, token_B: Tensor) -> list[Score]:
        if self._top is None:
            return [Score(token) for token in token_B.tolist()]
        scores = list_scores(nucleus.chances(logits_BV, token_B, self._top), token_B, self._top)
        return [
            Score(score.id) if row.top is None else score._replace(top=score.top[: row.top])
            for row, score in zip(self.rows, scores, strict=True)
        ]

    def _write(self, row: LiveRow, score: Score) -> Writing:
        if score.id in self._base.renderer.stops:
            row.end = "stop"
            return Writing(row, None, score)
        row.tokens.append(score.id)
        row.end = "length" if row.remaining < 1 else ""
        return Writing(row, score)


def cost_of(rows: Sequence[LiveRow], budget: Budget) -> int:
    """Tokens of memory that a cache of these rows takes once it has grown."""
    if not rows:
        return 0
    grown = min(GROW, max(row.remaining for row in rows))
    return len(rows) * (max(row.length for row in rows) + grown + budget.row_tokens)


def list_scores(chances: nucleus.Chances, ids_N: Tensor, k: int) -> list[Score]:
    """Tokens with their chances, and the `k` likeliest in their places."""
    columns = (ids_N, chances.token_B, chances.ids_BK, chances.top_BK)
    return [
        Score(id, logprob, tuple(zip(ids, tops, strict=True))[:k])
        for id, logprob, ids, tops in zip(*(t.tolist() for t in columns), strict=True)
    ]
