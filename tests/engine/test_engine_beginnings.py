"""A beginning that rows of a step share goes through once for each adapter, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from engine_models import figure, make_rows

from flyroom.engine import TorchEngine, batches, beginnings
from flyroom.types import BASE, AdapterRef, LoRA, Message, Row, Step

SHAPES = [LoRA(rank=4, modules=("all",)), LoRA(rank=2, layers=(0, 2)), LoRA(rank=4, modules=("all",))]
SYSTEM = Message(
    "system", "All who answer here answer in few words, and they say what they know and no more than that."
)


@pytest.fixture
def cheap_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass cost little, so that the few tokens of a test are worth one."""
    monkeypatch.setitem(batches.PASS, "cpu", 10)


def rows(count: int) -> tuple[Row, ...]:
    return tuple(Row(messages=(SYSTEM, *row.messages), answer=row.answer) for row in make_rows(count, seed=4))


def steps(sizes: tuple[int, ...] = (5, 3, 6)) -> list[Step]:
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    some = rows(sum(sizes))
    return [Step(rows=some[start : start + n], lr=3e-3) for start, n in zip(starts, sizes, strict=True)]


def gradients(engine: TorchEngine, adapters: Sequence[AdapterRef]) -> list[torch.Tensor]:
    leaves, _ = engine._gradients([adapter.slot for adapter in adapters], steps())
    every = [weights.grad for leaf in leaves for weights in (leaf.a_NRI, leaf.b_NOR)]
    return [grad for grad in every if grad is not None]


@pytest.mark.parametrize("layers", [None, (1, 2)], ids=["from the first layer", "above others"])
def test_the_gradient_is_that_of_whole_rows(
    engine: TorchEngine, layers: tuple[int, ...] | None, cheap_passes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same adapters: a first step would make of the smallest gradients' rounding what it makes of large ones."""
    shapes = [replace(shape, layers=layers or shape.layers) for shape in SHAPES]
    adapters, share = engine.spawn(shapes, seeds=range(3)), beginnings.joins(engine.parts)
    engine.step(adapters, steps())  # before it B is zero, and A learns nothing
    with monkeypatch.context() as patch:
        patch.setattr(beginnings, "joins", lambda base: False)
        whole = gradients(engine, adapters)
    count, begin = [0], beginnings.Beginning.__init__

    def counted(self: beginnings.Beginning, *args: object) -> None:
        count[0] += 1
        begin(self, *args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(beginnings.Beginning, "__init__", counted)
    shared = gradients(engine, adapters)
    assert count == [share]
    difference = max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(whole, shared, strict=True))
    figure("gradients of a beginning that went through once, relative", engine.base.name, difference)
    assert difference < 1e-4


def test_what_lies_below_the_adapters_is_computed_once_for_each_beginning_too(
    llama: TorchEngine, cheap_passes: None
) -> None:
    """And is kept: in a second step of the same rows nothing goes through the first layer."""
    tokens = [0]
    mlp: torch.nn.Module = llama.parts.layers[0].get_submodule("mlp")  # a layer that is left out is still called
    mlp.register_forward_hook(lambda _m, args, _o: tokens.__setitem__(0, tokens[0] + args[0].shape[:-1].numel()))
    adapters, step = llama.spawn([replace(shape, layers=(1, 2)) for shape in SHAPES], seeds=range(3)), steps((4, 4, 4))
    longest = max(len(llama.parts.renderer.row(r).ids) for s in step for r in s.rows)
    llama.step(adapters, step)
    first, counts = tokens[0], (llama.prefix.computed, llama.prefix.reused)
    assert 0 < first <= 12 * (longest - 20) + 2 * 20  # the beginning for its keys and values, and for its residual
    llama.step(adapters, step)
    assert tokens[0] == first
    assert llama.prefix.computed == counts[0]
    assert llama.prefix.reused > counts[1]


def test_the_beginning_is_paid_once_for_each_adapter(llama: TorchEngine, cheap_passes: None) -> None:
    tokens = [0]
    llama.parts.layers[0].register_forward_hook(
        lambda _m, args, _o: tokens.__setitem__(0, tokens[0] + args[0].shape[:-1].numel())
    )
    adapters, step = llama.spawn(SHAPES, seeds=range(3)), steps((4, 4, 4))
    padded = 12 * (max(len(llama.parts.renderer.row(r).ids) for s in step for r in s.rows) - 1)
    llama.step(adapters, step)
    first = llama.parts.renderer.row(step[0].rows[0]).ids
    shared = min(int((first[:20] == llama.parts.renderer.row(r).ids[:20]).argmin() or 20) for s in step for r in s.rows)
    assert shared == 20  # the system message alone is longer
    assert tokens[0] <= padded - (12 - 3) * shared


def test_rows_are_put_together_by_how_they_begin(llama: TorchEngine, cheap_passes: None) -> None:
    """Two system messages and none: rows without one share too little, and one row shares with nobody."""
    other = Message("system", " ".join(f"w{i % 50}" for i in range(30, 60)))
    rows_of = [
        rows(4),
        [Row(messages=(other, *row.messages[1:]), answer=row.answer) for row in rows(5)],
        make_rows(2, seed=4),
    ]
    rendered = [llama.parts.renderer.row(row) for some in rows_of for row in some]
    parts = list(beginnings.split(llama.parts, [1, 1, 2, 2, 1, 1, 2, 2, 2, 1, 2], rendered))
    assert [(which, shared > 20) for which, shared in parts] == [
        ([0, 1, 2, 3], True),
        ([4, 5, 6, 7, 8], True),
        ([9, 10], False),
    ]


@pytest.mark.parametrize("size", [1, 40])
def test_no_pass_for_what_spares_little(llama: TorchEngine, size: int) -> None:
    """A single row shares with nobody; rows of the micro-world share a few tokens."""
    some = [llama.parts.renderer.row(row) for row in make_rows(size, seed=4)]
    assert list(beginnings.split(llama.parts, [1] * size, some)) == [(list(range(size)), 0)]


@pytest.mark.parametrize("layers", [None, (1, 2)], ids=["from the first layer", "above others"])
def test_what_is_asked_of_rows_behind_a_beginning_is_that_of_whole_rows(
    engine: TorchEngine, layers: tuple[int, ...] | None, cheap_passes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities, likeliest tokens and traces, of adapters and the base, in batches of few rows."""
    shapes = [replace(shape, layers=layers or shape.layers) for shape in SHAPES]
    adapters = engine.spawn(shapes, seeds=range(3))
    engine.step(adapters, steps())
    models, some = [model for model in (*adapters, BASE) for _ in range(5)], [*rows(5)] * 4
    monkeypatch.setattr(engine, "batch_tokens", 60)

    def ask() -> list[torch.Tensor]:
        prompts = [row.messages for row in some]
        likeliest = [torch.tensor(list(top.values())) for top in engine.next_tokens(models, prompts, 3)]
        traces = [engine.trace(models, some, [0, 1]), engine.trace(models, some, [2], at="prompt")]
        return [*engine.logprobs(models, some), *likeliest, *traces]

    with monkeypatch.context() as patch:
        patch.setattr(beginnings, "joins", lambda base: False)
        whole = ask()
    for a, b in zip(whole, ask(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("layers", "first"), [((0, 1, 2), True), ((1, 2), False)])
def test_whoever_asks_pays_a_beginning_once_for_each_adapter(
    llama: TorchEngine, layers: tuple[int, ...], first: bool, cheap_passes: None
) -> None:
    tokens = [0]
    mlp: torch.nn.Module = llama.parts.layers[0].get_submodule("mlp")
    mlp.register_forward_hook(lambda _m, args, _o: tokens.__setitem__(0, tokens[0] + args[0].shape[:-1].numel()))
    adapters = llama.spawn([replace(shape, layers=layers) for shape in SHAPES], seeds=range(3))
    models, some = [adapter for adapter in adapters for _ in range(4)], [*rows(4)] * 3
    longest = max(len(llama.parts.renderer.row(row).ids) for row in some)
    llama.trace(models, some, [1])
    rest, begun = 12 * (longest - 20) if first else 4 * (longest - 20), 3 * longest if first else 2 * longest
    assert 0 < tokens[0] <= rest + begun
