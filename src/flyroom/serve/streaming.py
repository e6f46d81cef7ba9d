"""From the thread that writes answers to the client that waits for them: in one, or as server-sent events.

A client that hangs up is noticed while it waits, and its order is cancelled.

Source: the event stream of the HTML standard (server-sent events), of which clients use the `data:` lines alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse

from flyroom.serve.bodies import END, Shape, failure, usage
from flyroom.serve.desk import Desk
from flyroom.serve.errors import Refusal
from flyroom.serve.orders import Event, Opened, Order, Piece

BUSY = 0.2  # seconds between two looks whether a client that waits is still there


class Mailbox:
    """Carries events from another thread to this task."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def send(self, event: Event) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def receive(self) -> Opened | Piece:
        """The next event. Raises the refusal that comes in its place."""
        event = await self._events.get()
        if isinstance(event, Refusal):
            raise event
        return event

    async def receive_while_there(self, call: Any) -> Opened | Piece:
        """The next event. Raises Refusal, 499, where the client of `call` is gone."""
        while True:
            try:
                return await asyncio.wait_for(self.receive(), BUSY)
            except TimeoutError:
                if await call.is_disconnected():
                    raise Refusal(499, "the client is gone") from None


async def collect(mail: Mailbox, order: Order, shape: Shape, call: Any) -> dict[str, Any]:
    """The answers of an order, in one body."""
    opened = await mail.receive_while_there(call)
    assert isinstance(opened, Opened)
    pieces: dict[int, Piece] = {}
    while len(pieces) < len(order.asks):
        piece = await mail.receive_while_there(call)
        assert isinstance(piece, Piece)
        pieces[piece.index] = piece
    return shape.whole([pieces[index] for index in sorted(pieces)], opened.prompt_tokens)


async def events(mail: Mailbox, order: Order, shape: Shape, prompt_tokens: int) -> AsyncIterator[str]:
    """The lines of a stream. What goes wrong once it has begun is a line too."""
    last: dict[int, Piece] = {}
    for index in range(len(order.asks)):
        line = shape.opening(index)
        if line:
            yield line
    try:
        while sum(bool(piece.end) for piece in last.values()) < len(order.asks):
            piece = await mail.receive()
            assert isinstance(piece, Piece)
            last[piece.index] = piece
            yield shape.lines(piece)
    except Refusal as refusal:
        yield failure(refusal)
        return
    if shape.counts:
        yield shape.event([], usage(list(last.values()), prompt_tokens))
    yield END


class Events(StreamingResponse):
    """A stream whose order is cancelled when it ends, however it ends."""

    def __init__(self, lines: AsyncIterator[str], desk: Desk, order: Order) -> None:
        super().__init__(lines, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        self._desk, self._order = desk, order

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._desk.cancel(self._order)
