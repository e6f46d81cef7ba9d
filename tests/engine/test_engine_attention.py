"""In bfloat16 on a CPU short rows train with plain products; nothing else leaves the fused kernel."""

from __future__ import annotations

import pytest
import torch
from engine_models import figure, make_rows

from flyroom.engine import TorchEngine, attention
from flyroom.types import LoRA, Step


def kinds(engine: TorchEngine) -> tuple[set[str], list[torch.Tensor]]:
    """How the first layer attended in a step, and the gradients of B."""
    used = set[str]()
    engine.parts.layers[0].register_forward_hook(lambda *_: used.add(engine.parts.config._attn_implementation))
    adapters = engine.spawn([LoRA(rank=4, modules=("all",))] * 2, seeds=[0, 1])
    steps = [Step(rows=make_rows(6, seed=k), lr=1e-3) for k in (0, 1)]
    leaves, _ = engine._gradients([a.slot for a in adapters], steps)
    return used, [leaf.b_NOR.grad for leaf in leaves if leaf.b_NOR.grad is not None]


def test_short_rows_in_bfloat16_attend_by_plain_products(llama: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    used, exact = kinds(llama)
    assert used == {"sdpa"}
    half = TorchEngine.of(llama.parts.model.to(torch.bfloat16), llama.parts.renderer.tokenizer)
    used, plain = kinds(half)
    assert used == {"eager"}
    assert half.parts.config._attn_implementation == "sdpa"
    monkeypatch.setattr(attention, "SHORT", 4)
    used, fused = kinds(half)
    assert used == {"sdpa"}
    errors = [max(float((a - b).norm() / a.norm()) for a, b in zip(exact, g, strict=True)) for g in (plain, fused)]
    figure("gradients in bfloat16 with plain and with fused attention, relative", llama.base.name, max(errors))
    assert max(errors) < 0.1
