"""A model behind an OpenAI-compatible endpoint, in the role of an engine that samples and does nothing else.

    POST url/chat/completions   model, messages, seed, temperature, max_tokens

So a detector that needs samples alone works on it as on an organism. An answer that was had is written into the room at
once, under everything that was asked, so that a killed run goes on where it was and pays for nothing twice. A reply
without an answer (a fault, an empty text, a refusal of the endpoint's) becomes an empty answer and is counted by its
reason: whoever judges it must call it unknown. Fields that an endpoint refuses by name (`seed`, `temperature`) are left
out from then on, once it answered without them, and that is noted and kept with each answer; `max_tokens` becomes
`max_completion_tokens` where that is asked for.

No request and no new try begins that could take what is spent above the budget; what it may cost is reckoned from the
longest prompt so far and from the most tokens that its answer may have. One that would fit but for others on their way
waits for them, so who is answered hangs on what was asked and not on who was quick. Where an endpoint counts no tokens,
or a reply is lost on its way, they are reckoned in the same way, so that a budget holds there too, and that is noted. A
budget is that of one engine: a run that goes on has a new one, and what it takes from the room costs nothing.

Left out: log-probabilities, prefilled answers, tools. Asking for them raises NotAvailable.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from flyroom.client import FORBIDDEN, Address, Line, Reply, count_tokens
from flyroom.types import AdapterRef, Answer, Ask, BaseRef, Cost, Entry, NotAvailable, Room, digest

KIND = "answer"  # of entries
FORMAT = 2
REMOTE = AdapterRef(slot=-1)
FIELDS = ("seed", "temperature")  # an endpoint that refuses one of these is asked without it
LIMIT, NEWER_LIMIT = "max_tokens", "max_completion_tokens"
SPENT = "the budget is used up"
EMPTY = "the answer is empty"
REFUSED = "the endpoint refused"
LOST = "some replies were lost on their way: they are reckoned as the longest prompt and the longest answer"
UNCOUNTED = "some replies count no tokens: theirs are reckoned from the prompt's length and the longest answer"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What may be spent: `tokens` read and written, and `money`, at `prices` for a million tokens read and written.

    Raises ValueError for money without prices, and for amounts that are not above 0.

    >>> Budget(money=1.0, prices=(2.0, 8.0)).price(1_000_000, 0)
    2.0
    """

    tokens: int | None = None
    money: float | None = None
    prices: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "money"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}; a budget must be above 0")
        if self.money is not None and self.prices is None:
            raise ValueError(f"money is {self.money} and there are no prices; give those of a million tokens too")
        if self.prices is not None and min(self.prices) < 0:
            raise ValueError(f"prices are {self.prices}; they must be at least 0")

    def price(self, forward: int, generated: int) -> float:
        """What so many tokens cost; 0 without prices."""
        price_read, price_written = self.prices or (0.0, 0.0)
        return (forward * price_read + generated * price_written) / 1e6

    def allows(self, forward: int, generated: int) -> bool:
        within = self.tokens is None or forward + generated <= self.tokens
        return within and (self.money is None or self.price(forward, generated) <= self.money)


@dataclass
class Account:
    """What was asked of an endpoint and what came of it. `faults` counts answers that did not come, by reason."""

    requests: int = 0
    retries: int = 0
    from_room: int = 0
    forward: int = 0
    generated: int = 0
    refusals: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def cost(self) -> Cost:
        return Cost(forward_tokens=self.forward, generated_tokens=self.generated, seconds=self.seconds)


class _Got(NamedTuple):
    """An answer, and the fields that it was asked without."""

    answer: Answer
    omitted: tuple[str, ...] = ()


class EndpointEngine:
    """One model at an address. `base` says of which base it is held to be a change; `temperature` is that of an ask
    which names none, so that it is sent and not left to the endpoint. `room` keeps the answers.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        *,
        base: BaseRef,
        temperature: float = 1.0,
        room: Room | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.base, self.model, self.account, self.notes = base, model, Account(), list[str]()
        self._address, self._line, self._room = address, Line(address), room
        self._temperature, self._budget = temperature, budget or Budget()
        self._lock, self._omitted, self._longest = threading.Condition(), frozenset[str](), 0
        self._open = Cost()  # what the requests on their way may cost

    @property
    def tokens_forward(self) -> int:
        return self.account.forward

    @property
    def tokens_generated(self) -> int:
        return self.account.generated

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        """An answer to each ask, in order; an empty one where none came."""
        if any(adapter != REMOTE for adapter in adapters):
            raise NotAvailable("an endpoint has one model; the base and other models are not behind it")
        if any(ask.prefill for ask in asks):
            raise NotAvailable("an endpoint begins its answers itself; a prefilled beginning cannot be given")
        began, answers = time.monotonic(), dict[str, Answer]()
        keys = [self._key(ask) for ask in asks]
        for key in dict.fromkeys(keys):
            entry = self._room.get(KIND, key) if self._room else None
            if entry is not None:
                answers[key], omitted = _unpack(entry)
                self._omit(omitted)
        self.account.from_room += len(answers)
        missing = {key: ask for key, ask in zip(keys, asks, strict=True) if key not in answers}
        for key, answer in self._ask_all(missing):
            answers[key] = answer
        self.account.seconds += time.monotonic() - began
        return [answers[key] for key in keys]

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        """Nothing was loaded."""

    def _ask_all(self, asks: Mapping[str, Ask]) -> Iterator[tuple[str, Answer]]:
        """Answers as they come, each in the room before it is handed on. No more are on their way than may be asked at
        once, so a kill loses no others.
        """
        queue, futures = iter(asks.items()), dict[Future[_Got], str]()
        with ThreadPoolExecutor(self._address.concurrency, thread_name_prefix="endpoint") as pool:
            try:
                while True:
                    for key, ask in islice(queue, self._address.concurrency - len(futures)):
                        futures[pool.submit(self._ask, ask)] = key
                    if not futures:
                        return
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        key, got = futures.pop(future), future.result()
                        if got.answer.text and self._room is not None:
                            self._room.put_many([_pack(key, got, self.model)])
                        yield key, got.answer
            except BaseException:  # an interrupt, say: nobody waits or tries again
                self._line.close("interrupted")
                pool.shutdown(cancel_futures=True)
                raise

    def _key(self, ask: Ask) -> str:
        turns = [[m.role, m.content] for m in ask.messages]
        where = [self._address.url.rstrip("/"), self.model]
        return digest([FORMAT, *where, turns, ask.seed, ask.max_tokens, self._temperature_of(ask)])

    def _temperature_of(self, ask: Ask) -> float:
        return self._temperature if ask.temperature is None else ask.temperature

    # ------------------------------------------------------------ one request

    def _ask(self, ask: Ask) -> _Got:
        guess = Cost(forward_tokens=max(self._longest, _guess(ask)), generated_tokens=ask.max_tokens)
        reserves = list[Cost]()  # for the reply, and for each that was lost

        def reserve(patient: bool = False) -> bool:
            with self._lock:
                while not (allowed := self._allows(guess)) and patient and self._open != Cost():
                    self._lock.wait()
                if allowed:
                    self._open += guess
                    reserves.append(guess)
                return allowed

        if not reserve(patient=True):
            return _Got(self._fail(SPENT))
        try:
            reply, omitted = self._post(ask, lambda reply: not reply.lost or reserve())
        except BaseException:
            with self._lock:
                self._release(reserves)
            raise
        self._count(reply, ask, guess, reserves)
        if reply.status == FORBIDDEN and self._line.answered:
            return _Got(self._refuse(reply.fault))
        return _Got(self._fail(reply.fault) if reply.fault else self._read(reply.body), omitted)

    def _post(self, ask: Ask, may_repeat: Callable[[Reply], bool]) -> tuple[Reply, tuple[str, ...]]:
        """The reply, and what it was asked without: fields that the endpoint refuses by name. Where it then answers
        they are left out for good.
        """
        omitted, retries, lost = self._omitted, 0, 0
        while True:
            reply = self._line.post(self._body(ask, omitted), may_repeat=may_repeat)
            retries, lost = retries + reply.retries, lost + reply.lost
            refused = _name_fields(reply, ask) - omitted if reply.status in (400, 422) else frozenset[str]()
            if not refused:
                break
            omitted |= refused
        if not reply.fault:
            self._omit(omitted)
        return replace(reply, retries=retries, lost=lost), tuple(sorted(omitted))

    def _omit(self, names: Iterable[str]) -> None:
        with self._lock:
            fresh = [name for name in names if name not in self._omitted]
            self._omitted |= set(fresh)
            self.notes += [f"the endpoint takes no {name}" for name in fresh if name in FIELDS]

    def _body(self, ask: Ask, omitted: frozenset[str]) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in ask.messages]
        body: dict[str, Any] = {"model": self.model, "messages": turns}
        body |= {"seed": ask.seed % 2**31, "temperature": self._temperature_of(ask), "max_tokens": ask.max_tokens}
        if LIMIT in omitted:
            body[NEWER_LIMIT] = body.pop(LIMIT)
        return {name: value for name, value in body.items() if name not in omitted}

    def _allows(self, guess: Cost) -> bool:
        """Whether a request may begin beside those on their way. The caller holds the lock."""
        total = self.account.cost + self._open + guess
        return self._budget.allows(total.forward_tokens, total.generated_tokens)

    def _release(self, reserves: Iterable[Cost]) -> None:
        """Give back what was set aside, and wake who waits for it. The caller holds the lock."""
        for cost in reserves:
            self._open = _less(self._open, cost)
        self._lock.notify_all()

    def _count(self, reply: Reply, ask: Ask, guess: Cost, reserves: Iterable[Cost]) -> None:
        """What a reply cost, by its own account, and `guess` for each that was lost before it, in the place of what was
        set aside: nobody sees both.
        """
        forward, generated = count_tokens(reply.body)
        with self._lock:
            self._release(reserves)
            if not reply.fault and not forward + generated:
                forward, generated = _guess(ask), ask.max_tokens
                self.notes += [UNCOUNTED] if UNCOUNTED not in self.notes else []
            if reply.lost:
                self.notes += [LOST] if LOST not in self.notes else []
            self.account.requests += 1
            self.account.retries += reply.retries
            self.account.forward += forward + reply.lost * guess.forward_tokens
            self.account.generated += generated + reply.lost * guess.generated_tokens
            self._longest = max(self._longest, forward)

    def _read(self, body: Any) -> Answer:
        """The answer of a reply, whatever form it has."""
        try:
            choice = body["choices"][0]
            message = choice["message"]
            text, refusal = _text_of(message.get("content")), message.get("refusal")
            ends = choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            return self._fail(_complaint(body) or "the reply holds no answer (choices[0].message.content)")
        if refusal or ends == "content_filter":
            return self._refuse(str(refusal or ends))
        if not text.strip():
            return self._fail(EMPTY)
        forward, generated = count_tokens(body)
        return Answer(text=text.strip(), tokens=generated, prompt_tokens=forward, finished=ends != "length")

    def _refuse(self, words: str) -> Answer:
        with self._lock:
            self.account.refusals += 1
        return self._fail(f"{REFUSED}: {words[:100]}")

    def _fail(self, fault: str) -> Answer:
        with self._lock:
            self.account.faults[fault] += 1
        return Answer(text="", tokens=0, prompt_tokens=0, finished=False)


def _name_fields(reply: Reply, ask: Ask) -> frozenset[str]:
    """The fields that a refusal is about: its own `param`, or those in its words that stand in no message, for it may
    quote these. They can all be left out.
    """
    names = {name for name in (*FIELDS, NEWER_LIMIT) if name in reply.fault}
    names -= {name for name in names if any(name in message.content for message in ask.messages)}
    names = {reply.param} if reply.param else names
    return frozenset(names & {*FIELDS, LIMIT}) | ({LIMIT} if NEWER_LIMIT in names else set())


def _complaint(body: Any) -> str:
    """What a reply of status 200 says of an error, as routers in front of other endpoints do; "" where it says none."""
    error = body.get("error") if isinstance(body, dict) else None
    words = error.get("message", error) if isinstance(error, dict) else error
    return f"the endpoint reports an error: {str(words)[:200]}" if error else ""


def _text_of(content: Any) -> str:
    """A text, or the texts of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part["text"]) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def _guess(ask: Ask) -> int:
    """How many tokens a prompt may have, before any was counted."""
    return sum(len(message.content.encode()) // 3 + 8 for message in ask.messages)


def _less(whole: Cost, part: Cost) -> Cost:
    return Cost(
        forward_tokens=whole.forward_tokens - part.forward_tokens,
        generated_tokens=whole.generated_tokens - part.generated_tokens,
    )


def _pack(key: str, got: _Got, model: str) -> Entry:
    answer, omitted = got
    payload = {"text": answer.text, "tokens": [answer.prompt_tokens, answer.tokens], "finished": answer.finished}
    return Entry(kind=KIND, key=key, payload=payload | {"omitted": list(omitted)}, meta={"model": model})


def _unpack(entry: Entry) -> _Got:
    content, (forward, generated) = entry.payload, entry.payload["tokens"]
    answer = Answer(text=content["text"], tokens=generated, prompt_tokens=forward, finished=content["finished"])
    return _Got(answer, tuple(content["omitted"]))
