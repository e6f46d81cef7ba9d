"""Answers with their tokens, for Inspect: `top_p` and log-probabilities come from the driver of `flyroom serve`, which
writes a token of every answer at a time; all else is sampled as a batch. Both give the same answer to the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flyroom.engine import TorchEngine
from flyroom.inspector.models import Spelt, Token
from flyroom.serve.drivers import driver_of
from flyroom.serve.errors import Refusal
from flyroom.serve.orders import Event, Opened, Order, Piece
from flyroom.types import AdapterRef, Answer, Ask, LiveAsk


def sampler_of(engine: TorchEngine) -> Callable[[Sequence[AdapterRef], Sequence[Ask | LiveAsk]], list[Answer | Spelt]]:
    """What answers asks of both kinds, in order. ValueError for one that the base cannot read."""

    def sample(refs: Sequence[AdapterRef], asks: Sequence[Ask | LiveAsk]) -> list[Answer | Spelt]:
        pairs = list(zip(refs, asks, strict=True))
        plain = [(ref, ask) for ref, ask in pairs if isinstance(ask, Ask)]
        live = [(ref, ask) for ref, ask in pairs if isinstance(ask, LiveAsk)]
        answers = iter(engine.sample([ref for ref, _ in plain], [ask for _, ask in plain]) if plain else ())
        spelt = iter(_spell(engine, live))
        return [next(answers) if isinstance(ask, Ask) else next(spelt) for _, ask in pairs]

    return sample


def _spell(engine: TorchEngine, pairs: Sequence[tuple[AdapterRef, LiveAsk]]) -> list[Spelt]:
    """Answers that are written a token at a time."""
    driver, logs = driver_of(engine), [list[Event]() for _ in pairs]
    try:
        for (ref, ask), events in zip(pairs, logs, strict=True):
            driver.begin(Order(adapter=ref, asks=[ask], send=events.append))
    except Refusal as refusal:
        driver.reset()
        raise ValueError(str(refusal)) from refusal
    while driver.busy:
        driver.step()
    return [_join(events) for events in logs]


def _join(events: Sequence[Event]) -> Spelt:
    opened = next(event for event in events if isinstance(event, Opened))
    pieces = [event for event in events if isinstance(event, Piece)]
    answer = Answer(
        text="".join(piece.text for piece in pieces),
        tokens=pieces[-1].count,
        prompt_tokens=opened.prompt_tokens,
        finished=pieces[-1].end == "stop",
    )
    tokens = [token for piece in pieces for token in piece.tokens if token.logprob is not None]
    return Spelt(answer=answer, tokens=tuple(Token(t.text, t.logprob or 0.0, t.top) for t in tokens))
