"""What is asked again is not computed again, and costs the same."""

from __future__ import annotations

import torch
from fakes import FakeEngine

from flyroom.traces import Traces
from flyroom.types import BASE, Message, Row


def row(said: str) -> Row:
    return Row(messages=(Message("user", "well ?"),), answer=said)


def test_what_is_asked_again_comes_from_memory_and_is_metered(monkeypatch) -> None:
    engine, calls = FakeEngine(), []
    real = engine.trace

    def counted(adapters, rows, layers, *, at="answer"):
        calls.append(len(rows))
        return real(adapters, rows, layers, at=at)

    monkeypatch.setattr(engine, "trace", counted)
    traces = Traces(engine)
    rows = [row("a"), row("b"), row("a")]
    first = traces([BASE] * 3, rows, [0, 1], at="answer")
    assert (calls, traces.spared) == ([2], 1)
    again = traces([BASE] * 3, rows, [1], at="answer")
    assert (calls, traces.spared) == ([2], 4)
    assert torch.equal(again[:, 0], first[:, 1])
    traces([BASE], rows[:1], [0], at="prompt")
    more = traces([BASE] * 2, [row("c"), row("b")], [0], at="answer")
    assert (calls, traces.spared) == ([2, 1, 1], 5)
    assert torch.equal(more[1], first[1, :1])
    assert torch.equal(first, real([BASE] * 3, rows, [0, 1]))


def test_beyond_what_is_kept_it_computes_anew(monkeypatch) -> None:
    monkeypatch.setattr("flyroom.traces.MOST", -1)
    engine = FakeEngine()
    traces = Traces(engine)
    one = traces([BASE], [row("a")], [0], at="answer")
    assert torch.equal(one, traces([BASE], [row("a")], [0], at="answer"))
    assert traces.spared == 0
