"""How orders get their answers: from an engine that writes all of them a token at a time, or from one that answers
whole batches.

The first lets an order in between two tokens, whoever else is being answered; so a long answer keeps nobody waiting,
and a client that goes away frees its place at once. The second is for engines that have `sample` alone: what waits
while a batch is answered makes the next batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from flyroom.serve.errors import Refusal
from flyroom.serve.orders import Opened, Order, Piece, Token
from flyroom.serve.writer import Writer, find_word
from flyroom.types import AdapterRef, Answer, Ask, LiveAsk

if TYPE_CHECKING:
    from flyroom.engine.live import Live
    from flyroom.engine.live_batch import LiveRow, Score, Writing

ENDLESS = 4096  # tokens of an answer where nobody says how long, of an engine that does not know its context
BATCH = 256  # answers of one batch


class Samples(Protocol):
    """The part of an engine that the endpoint needs."""

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]: ...


class Driver(Protocol):
    """What the desk turns: it is used from one thread."""

    @property
    def busy(self) -> bool: ...

    def begin(self, order: Order) -> None:
        """Begin an order. Raises Refusal or ValueError for what cannot be answered."""
        ...

    def step(self) -> None:
        """Go on with all orders, and send what there is; orders that nobody waits for are left."""
        ...

    def reset(self) -> None:
        """Forget all orders: the engine failed."""
        ...


def driver_of(engine: Samples, *, alike: Sequence[AdapterRef] = ()) -> Driver:
    """The driver of an engine. `alike`: adapters that no limit may tell apart."""
    from flyroom.engine import TorchEngine
    from flyroom.engine.live import Live

    return TokenByToken(Live(engine, alike=alike)) if isinstance(engine, TorchEngine) else InBatches(engine)


# ---------------------------------------------------------------- a token at a time


@dataclass(eq=False)
class _Answering:
    """An answer in the making: what it is part of, its text, and its tokens that were not sent yet."""

    order: Order
    index: int
    writer: Writer
    heading: str = ""  # the prompt, where it is echoed
    start: int = 0  # where the answer begins behind it
    tokens: list[Token] = field(default_factory=list)
    headings: int = 0  # tokens of the heading
    close: tuple[Token, ...] = ()  # the token that ended it, where that is to be sent


class TokenByToken:
    """Every step writes one token of every answer."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._work: dict[LiveRow, _Answering] = {}

    @property
    def busy(self) -> bool:
        return bool(self._work)

    def begin(self, order: Order) -> None:
        from flyroom.engine.live import TooLong

        rows: list[LiveRow] = []
        try:
            rows.extend(self._live.line_up(order.adapter, ask) for ask in order.asks)
            pairs = zip(rows, order.asks, strict=True)
            work = [self._answering(order, index, ask, row) for index, (row, ask) in enumerate(pairs)]
        except BaseException as error:  # a row that stays behind would be nobody's
            for row in rows:
                self._live.drop(row)
            if isinstance(error, TooLong):
                raise Refusal(400, str(error), param=order.param, code="context_length_exceeded") from error
            raise
        order.send(Opened(sum(row.visible for row in rows[:: order.n])))
        self._work |= zip(rows, work, strict=True)

    def _answering(self, order: Order, index: int, ask: LiveAsk, row: LiveRow) -> _Answering:
        follows = order.streams or (order.closes and ask.top is not None)  # so that it knows where tokens begin
        writer = Writer(self._live.text, stops=order.stops, strips=order.strips, keeps_up=follows)
        work = _Answering(order, index, writer)
        if order.echo:
            prompt = ask.prompt
            work.heading = prompt if isinstance(prompt, str) else self._live.text(row.prompt.tolist())
            work.tokens = [] if ask.top is None else self._show_prompt(prompt, row, work.heading)
            work.headings, work.start = len(work.tokens), len(work.heading)
        return work

    def _show_prompt(self, prompt: Any, row: LiveRow, heading: str) -> list[Token]:
        """The tokens of a prompt with their places in its text."""
        tokens, start = list[Token](), 0
        for score, end in zip(self._live.score(row), self._list_ends(prompt, row), strict=True):
            token = self._show(score)
            tokens.append(token._replace(place=find_word(heading, token.text, start, end)))
            start = end
        return tokens

    def _list_ends(self, prompt: Any, row: LiveRow) -> list[int]:
        """Where each token of a prompt ends in its text: of a text as the tokenizer cut it, else as it is written."""
        count = len(row.prompt)
        ends = self._live.list_ends(prompt) if isinstance(prompt, str) else None
        if ends is not None and len(ends) >= count:  # an end behind the text is left out, and an empty one begun
            return ends[:count]
        writer = Writer(self._live.text, strips=False)
        for id in row.prompt.tolist():
            writer.add(id)
        return writer.ends

    def step(self) -> None:
        for row, work in self._work.items():
            if work.order.is_done:
                self._live.drop(row)
        for writing in self._live.step():
            self._take(writing)
        for row in [row for row in self._work if row.end]:  # those too that were never to write anything
            work = self._work.pop(row)
            if not work.order.is_done:
                self._send(row, work)

    def _take(self, writing: Writing) -> None:
        row, token, close = writing
        work = self._work[row]
        if token is not None:
            is_over = work.writer.add(token.id)
            if row.top is not None:
                shown = self._show(token)
                work.tokens.append(shown._replace(place=work.start + work.writer.place(shown.text)))
            if is_over:
                self._live.drop(row)
                row.end = "stop"
        if close is not None and work.order.closes and row.top is not None:
            work.close = (self._show(close)._replace(place=work.start + len(work.writer.text)),)
        if work.order.streams and not row.end:
            self._send(row, work)

    def _send(self, row: LiveRow, work: _Answering) -> None:
        """Send what can be shown, and with the last piece why the answer ended."""
        last, order, writer = bool(row.end), work.order, work.writer
        if last:
            writer.close()
        text = work.heading + writer.piece(last=last)
        n = work.headings + writer.count(last=last)
        tokens, work.tokens = (*work.tokens[:n], *work.close), work.tokens[n:]
        if not (text or tokens or last):
            return
        order.open -= last
        work.heading, work.headings = "", 0
        end = {"": "", "length": "length"}.get(row.end, "stop")
        order.send(Piece(index=work.index, text=text, tokens=tokens, count=len(row.tokens), end=end))

    def _show(self, score: Score) -> Token:
        return Token(
            self._live.token(score.id),
            score.logprob,
            tuple((self._live.token(id), logprob) for id, logprob in score.top),
        )

    def reset(self) -> None:
        self._live.clear()
        self._work = {}


# ---------------------------------------------------------------- in batches


class InBatches:
    """Every step answers all that waits, by one call."""

    def __init__(self, engine: Samples) -> None:
        self._engine = engine
        self._queue: list[Order] = []

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    def begin(self, order: Order) -> None:
        ask = order.asks[0]
        lacks: dict[str, Any] = {"logprobs": ask.top is not None, "top_p": ask.top_p < 1, "prompt": ask.prompt}
        param = next((name for name, value in lacks.items() if value), None)
        if param:
            reason = f"{param}: the engine behind this endpoint answers messages alone, as a whole; leave it out"
            raise Refusal(400, reason, param=param, code="unsupported_parameter")
        self._queue.append(order)

    def step(self) -> None:
        orders = [order for order in self._queue if not order.is_done]
        count = 0
        batch = [order for order in orders if (count := count + len(order.asks)) <= BATCH] or orders[:1]
        self._queue = [order for order in orders if order not in batch]
        if batch:
            self._answer(batch)

    def _answer(self, orders: Sequence[Order]) -> None:
        """Where the engine takes one of several orders not, each is put to it alone."""
        try:
            answers = self._ask(orders)
        except ValueError as error:  # a prompt longer than the context, or roles that the chat template refuses
            if len(orders) > 1:
                for order in orders:
                    self._answer([order])
            else:
                orders[0].refuse(Refusal(400, str(error), param=orders[0].param))
            return
        for order in orders:
            self._send(order, [answers.pop(0) for _ in order.asks])

    def _ask(self, orders: Sequence[Order]) -> list[Answer]:
        pairs = [(order.adapter, ask) for order in orders for ask in order.asks]
        asks = [
            Ask(messages=a.messages, seed=a.seed, max_tokens=a.max_tokens or ENDLESS, temperature=a.temperature)
            for _, a in pairs
        ]
        return self._engine.sample([adapter for adapter, _ in pairs], asks)

    def _send(self, order: Order, answers: Sequence[Answer]) -> None:
        order.send(Opened(answers[0].prompt_tokens))
        for index, answer in enumerate(answers):
            ends = [answer.text.index(stop) for stop in order.stops if stop in answer.text]
            text, end = answer.text[: min(ends, default=None)], "stop" if ends or answer.finished else "length"
            order.open -= 1
            order.send(Piece(index=index, text=text, tokens=(), count=answer.tokens, end=end))

    def reset(self) -> None:
        self._queue = []
