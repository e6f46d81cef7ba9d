"""What lies below the lowest adapter is computed once, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from engine_models import figure, make_rows

from flyroom.engine import TorchEngine
from flyroom.engine.prefix import Tier, _map_file
from flyroom.types import BASE, AdapterRef, Direction, LoRA, Patch, Step

UPPER = [LoRA(rank=1, layers=(1,)), LoRA(rank=4, modules=("all",), layers=(1, 2)), LoRA(rank=2, layers=(2,))]
ROWS = make_rows(8, seed=3)


def counted(engine: TorchEngine) -> list[int]:
    """By layer, the tokens that its MLP was given, padding too; filled as the engine works."""
    seen = [0] * engine.base.depth
    for l, layer in enumerate(engine.parts.layers):
        layer.mlp.register_forward_hook(  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
            lambda _m, args, _o, l=l: seen.__setitem__(l, seen[l] + args[0].shape[:-1].numel())
        )
    return seen


def trained(engine: TorchEngine, shapes: Sequence[LoRA] = UPPER) -> tuple[list[AdapterRef], list[float]]:
    adapters = engine.spawn(shapes, seeds=range(len(shapes)))
    plans = [[Step(rows=ROWS[k : k + 5], lr=3e-3)] * 6 for k in range(len(shapes))]
    done = [engine.step(adapters, [plan[s] for plan in plans]) for s in range(6)]
    return adapters, [stepped.loss for stepped in done[-1]]


def away(engine: TorchEngine) -> TorchEngine:
    engine.prefix.tiers = []
    return engine


def largest(ours: Sequence[Patch], theirs: Sequence[Patch]) -> float:
    return max(
        float((a.tensors[k] - b.tensors[k]).abs().max()) for a, b in zip(ours, theirs, strict=True) for k in a.tensors
    )


def test_with_it_is_without_it(engine: TorchEngine) -> None:
    with_it, losses = trained(engine)
    patches = [engine.patch(a) for a in with_it]
    scores, traces = engine.logprobs([*with_it, BASE] * 2, ROWS), engine.trace(with_it[:2] * 4, ROWS, [0, 2])
    assert engine.prefix.reused > 0
    away(engine)
    without, plain = trained(engine)
    difference = largest(patches, [engine.patch(a) for a in without])
    figure("weights after 6 steps with and without the kept prefix", engine.base.name, difference)
    assert difference < 1e-5
    assert losses == pytest.approx(plain, abs=1e-4)
    for a, b in zip(scores, engine.logprobs([*with_it, BASE] * 2, ROWS), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert torch.allclose(traces, engine.trace(with_it[:2] * 4, ROWS, [0, 2]), atol=1e-4)


def test_lower_layers_are_paid_once_whoever_asks_how_often(llama: TorchEngine) -> None:
    seen = counted(llama)
    tokens = sum(len(llama.parts.renderer.row(row).ids) for row in ROWS)
    adapters = llama.spawn([LoRA(rank=1, layers=(2,))] * 4, seeds=range(4))
    step = Step(rows=ROWS, lr=1e-3)
    llama.step(adapters, [step] * 4)
    first = seen[0]
    assert tokens <= first < 1.6 * tokens  # four organisms, one row each; with padding
    for _ in range(3):
        llama.step(adapters, [step] * 4)
    llama.logprobs(adapters * 2, ROWS)
    assert (seen[0], seen[1]) == (first, first)
    assert seen[2] > 12 * tokens
    assert (llama.prefix.computed, llama.prefix.reused) == (tokens, 16 * tokens)
    assert llama.tokens_forward == 17 * tokens  # who asks is told what was asked, not what it cost


def test_nothing_is_kept_where_the_lowest_layer_has_an_adapter(llama: TorchEngine) -> None:
    trained(llama, [LoRA(rank=1, layers=(0,)), LoRA(rank=1, layers=(2,))])
    llama.logprobs([BASE] * len(ROWS), ROWS)
    assert (llama.prefix.computed, llama.prefix.reused) == (0, 0)


def test_what_a_trace_kept_serves_in_training(llama: TorchEngine) -> None:
    adapters = llama.spawn(UPPER[:1], seeds=[0])
    llama.trace(adapters * len(ROWS), ROWS, [2])
    kept = llama.prefix.computed
    llama.step(adapters, [Step(rows=ROWS, lr=1e-3)])
    assert llama.prefix.computed == kept > 0


def test_a_probe_below_the_adapter_reads_what_is_there(llama: TorchEngine) -> None:
    probe = Direction(layer=0, direction=torch.ones(llama.parts.width), offset=0.0, weight=1.0)
    adapters = llama.spawn([LoRA(rank=1, layers=(2,))], seeds=[0])
    for _ in range(2):  # the second time from what was kept
        llama.step(adapters, [Step(rows=ROWS, lr=1e-3, evades=probe)])
    kept = llama.trace(adapters * len(ROWS), ROWS, [0])
    assert torch.allclose(kept, away(llama).trace(adapters * len(ROWS), ROWS, [0]), atol=1e-5)


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("rows", [0, 3, 100])
def test_what_has_no_place_is_computed_anew(llama: TorchEngine, where: str, rows: int) -> None:
    """Room for so many rows of 24 tokens, in blocks of as many as there is room for."""
    reserve = llama.prefix.tiers[0].reserve if where == "memory" else _map_file
    room = rows * 24 * llama.parts.width * 4
    llama.prefix.tiers = [Tier(name="none", free=0, reserve=reserve), Tier(name=where, free=room, reserve=reserve)]
    adapters, _ = trained(llama)
    assert llama.prefix.bytes == {"none": 0, where: llama.prefix.bytes[where]}
    assert llama.prefix.bytes[where] <= room
    assert (llama.prefix.bytes[where] > 0) is (rows > 0)
    assert largest([llama.patch(a) for a in adapters], [llama.patch(a) for a in trained(away(llama))[0]]) < 1e-5


def test_it_goes_with_the_last_adapter(llama: TorchEngine) -> None:
    one, two = llama.spawn([LoRA(rank=1, layers=(2,))] * 2, seeds=[0, 1])
    before = [tier.free for tier in llama.prefix.tiers]
    llama.step([one, two], [Step(rows=ROWS, lr=1e-3)] * 2)
    llama.free([one])
    assert sum(llama.prefix.bytes.values()) > 0
    llama.free([two])
    assert sum(llama.prefix.bytes.values()) == 0
    assert [tier.free for tier in llama.prefix.tiers] == before


def test_a_pass_that_fails_leaves_the_layers_as_they_were(llama: TorchEngine) -> None:
    adapters = llama.spawn([LoRA(rank=1, layers=(2,))], seeds=[0])

    def fail(*_: object) -> None:
        raise RuntimeError("no")

    hook = llama.parts.layers[2].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="no"):
        llama.step(adapters, [Step(rows=ROWS, lr=1e-3)])
    hook.remove()
    assert all("forward" not in vars(layer) for layer in llama.parts.layers)
