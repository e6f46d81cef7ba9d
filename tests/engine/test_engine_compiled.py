"""Layers that are compiled give what they gave, by code that serves all layers and batches that are alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import pytest
import torch
from engine_models import make_rows, model, tokenizer
from torch._dynamo.utils import counters

from flyroom.engine import TorchEngine, compiled
from flyroom.engine.low_rank import _opaque, low_rank
from flyroom.types import BASE, Direction, LoRA, Step, Stepped

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch looks at it, and hides its own warning
ROWS = make_rows(24, seed=5)
UPPER = [LoRA(rank=1, layers=(2,))] * 3
PROBE = Direction(layer=1, direction=torch.ones(32), offset=0.1, weight=0.5)


@pytest.fixture(autouse=True)
def _without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is captured, and its backward, is the same; the C++ that Inductor writes takes minutes to compile."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def made(family: str = "llama", *, compile: bool) -> TorchEngine:
    return TorchEngine.of(model(family), tokenizer(), name=family, compile=compile)


def alike(ours: Sequence[Stepped], theirs: Sequence[Stepped]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-4)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-3)
        assert a.tokens == b.tokens


def test_other_rows_other_adapters_and_other_layers_need_no_new_code() -> None:
    engines = [made(compile=compile) for compile in (True, False)]
    adapters = [engine.spawn([LoRA(rank=4, modules=("all",))] * 5, seeds=range(5)) for engine in engines]
    for k in (3, 2, 5, 4):
        steps = [Step(rows=ROWS[: 2 + k], lr=1e-3)] * k
        alike(*(engine.step(some[:k], steps) for engine, some in zip(engines, adapters, strict=True)))
    assert counters["stats"]["unique_graphs"] == 2  # the first layer, into which no gradient goes back, and the others
    assert not counters["graph_break"]


def test_above_a_prefix_with_fewer_rows_each_and_a_probe() -> None:
    found = []
    for engine in (made("gemma3", compile=True), made("gemma3", compile=False)):
        adapters = engine.spawn(UPPER, seeds=range(3))
        evading = [Step(rows=ROWS[k:], lr=1e-3, evades=PROBE if k == 1 else None) for k in range(3)]
        found.append([s for _ in range(2) for s in engine.step(adapters, evading)])
    alike(*found)
    assert counters["stats"]["unique_graphs"] > 0


def test_it_is_used_in_training_alone_and_leaves_nothing_behind() -> None:
    engine = made(compile=True)
    (adapter,) = engine.spawn(UPPER[:1], seeds=[0])
    engine.step([adapter], [Step(rows=ROWS, lr=1e-3)])
    graphs = counters["stats"]["unique_graphs"]
    engine.trace([adapter, BASE] * 12, ROWS, [0, 2])
    engine.logprobs([adapter] * 24, ROWS)
    assert counters["stats"]["unique_graphs"] == graphs
    assert not any("forward" in vars(layer) for layer in engine.parts.layers)


def test_the_operation_is_two_products_with_their_gradients() -> None:
    torch.manual_seed(0)
    x, a, b = (torch.randn(*shape, requires_grad=True) for shape in ((6, 5, 7), (3, 7, 2), (3, 2, 4)))
    torch.library.opcheck(_opaque, (x, a, b))
    own = torch.autograd.grad(_opaque(x, a, b).square().sum(), (x, a, b))
    plain = torch.autograd.grad(low_rank(x, a, b).square().sum(), (x, a, b))
    for ours, theirs in zip(own, plain, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "inductor")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match="takes a C\\+\\+ compiler"):
        made(compile=True)
