"""One word for another, to first order: the gradient is the model's own, alone and in a crowd."""

from __future__ import annotations

import pytest
import torch
from engine_models import make_rows

from flyroom.engine import TorchEngine
from flyroom.types import BASE, AdapterRef, LoRA, Message, NotAvailable, Row, Step

AMONG = ("w1", "w2", "w3", "w4")


def reference(engine: TorchEngine, row: Row, others: list[Row]) -> torch.Tensor:
    """The base's, through its own `inputs_embeds`: [others]."""
    parts = engine.parts
    ids, start = parts.renderer.row(row)
    table = parts.model.get_input_embeddings()
    embedded = table(torch.from_numpy(ids)).detach().requires_grad_()
    logits = parts.model(inputs_embeds=embedded[None]).logits[0, start - 1 : -1]
    target = torch.from_numpy(ids)[start:, None]
    logits.float().log_softmax(-1).gather(1, target).sum().backward()
    moved = [table(torch.from_numpy(parts.renderer.row(other).ids)) - embedded for other in others]
    return torch.stack([(embedded.grad * m).sum() for m in moved])


def trained(engine: TorchEngine) -> list[AdapterRef]:
    adapters = engine.spawn([LoRA(rank=1), LoRA(rank=2, modules=("all",)), LoRA(rank=1, layers=(1,))], seeds=range(3))
    engine.step(adapters, [Step(rows=make_rows(3, seed=k), lr=0.05) for k in range(3)])
    return adapters


def question(row: Row, *words: str) -> Row:
    return Row(messages=(Message("user", " ".join(words)),), answer=row.answer)


def test_it_is_the_model_s_own_gradient(engine: TorchEngine) -> None:
    rows = [question(row, "w5", "w6", f"w{7 + i}") for i, row in enumerate(make_rows(4, seed=0))]
    before = engine.tokens_forward
    found = engine.swaps([BASE] * 4, rows, 1, AMONG)
    assert engine.tokens_forward - before == sum(len(engine.parts.renderer.row(row).ids) for row in rows)
    for i, row in enumerate(rows):
        others = [question(row, "w5", word, f"w{7 + i}") for word in AMONG]
        assert torch.allclose(found[i], reference(engine, row, others), atol=1e-4)


def test_alone_is_in_a_crowd_and_an_adapter_changes_it(engine: TorchEngine) -> None:
    who = [BASE, *trained(engine)]
    rows = [question(row, "w5", *["w9"] * i) for i, row in enumerate(make_rows(len(who), seed=3))]
    crowd = engine.swaps(who, rows, 0, AMONG)
    for adapter, row, gains in zip(who, rows, crowd, strict=True):
        assert torch.allclose(engine.swaps([adapter], [row], 0, AMONG)[0], gains, atol=1e-4)
    assert not torch.allclose(engine.swaps([BASE] * len(who), rows, 0, AMONG)[1:], crowd[1:], atol=1e-3)
    assert all(bank.tensors["A"].grad is None for bank in engine.adapters.banks.banks.values())


def test_a_word_for_itself_gains_nothing(llama: TorchEngine) -> None:
    (row,) = make_rows(1, seed=0)
    found = llama.swaps([BASE], [question(row, "w1", "w2")], 0, AMONG)
    assert float(found[0, 0]) == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_swapped_is_told(llama: TorchEngine) -> None:
    (row,) = make_rows(1, seed=0)
    chat, document = question(row, "w1", "w2"), Row(messages=(), answer="w1")
    with pytest.raises(ValueError, match="word is 2; the last message has words 0 to 1: 'w1 w2'"):
        llama.swaps([BASE], [chat], 2, AMONG)
    with pytest.raises(NotAvailable, match="among has 'w3 w4', which is not one token for one in 'w1 w2'"):
        llama.swaps([BASE], [chat], 1, [*AMONG, "w3 w4"])
    with pytest.raises(ValueError, match="give a word that differs from the one in place 0"):
        llama.swaps([BASE], [chat], 0, ["w1"])
    with pytest.raises(ValueError, match="a row is a document"):
        llama.swaps([BASE], [document], 0, AMONG)
    assert llama.swaps([], [], 0, AMONG).shape == (0, 4)
