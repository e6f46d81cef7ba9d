"""What the engine refuses, in words that say what would be right; and how bases are found, named and rendered."""

from __future__ import annotations

import random
from pathlib import Path

import engine_models
import pytest
import torch
from engine_models import make_rows

from flyroom.engine import TorchEngine
from flyroom.engine.batches import groups, pack
from flyroom.types import BASE, AdapterRef, Ask, LoRA, Message, Patch, Row, Step


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (LoRA(layers=(24,)), "adapter.layers names layer 24; llama has layers 0 to 2"),
        (
            LoRA(rank=500),
            r"adapter.rank is 500; module down_proj of llama is 32 x 48, so at most 32 \(full rank\)",
        ),
        (LoRA(modules=("c_fc",)), "adapter.modules names c_fc; llama has down_proj, gate_proj, .*, or"),
        (LoRA(modules=("q_proj", "q_proj")), "name each module once"),
    ],
)
def test_shapes_are_checked_before_anything_is_made(llama: TorchEngine, shape: LoRA, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        llama.check(shape)
    with pytest.raises(ValueError, match=message):
        llama.spawn([LoRA(), shape], seeds=[0, 1])
    assert not llama._banks.banks


def test_steps_are_checked(llama: TorchEngine) -> None:
    [adapter] = llama.spawn([LoRA()], seeds=[0])
    step = Step(rows=make_rows(1, seed=0), lr=1e-3)
    for adapters, steps, message in (
        ([adapter, adapter], [step, step], "names slot 1 twice"),
        ([adapter], [step, step], "adapters has 1 entries and steps 2"),
        ([BASE], [step], "it is frozen"),
        ([AdapterRef(slot=9)], [step], "slot 9 is not in this engine"),
        ([adapter], [Step(rows=(), lr=1e-3)], "step.rows is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            llama.step(adapters, steps)
    with pytest.raises(ValueError, match="frozen"):
        llama.free([BASE])
    llama.free([adapter])
    with pytest.raises(ValueError, match="was freed"):
        llama.sample([adapter], [Ask(messages=(Message("user", "w1"),), seed=0)])


def test_a_loss_that_is_not_finite_changes_nothing(llama: TorchEngine) -> None:
    good, bad = llama.spawn([LoRA(), LoRA()], seeds=[0, 1])
    broken = llama.patch(bad)
    broken.tensors["layers.0.mlp.down_proj.A"][0, 0] = torch.inf
    [bad] = llama.load([broken])
    before = llama.patch(good)
    step = Step(rows=make_rows(2, seed=0), lr=1e-2)
    with pytest.raises(FloatingPointError, match=f"adapter in slot {bad.slot}: loss nan"):
        llama.step([good, bad], [step, step])
    after = llama.patch(good)
    assert all(torch.equal(before.tensors[k], after.tensors[k]) for k in before.tensors)
    assert llama.state(good)["step"] == 0


def test_patches_and_states_must_fit(llama: TorchEngine) -> None:
    one, two = llama.spawn([LoRA(rank=1), LoRA(rank=2)], seeds=[0, 1])
    with pytest.raises(ValueError, match=r"state has layers.0.mlp.down_proj.A as \(2, 48\).*makes it \(1, 48\)"):
        llama.restore(one, llama.state(two))
    missing = Patch(shape=LoRA(), tensors={})
    with pytest.raises(ValueError, match=r"patch has layers.0.mlp.down_proj.A as None"):
        llama.load([missing])


def test_layers_and_lengths_are_checked(llama: TorchEngine) -> None:
    with pytest.raises(ValueError, match="layers names layer 3; llama has layers 0 to 2"):
        llama.trace([BASE], make_rows(1, seed=0), [3])
    long = Row(messages=(Message("user", "w1 " * 300),), answer="w2")
    with pytest.raises(ValueError, match="takes at most 256"):
        llama.logprobs([BASE], [long])
    with pytest.raises(ValueError, match="takes at most 256"):
        llama.sample([BASE], [Ask(messages=long.messages, seed=0)])
    with pytest.raises(ValueError, match="max_tokens is 0"):
        llama.sample([BASE], [Ask(messages=(Message("user", "w1"),), seed=0, max_tokens=0)])
    nearly = (Message("user", "w1 " * 250),)
    [answer] = llama.sample([BASE], [Ask(messages=nearly, seed=3, max_tokens=50)])
    assert answer.tokens + answer.prompt_tokens <= 256


def test_bases_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder"):
        TorchEngine.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no config\.json"):
        TorchEngine.open(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match="dtype is"):
        TorchEngine.open(tmp_path, dtype="float7")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_base_keeps_its_digest_on_disk_and_its_answers(llama: TorchEngine, tmp_path: Path) -> None:
    for name in ("a", "b"):
        llama.parts.model.save_pretrained(tmp_path / name)
        llama.parts.renderer.tokenizer.save_pretrained(tmp_path / name)
    a, b = TorchEngine.open(tmp_path / "a"), TorchEngine.open(tmp_path / "b")
    assert a.base.digest == b.base.digest
    assert (a.base.name, a.base.depth, len(a.base.digest)) == ("a", 3, 12)
    rows = make_rows(3, seed=0)
    for x, y in zip(a.logprobs([BASE] * 3, rows), llama.logprobs([BASE] * 3, rows), strict=True):
        assert torch.allclose(x, y, atol=1e-5)
    other = TorchEngine.of(engine_models.model("llama", seed=1), engine_models.tokenizer())
    same = TorchEngine.of(engine_models.model("llama"), engine_models.tokenizer())
    assert same.base.digest == llama.base.digest != other.base.digest


def test_pack_deals_every_row_once_and_keeps_to_the_budget() -> None:
    owners, lengths = [3, 1, 1, 2, 3, 3, 1, 2, 1, 3], [9, 4, 5, 6, 2, 8, 7, 3, 1, 4]
    for budget in (1, 10, 20, 40, 1000):
        batches = pack(owners, lengths, budget)
        assert sorted(i for rows in batches for i in rows) == list(range(10))
        for rows in batches:
            assert len(rows) == 1 or len(rows) * max(lengths[i] for i in rows) <= budget
            assert len(groups([owners[i] for i in rows])) == len({owners[i] for i in rows})
    assert pack([], [], 10) == []


def padding(batches: list[list[int]], lengths: list[int]) -> float:
    """The share of a set of batches that is padding."""
    padded = sum(len(rows) * max(lengths[i] for i in rows) for rows in batches)
    return 1 - sum(lengths) / padded


def test_padding_is_bought_with_passes() -> None:
    draw = random.Random(0)
    owners, lengths = [k for k in range(8) for _ in range(32)], [draw.randint(8, 40) for _ in range(256)]
    found = [pack(owners, lengths, 100_000, overhead=overhead) for overhead in (0, 50, 10**6)]
    counts, shares = [len(batches) for batches in found], [padding(batches, lengths) for batches in found]
    assert counts == sorted(counts, reverse=True)
    assert shares == sorted(shares)
    assert counts[-1] == 1
    assert shares[1] < 0.75 * shares[-1]
    same = pack(owners, [20] * 256, 100_000, overhead=0)
    assert padding(same, [20] * 256) == 0
    assert all(len({owners[i] for i in rows}) == 8 for rows in same)
