"""Families in which a linear module sees the tokens of all rows in one list, or those that a gate chose."""

from __future__ import annotations

from typing import Any

import engine_models
import pytest
import torch
import transformers

from flyroom.doctor import examine
from flyroom.engine import TorchEngine
from flyroom.engine.streams import find_streams
from flyroom.types import BASE, Ask, LoRA, Patch, Step

SIZES = engine_models.SIZES
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
LISTED: dict[str, tuple[dict[str, Any], str]] = {
    "opt": ({"ffn_dim": 48, "word_embed_proj_dim": 32}, "layers.0.fc1"),
    "qwen2_moe": (MOE, "layers.0.mlp.shared_expert.down_proj"),
}


def build(family: str) -> TorchEngine:
    config = type(transformers.AutoConfig.for_model(family))
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForCausalLM.from_config(config(**(SIZES | LISTED[family][0])))
    return TorchEngine.of(model.eval(), engine_models.tokenizer())


def loud(engine: TorchEngine, seed: int) -> Patch:
    (adapter,) = engine.spawn([LoRA(rank=1, modules=("all",))], seeds=[seed])
    patch = engine.patch(adapter)
    engine.free([adapter])
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        k: t if k.endswith("A") else torch.randn(t.shape, generator=draw) * 0.3 for k, t in patch.tensors.items()
    }
    return Patch(shape=patch.shape, tensors=tensors)


@pytest.mark.parametrize("family", LISTED)
def test_each_row_has_its_own_adapter(family: str) -> None:
    """OPT's feed-forward in a crowd of other adapters gave another adapter's values: rows were taken for tokens."""
    engine = build(family)
    assert LISTED[family][1] in engine.parts.streams.lists
    adapters = engine.load([loud(engine, 1), loud(engine, 2)])
    rows = engine_models.make_rows(5, seed=2)
    owners = [adapters[0], BASE, adapters[1], adapters[1], adapters[0]]
    together = engine.logprobs(owners, rows)
    alone = [engine.logprobs([owner], [row])[0] for owner, row in zip(owners, rows, strict=True)]
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(together, alone, strict=True))
    asks = [Ask(messages=row.messages, seed=0, temperature=0.0, max_tokens=6) for row in rows]
    answers = [answer.text for answer in engine.sample(owners, asks)]
    assert answers == [engine.sample([o], [ask])[0].text for o, ask in zip(owners, asks, strict=True)]


def test_trained_together_is_trained_alone() -> None:
    rows = engine_models.make_rows(6, seed=4)
    engine = build("opt")
    pair = engine.load([loud(engine, 1), loud(engine, 2)])
    engine.step(pair, [Step(rows=rows[:2], lr=1e-2), Step(rows=rows[2:], lr=1e-2)])
    for adapter, seed, own in zip(pair, (1, 2), (rows[:2], rows[2:]), strict=True):
        other = build("opt")
        (alone,) = other.load([loud(other, seed)])
        other.step([alone], [Step(rows=own, lr=1e-2)])
        first, second = engine.patch(adapter).tensors, other.patch(alone).tensors
        assert all(torch.allclose(first[key], second[key], atol=1e-4) for key in second)


@pytest.mark.parametrize("family", LISTED)
def test_the_doctor_finds_nothing_wrong_with_it(family: str) -> None:
    checks = examine(build(family), whole=False)
    assert [check for check in checks if check.ok is False and check.check != "letters"] == []
    assert {check.check for check in checks if check.ok} >= {"token ids", "adapter in a crowd", "adapter merged"}


class Expert(torch.nn.Module):
    """A layer with a module for rows, one for a list, and two of which each has the tokens that were chosen for it."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.listed = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.experts = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        flat = self.listed(self.rows(x_BTD).flatten(0, 1))
        self.experts[0](flat[:3])
        return self.experts[1](flat).view_as(x_BTD)


def test_nothing_stands_where_tokens_are_chosen() -> None:
    layers = torch.nn.ModuleList([Expert()])
    table = torch.nn.Embedding(50, 4)

    def body(*, input_ids: torch.Tensor, use_cache: bool) -> Any:
        return layers[0](table(input_ids))

    streams = find_streams(body, layers, vocabulary=50, device=torch.device("cpu"))
    assert streams.lists == {"layers.0.listed"}
    assert streams.choices == {"layers.0.experts.0", "layers.0.experts.1"}
