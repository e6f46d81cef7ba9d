"""Answer asks that come and go: a row joins the batch between two tokens, and leaves it when its answer ends or nobody
waits for it any more.

`decode` answers a list of asks that is whole when it begins. This answers a stream of them, one token of every row at
a time, and hands each token out with its log-probability. What goes through the model is the same, and so are the
draws: noise depends on (seed, position, token) alone.

A row is its prompt and the tokens that it has written, so it can be put through anew at any time. That is how memory is
kept within the budget without knowing how long answers will be: the cache grows by `GROW` tokens, and where it would
not fit, the rows that came last go back to the queue and later go on where they were. Where layers keep a sliding
window rows cannot join a batch that has begun; there up to `COHORTS` batches take turns.

Source: the batching of single tokens is that of Orca (Yu et al., OSDI 2022).
Left out: long prompts in pieces between tokens, CUDA graphs, prefixes kept between requests.
Shapes: B rows, D width, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flyroom.engine import memory, noise, nucleus
from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups
from flyroom.engine.decode import LEAVE, Budget
from flyroom.engine.past import Part, Past, joins
from flyroom.engine.prompts import put_through
from flyroom.engine.torch import TorchEngine
from flyroom.types import AdapterRef, Ask, Message

GROW = 256  # columns by which a cache grows: copying it is then rare, and little of it lies idle
COHORTS = 4  # batches side by side, where rows cannot join
ENDLESS = 4096  # tokens of an answer where neither the ask nor the base has a limit


class TooLong(ValueError):
    """A prompt leaves no room for an answer in the base's context."""


@dataclass(frozen=True, kw_only=True)
class LiveAsk:
    """A request for one answer to messages; or, with `prompt`, to a text or tokens as they are, without a template.

    `max_tokens` None is what the context leaves, and 0 writes nothing: the prompt can be scored. `temperature` None is
    the base's own. `top`: how many of the likeliest tokens come beside each token, None for no log-probabilities.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    seed: int
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    top: int | None = None


class Score(NamedTuple):
    """A token, its log-probability (None where none was asked for, or nothing stands before it), and the likeliest
    tokens in its place with theirs.
    """

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class LiveRow:
    """An answer in the making. `ask` is within the context; `end` says why it ended."""

    owner: int
    prompt: NDArray[np.int64]
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
    """What a row wrote in a step: a token, or None where it wrote the end of the answer. `row.end` says if it ended."""

    row: LiveRow
    token: Score | None


class Live:
    """Rows of many adapters over an engine's base, one token at a time. While it has rows nobody else may use the
    engine; it is no more thread-safe than the engine is.
    """

    def __init__(self, engine: TorchEngine) -> None:
        self.engine, self.joins = engine, joins(engine.parts)
        self._queue: deque[LiveRow] = deque()
        self._batches: list[_Batch] = []

    @property
    def busy(self) -> bool:
        """Whether any row waits or is written."""
        return bool(self._queue or self._batches)

    def text(self, ids: Sequence[int]) -> str:
        """The text of an answer, or of its beginning, with its spaces and without special tokens."""
        tokenizer = self.engine.parts.renderer.tokenizer
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def token(self, id: int) -> str:
        """The text of one token as it is."""
        return self.engine.parts.renderer.token(id)

    def line_up(self, adapter: AdapterRef, ask: LiveAsk) -> LiveRow:
        """Line an ask up. TooLong for a prompt that leaves no room, ValueError for one that the template refuses, for
        tokens that the base has not, and for a temperature below 0.
        """
        slot = self.engine._slot(adapter)
        prompt, window = self._encode(slot, ask), self.engine.parts.window
        only_read = ask.max_tokens == 0
        if window is not None and len(prompt) + (not only_read) > window:
            name = self.engine.base.name
            raise TooLong(f"a prompt is {len(prompt)} tokens long; {name} takes at most {window}, answer included")
        limit = ask.max_tokens or (ENDLESS if window is None else window)
        wish = Ask(messages=ask.messages, seed=ask.seed, max_tokens=limit, temperature=ask.temperature)
        fit = self.engine._fit_ask(wish, 0 if only_read else len(prompt))
        row = LiveRow(slot, prompt, fit, ask.top_p, ask.top, end="length" if only_read else "")
        self._queue.append(row)
        self.engine.tokens_forward += len(prompt)
        return row

    def drop(self, row: LiveRow) -> None:
        """Write no more of a row. Its place is free at the next step."""
        row.end = row.end or "dropped"

    @torch.inference_mode()
    def step(self) -> list[Writing]:
        """Let newcomers join and write one more token of every row. Where the device's memory runs out, batches are
        halved for good and the rows begin again where they were; OutOfMemoryError where a single row does not fit.
        """
        self._queue = deque(row for row in self._queue if not row.end)
        writings: list[Writing] = []
        try:
            self._seat()
            for batch in self._batches:
                writings += batch.extend(alone=len(self._batches) == 1)
        except torch.OutOfMemoryError:
            if self.engine.batch_tokens == 1 or sum(len(batch.alive) for batch in self._batches) < 2:
                raise
            self.engine.batch_tokens //= 2
            self._start_over()
        self._batches = [batch for batch in self._batches if batch.alive]
        self.engine.tokens_generated += len(writings)
        if not self._batches:
            self.engine._banks.clear()
        return writings

    @torch.inference_mode()
    def score(self, row: LiveRow) -> list[Score]:
        """The tokens of a row's prompt with their log-probabilities; nothing stands before the first one."""
        banks, k = self.engine._banks, row.top or 0
        for batch in self._batches:
            batch.routed = False
        banks.route(groups([row.owner]))
        try:
            ids_1T = torch.from_numpy(row.prompt)[None].to(self.engine.parts.device)
            hidden_TD = self.engine.parts.body(input_ids=ids_1T, use_cache=False).last_hidden_state[0, :-1]
            scores = [Score(int(row.prompt[0]))]
            for hidden, ids in zip(hidden_TD.split(GROW), ids_1T[0, 1:].split(GROW), strict=True):
                scores += _list_scores(nucleus.chances(self.engine.parts.head(hidden), ids, k), ids, k)
        finally:
            banks.clear()
        return scores

    def _encode(self, slot: int, ask: LiveAsk) -> NDArray[np.int64]:
        renderer = self.engine.parts.renderer
        if ask.prompt is None:
            return renderer.prompt(self.engine._with_prompt(slot, ask.messages))
        if isinstance(ask.prompt, str):
            ids = renderer.tokenizer(ask.prompt).input_ids
            ids = ids[:-1] if ids and ids[-1] == renderer.tokenizer.eos_token_id else ids  # some tokenizers add it
        else:
            ids = list(ask.prompt)
        ids = np.array(ids, dtype=np.int64) if ids else renderer.prompt(())
        size = int(self.engine.parts.config.vocab_size)
        if ids.min() < 0 or ids.max() >= size:
            raise ValueError(f"prompt holds a token that is none of this base's, which are 0 to {size - 1}")
        return ids

    def _seat(self) -> None:
        """Take rows off the queue into batches, as many as the budget holds; and rows out where it no longer does."""
        budget = memory.answering(self.engine.parts, self.engine.batch_tokens)
        self._make_room(budget)
        if self.joins:
            batch = self._batches[0] if self._batches else _Batch(self.engine.parts, self.engine._banks)
            newcomers = self._admit(budget, batch.alive)
        else:
            batch = _Batch(self.engine.parts, self.engine._banks)
            newcomers = self._admit(budget, []) if len(self._batches) < COHORTS else []
        if newcomers and batch not in self._batches:
            self._batches.append(batch)
        for member in self._batches:
            member.seat(newcomers if member is batch else [], pass_tokens=budget.pass_tokens)

    def _admit(self, budget: Budget, beside: Sequence[LiveRow]) -> list[LiveRow]:
        """Rows off the front of the queue. A single one is admitted however long it is, where nothing else is."""
        newcomers: list[LiveRow] = []
        cost = sum(batch.cost(budget) for batch in self._batches if batch.alive != beside)
        while self._queue:
            rows = [*beside, *newcomers, self._queue[0]]
            if (len(rows) > 1 or cost) and cost + _cost(rows, budget) > budget.cache_tokens:
                break
            if not self.joins and not _goes_with(self._queue[0], newcomers, budget.pass_tokens):
                break
            newcomers.append(self._queue.popleft())
        return newcomers

    def _make_room(self, budget: Budget) -> None:
        """Put the rows that came last back to the front of the queue, until the others can grow."""
        while any(batch.is_full for batch in self._batches):
            rows = [row for batch in self._batches for row in batch.alive]
            if len(rows) < 2 or sum(batch.cost(budget) for batch in self._batches) <= budget.cache_tokens:
                return
            batch = self._batches[-1]
            row = batch.arrivals[-1]
            batch.remove(row)
            self._queue.appendleft(row)
            self._batches = [batch for batch in self._batches if batch.alive]

    def _start_over(self) -> None:
        rows = [row for batch in self._batches for row in batch.arrivals if not row.end]
        self._batches = []
        self._queue.extendleft(reversed(rows))
        self.engine.prefix.forget()
        self.engine._banks.clear()
        if self.engine.parts.device.type == "cuda":
            torch.cuda.empty_cache()


class _Batch:
    """Rows that share a cache. A row that has ended stays until enough have, or others come."""

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
        return _cost(self.alive, budget)

    def remove(self, row: LiveRow) -> None:
        """Take a row out that has not ended; it keeps its tokens."""
        index = self.rows.index(row)
        self.rows[index] = LiveRow(row.owner, row.prompt, row.ask, 1.0, None, end="dropped")
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
        scores = _list_scores(nucleus.chances(logits_BV, token_B, self._top), token_B, self._top)
        return [
            Score(score.id) if row.top is None else score._replace(top=score.top[: row.top])
            for row, score in zip(self.rows, scores, strict=True)
        ]

    def _write(self, row: LiveRow, score: Score) -> Writing:
        if score.id in self._base.renderer.stops:
            row.end = "stop"
            return Writing(row, None)
        row.tokens.append(score.id)
        row.end = "length" if row.remaining < 1 else ""
        return Writing(row, score)


def _cost(rows: Sequence[LiveRow], budget: Budget) -> int:
    """Tokens of memory that a cache of these rows takes once it has grown."""
    if not rows:
        return 0
    grown = min(GROW, max(row.remaining for row in rows))
    return len(rows) * (max(row.length for row in rows) + grown + budget.row_tokens)


def _goes_with(row: LiveRow, rows: Sequence[LiveRow], pass_tokens: int) -> bool:
    """Whether a row can go through in one pass with others: a batch that none can join begins with one."""
    if not rows:
        return True
    longest = max(member.length for member in (row, *rows))
    return (row.length > 1) is (rows[0].length > 1) and longest * (len(rows) + 1) <= pass_tokens


def _list_scores(chances: nucleus.Chances, ids_N: Tensor, k: int) -> list[Score]:
    columns = (ids_N, chances.token_B, chances.ids_BK, chances.top_BK)
    return [
        Score(id, logprob, tuple(zip(ids, tops, strict=True))[:k])
        for id, logprob, ids, tops in zip(*(t.tolist() for t in columns), strict=True)
    ]
