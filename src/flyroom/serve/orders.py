"""What passes between a request and the thread that writes answers: an order on one side, events on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flyroom.serve.errors import Refusal
from flyroom.types import AdapterRef, LiveAsk


class Token(NamedTuple):
    """A token's text, its log-probability (None where nothing stands before it), the likeliest in its place, and the
    place in the text of the answer where it begins.
    """

    text: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()
    place: int = 0


@dataclass(frozen=True)
class Opened:
    """An order is accepted: the prompts that its client sent have so many tokens. What comes now are pieces."""

    prompt_tokens: int


@dataclass(frozen=True, kw_only=True)
class Piece:
    """More of an answer. `count`: tokens written so far. `end`: "stop" or "length" with the last piece of an answer."""

    index: int
    text: str
    tokens: tuple[Token, ...]
    count: int
    end: str = ""


Event = Opened | Piece | Refusal


@dataclass(eq=False, kw_only=True)
class Order:
    """A request for answers, `n` to each prompt. Events go to `send`, from the thread that writes.

    `param` is the field that holds the prompt, `streams` whether pieces are wanted before the end, `strips` whether
    outer spaces are no part of an answer, `echo` whether an answer begins with its prompt, `closes` whether the token
    that ends an answer is among its log-probabilities.
    """

    adapter: AdapterRef
    asks: Sequence[LiveAsk]
    send: Callable[[Event], None]
    n: int = 1
    param: str = "messages"
    stops: tuple[str, ...] = ()
    streams: bool = False
    strips: bool = True
    echo: bool = False
    closes: bool = False
    is_gone: bool = False  # nobody waits for it any more
    is_refused: bool = False
    open: int = field(init=False)  # answers that are still to end

    def __post_init__(self) -> None:
        self.open = len(self.asks)

    def refuse(self, refusal: Refusal) -> None:
        """Nothing more comes but this."""
        self.is_refused = True
        self.send(refusal)

    @property
    def is_answered(self) -> bool:
        return self.open == 0 and not self.is_refused

    @property
    def is_done(self) -> bool:
        return self.is_gone or self.is_refused or self.open == 0
