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
from contextlib import suppress
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from flyroom.engine import memory, nucleus
from flyroom.engine.batches import groups
from flyroom.engine.decode import Budget, fit_ask
from flyroom.engine.live_batch import GROW, Batch, LiveRow, Score, Writing, cost_of, list_scores
from flyroom.engine.past import joins
from flyroom.engine.torch import TorchEngine
from flyroom.types import BASE, AdapterRef, Ask, LiveAsk

COHORTS = 4  # batches side by side, where rows cannot join
ENDLESS = 4096  # tokens of an answer where neither the ask nor the base has a limit


class TooLong(ValueError):
    """A prompt leaves no room for an answer in the base's context."""


class Live:
    """Rows of many adapters over an engine's base, one token at a time. While it has rows nobody else may use the
    engine; it is no more thread-safe than the engine is. `alike` are adapters that no limit may tell apart: all have
    the room that is left beside the longest system message of theirs.
    """

    def __init__(self, engine: TorchEngine, *, alike: Sequence[AdapterRef] = ()) -> None:
        self.engine, self.joins = engine, joins(engine.parts)
        living = engine.adapters.living
        prompts = {living[ref.slot].prompt: ref.slot for ref in alike if ref != BASE}
        self._prompted = [slot for prompt, slot in prompts.items() if prompt]
        self._queue: deque[LiveRow] = deque()
        self._batches: list[Batch] = []
        self._newcomers: list[LiveRow] = []  # off the queue, and not yet in a batch

    @property
    def busy(self) -> bool:
        """Whether any row waits or is written."""
        return bool(self._queue or self._batches or self._newcomers)

    def text(self, ids: Sequence[int]) -> str:
        """The text of an answer, or of its beginning, with its spaces and without special tokens."""
        tokenizer = self.engine.parts.renderer.tokenizer
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def token(self, id: int) -> str:
        """The text of one token as it is."""
        return self.engine.parts.renderer.token(id)

    def list_ends(self, text: str) -> list[int] | None:
        """Where in a text each token of it ends, as `line_up` reads it: special tokens that are none of the text end
        where they stand. None where the tokenizer cannot tell.
        """
        tokenizer = self.engine.parts.renderer.tokenizer
        if not tokenizer.is_fast:
            return None
        spans = tokenizer(text, return_offsets_mapping=True).offset_mapping
        return list(accumulate((end for _, end in spans), max))

    def line_up(self, adapter: AdapterRef, ask: LiveAsk) -> LiveRow:
        """Line an ask up. TooLong for a prompt that leaves no room, ValueError for one that the template refuses, for
        tokens that the base has not, and for a temperature below 0.
        """
        slot = self.engine.adapters.slot(adapter)
        prompt, window = self._encode(slot, ask), self.engine.parts.window
        visible = len(self._encode(BASE.slot, ask)) if self._is_prompted(slot, ask) else len(prompt)
        lengths = [len(self._encode(prompted, ask)) for prompted in self._prompted if self._is_prompted(prompted, ask)]
        longest, only_read = max(len(prompt), *lengths, 0), ask.max_tokens == 0
        if window is not None and longest + (not only_read) > window:
            name, room = self.engine.base.name, window - (longest - visible)
            raise TooLong(f"a prompt is {visible} tokens long; {name} takes at most {room}, answer included")
        limit = ask.max_tokens or (ENDLESS if window is None else window)
        whole = Ask(messages=ask.messages, seed=ask.seed, max_tokens=limit, temperature=ask.temperature)
        fit = fit_ask(self.engine.parts, whole, 0 if only_read else longest)
        row = LiveRow(slot, prompt, visible, fit, ask.top_p, ask.top, end="length" if only_read else "")
        self._queue.append(row)
        self.engine.tokens_forward += len(prompt)
        return row

    def drop(self, row: LiveRow) -> None:
        """Write no more of a row. Its place is free at the next step."""
        row.end = row.end or "dropped"

    def clear(self) -> None:
        """Forget all rows, and free what they hold."""
        self._queue.clear()
        self._batches, self._newcomers = [], []
        self.engine.adapters.banks.clear()

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
            if self.engine.batch_tokens == 1 or len(self._list_seated()) < 2:
                raise
            self.engine.batch_tokens //= 2
            self._start_over()
        self._batches = [batch for batch in self._batches if batch.alive]
        self.engine.tokens_generated += len(writings)
        if not self._batches:
            self.engine.adapters.banks.clear()
        return writings

    @torch.inference_mode()
    def score(self, row: LiveRow) -> list[Score]:
        """The tokens of a row's prompt with their log-probabilities; nothing stands before the first one. Where memory
        runs out beside other rows, these begin again where they were; OutOfMemoryError where the prompt alone does not
        fit.
        """
        if self._batches:
            with suppress(torch.OutOfMemoryError):
                return self._score(row)
            self._start_over()
        return self._score(row)

    def _score(self, row: LiveRow) -> list[Score]:
        banks, k = self.engine.adapters.banks, row.top or 0
        for batch in self._batches:
            batch.routed = False
        banks.route(groups([row.owner]))
        try:
            ids_1T = torch.from_numpy(row.prompt)[None].to(self.engine.parts.device)
            hidden_TD = self.engine.parts.body(input_ids=ids_1T, use_cache=False).last_hidden_state[0, :-1]
            scores = [Score(int(row.prompt[0]))]
            for hidden, ids in zip(hidden_TD.split(GROW), ids_1T[0, 1:].split(GROW), strict=True):
                scores += list_scores(nucleus.chances(self.engine.parts.head(hidden), ids, k), ids, k)
        finally:
            banks.clear()
        return scores

    def _encode(self, slot: int, ask: LiveAsk) -> NDArray[np.int64]:
        renderer = self.engine.parts.renderer
        if ask.prompt is None:
            return renderer.prompt(self.engine.adapters.with_prompt(slot, ask.messages))
        if isinstance(ask.prompt, str):
            ids = renderer.tokenizer(ask.prompt).input_ids
            ids = ids[:-1] if ids and ids[-1] == renderer.tokenizer.eos_token_id else ids  # some tokenizers add it
        else:
            ids = list(ask.prompt)
        size = int(self.engine.parts.config.vocab_size)
        strange = next((id for id in ids if not 0 <= id < size), None)  # before it becomes a number of 64 bits
        if strange is not None:
            raise ValueError(f"token {str(strange)[:40]} is none of this base's, which are 0 to {size - 1}")
        return np.array(ids, dtype=np.int64) if ids else renderer.prompt(())

    def _is_prompted(self, slot: int, ask: LiveAsk) -> bool:
        """Whether an adapter's own system message stands before an ask: before a text, as it is, none does."""
        living = self.engine.adapters.living
        return ask.prompt is None and slot in living and bool(living[slot].prompt)

    def _seat(self) -> None:
        """Take rows off the queue into batches, as many as the budget holds; and rows out where it no longer does."""
        budget = memory.answering(self.engine.parts, self.engine.batch_tokens)
        self._make_room(budget)
        if self.joins:
            batch = self._batches[0] if self._batches else Batch(self.engine.parts, self.engine.adapters.banks)
            self._newcomers = self._admit(budget, batch.alive)
        else:
            batch = Batch(self.engine.parts, self.engine.adapters.banks)
            self._newcomers = self._admit(budget, []) if len(self._batches) < COHORTS else []
        if self._newcomers and batch not in self._batches:
            self._batches.append(batch)
        for member in self._batches:
            member.seat(self._newcomers if member is batch else [], pass_tokens=budget.pass_tokens)
        self._newcomers = []

    def _admit(self, budget: Budget, beside: Sequence[LiveRow]) -> list[LiveRow]:
        """Rows off the front of the queue. A single one is admitted however long it is, where nothing else is."""
        newcomers: list[LiveRow] = []
        cost = sum(batch.cost(budget) for batch in self._batches if batch.alive != beside)
        while self._queue:
            rows = [*beside, *newcomers, self._queue[0]]
            if (len(rows) > 1 or cost) and cost + cost_of(rows, budget) > budget.cache_tokens:
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

    def _list_seated(self) -> list[LiveRow]:
        """All rows that are off the queue and have not ended, also those that a seat was just made for."""
        rows = [row for batch in self._batches for row in batch.arrivals] + self._newcomers
        return [row for row in dict.fromkeys(rows) if not row.end]

    def _start_over(self) -> None:
        rows = self._list_seated()
        self._batches, self._newcomers = [], []
        self._queue.extendleft(reversed(rows))
        self.engine.prefix.forget()
        self.engine.adapters.banks.clear()
        if self.engine.parts.device.type == "cuda":
            torch.cuda.empty_cache()


def _goes_with(row: LiveRow, rows: Sequence[LiveRow], pass_tokens: int) -> bool:
    """Whether a row can go through in one pass with others: a batch that none can join begins with one."""
    if not rows:
        return True
    longest = max(member.length for member in (row, *rows))
    return (row.length > 1) is (rows[0].length > 1) and longest * (len(rows) + 1) <= pass_tokens
