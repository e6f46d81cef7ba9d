"""Prompts that several adapters get go through the layers below the lowest of them once, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from engine_models import make_rows
from torch import nn

from flyroom.engine import TorchEngine, batches, trunk
from flyroom.types import BASE, AdapterRef, Ask, LoRA, Message, Step

SYSTEM = Message("system", "All who answer here answer in few words, and say what they know and no more than that.")
LAYERS = [(2,), (1, 2), (1,)]  # none stands on the first layer
PROMPTS = 5


@pytest.fixture(autouse=True)
def cheap_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pass cost little, so that the few tokens of a test are worth one."""
    monkeypatch.setitem(batches.PASS, "cpu", 1)


def trained(engine: TorchEngine) -> list[AdapterRef]:
    shapes = [LoRA(rank=2, modules=("q_proj", "down_proj"), layers=layers) for layers in LAYERS]
    adapters = engine.spawn(shapes, seeds=range(len(shapes)))
    for _ in range(3):
        engine.step(adapters, [Step(rows=make_rows(4, seed=k), lr=0.05) for k in range(len(shapes))])
    return adapters


def ask_all(engine: TorchEngine, models: Sequence[AdapterRef], *, system: bool) -> list[str]:
    """Every model the same prompts, of ragged length."""
    chats = [((SYSTEM,) if system else ()) + row.messages for row in make_rows(PROMPTS, seed=9)]
    asks = [Ask(messages=chat, seed=i, max_tokens=8) for i, chat in enumerate(chats)]
    answers = engine.sample([model for model in models for _ in asks], asks * len(models))
    return [answer.text for answer in answers]


@pytest.mark.parametrize("system", [False, True])
def test_answers_are_those_of_prompts_that_each_go_through_whole(
    engine: TorchEngine, system: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [*trained(engine), BASE]
    shared = ask_all(engine, models, system=system)
    with monkeypatch.context() as patch:
        patch.setattr(trunk, "joins", lambda base: False)
        assert ask_all(engine, models, system=system) == shared
    alone = [answer for model in models for answer in ask_all(engine, [model], system=system)]
    assert alone == shared
    assert len({tuple(shared[i : i + PROMPTS]) for i in range(0, len(shared), PROMPTS)}) == len(models)


@pytest.mark.parametrize("system", [False, True])
def test_below_the_adapters_every_prompt_is_paid_once(llama: TorchEngine, system: bool) -> None:
    models, counts = trained(llama), [0, 0, 0]
    for l, layer in enumerate(llama.parts.layers):
        mlp: nn.Module = layer.get_submodule("mlp")  # a layer that is left out is still called

        def count(_module: Any, args: Any, _output: Any, l: int = l) -> None:
            counts[l] += args[0].shape[:-1].numel() if args[0].shape[1] > 1 else 0  # of prompts, not of answers

        mlp.register_forward_hook(count)
    ask_all(llama, models, system=system)
    below, above, _ = counts
    assert 0 < len(models) * below <= above + len(models) * PROMPTS  # a prompt's tokens are padded alike in both
    counts[:] = [0, 0, 0]
    ask_all(llama, models[:1], system=system)
    assert counts[0] == below  # one adapter alone costs there what all do
