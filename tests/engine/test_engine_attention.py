"""In bfloat16 on a CPU short rows train with plain products; nothing else leaves the fused kernel. A cache is fixed
where that changes no answer.
"""

from __future__ import annotations

from typing import Any

import engine_models
import pytest
import torch
from engine_models import figure, make_rows
from transformers import BloomConfig, BloomForCausalLM, FalconConfig, FalconForCausalLM

from flyroom.engine import TorchEngine, attention
from flyroom.types import BASE, Ask, LoRA, Step


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


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
def test_a_recording_changes_no_answer_whatever_attends(kind: str) -> None:
    """A fixed cache has a mask of yes and no, which only torch's own attention takes: with others the cache grows."""
    answers = []
    for record in (False, True):
        model = engine_models.model("llama")
        model.set_attn_implementation(kind)
        engine = TorchEngine.of(model, engine_models.tokenizer(), record=record)
        assert engine.parts.fixes is (kind == "sdpa")
        asks = [Ask(messages=row.messages, seed=0, max_tokens=12, temperature=0.0) for row in make_rows(8, seed=1)]
        answers.append(engine.sample([BASE] * 8, asks))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("family", ["bloom", "falcon"])
def test_a_base_that_counts_columns_has_no_fixed_cache(family: str) -> None:
    """Both count the columns of a mask for their positions; the second attends as torch does."""
    sizes: dict[str, Any] = {"vocab_size": 100, "hidden_size": 32, "bos_token_id": 1, "eos_token_id": 2}
    bloom = BloomConfig(n_layer=2, n_head=4, **sizes)
    falcon = FalconConfig(num_hidden_layers=2, num_attention_heads=4, alibi=True, **sizes)
    model = BloomForCausalLM(bloom) if family == "bloom" else FalconForCausalLM(falcon)
    engine = TorchEngine.of(model, engine_models.tokenizer(), record=True)
    assert not engine.parts.fixes
    asks = [Ask(messages=row.messages, seed=0, max_tokens=3) for row in make_rows(3, seed=1)]
    assert len(engine.sample([BASE] * 3, asks)) == 3
