"""Concurrent calls become one batch: an engine takes a thousand asks as easily as one, and clients ask one by one.

Whoever comes first waits until nobody else has come for a moment, takes everybody's asks to the engine, and hands the
answers round; who comes meanwhile is in the next batch. There is no thread or task that runs on when nobody asks, so a
call that is cancelled takes its own asks along and nobody else's.

An ask that the engine refuses (a prompt that is too long) fails alone: the batch is halved until it is found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.lowlevel import RunVar

Sampler = Callable[[Sequence[Any], Sequence[Any]], list[Any]]  # models and asks; an answer to each
QUIET = 0.01  # seconds in which nobody else comes


@dataclass(eq=False)
class _Call:
    """What one caller asks of a model, and what came of it."""

    model: Hashable
    asks: Sequence[Any]
    answers: list[Any] = field(default_factory=list)
    error: Exception | None = None


@dataclass(eq=False)
class _Line:
    """Who waits, in one event loop."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    calls: list[_Call] = field(default_factory=list)


class Gather:
    """`sample` answers asks of many models at once, as `Engine.sample` does; it is called by one caller at a time. In
    threads (`threaded`) the event loop goes on meanwhile; a lab at the end of a pipe must be called from its own.

    >>> from flyroom.types import Answer, Ask
    >>> def echo(models, asks):
    ...     return [Answer(text=f"{len(asks)} asks", tokens=2, prompt_tokens=1, finished=True) for _ in asks]
    >>> gather, ask = Gather(echo), Ask(messages=(), seed=0)
    >>> async def three():
    ...     async with anyio.create_task_group() as group:
    ...         for _ in range(3):
    ...             group.start_soon(gather.ask, "model", [ask])
    >>> anyio.run(three)
    >>> gather.batches
    [3]
    """

    def __init__(self, sample: Sampler, *, threaded: bool = True) -> None:
        self._sample, self._threaded = sample, threaded
        self._lines: RunVar[_Line] = RunVar(f"flyroom gather {id(self)}")
        self._busy = threading.Lock()  # two event loops may share an engine
        self.batches: list[int] = []  # how many asks each had

    async def ask(self, model: Hashable, asks: Sequence[Any]) -> list[Any]:
        """The answers of one model, in order. Raises what the engine raises for these asks."""
        line, call = self._line(), _Call(model, asks)
        line.calls.append(call)
        try:
            async with line.lock:
                if call in line.calls:  # nobody took it along
                    await self._serve(line)
        finally:
            if call in line.calls:
                line.calls.remove(call)
        if call.error is not None:
            raise call.error
        return call.answers

    def _line(self) -> _Line:
        line = self._lines.get(None)
        if line is None:
            line = _Line()
            self._lines.set(line)
        return line

    async def _serve(self, line: _Line) -> None:
        """Take everybody along who is there once it is quiet."""
        crowd = 0
        while crowd < len(line.calls):
            crowd = len(line.calls)
            await anyio.sleep(QUIET)
        calls = line.calls[:]
        line.calls.clear()
        if self._threaded:
            await anyio.to_thread.run_sync(self._answer, calls)
        else:
            self._answer(calls)

    def _answer(self, calls: Sequence[_Call]) -> None:
        with self._busy:
            self.batches.append(sum(len(call.asks) for call in calls))
            self._answer_all(calls)

    def _answer_all(self, calls: Sequence[_Call]) -> None:
        models = [call.model for call in calls for _ in call.asks]
        try:
            answers = iter(self._sample(models, [ask for call in calls for ask in call.asks]))
        except Exception as error:  # whatever it is, it is the caller's to hear
            if len(calls) == 1 or not isinstance(error, ValueError):
                for call in calls:
                    call.error = error
                return
            half = len(calls) // 2
            self._answer_all(calls[:half])
            self._answer_all(calls[half:])
            return
        for call in calls:
            call.answers = [next(answers) for _ in call.asks]
