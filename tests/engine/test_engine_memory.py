"""Where memory runs out the batches are halved, then layers recomputed, and nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_models import make_rows
from torch.autograd.graph import saved_tensors_hooks

from flyroom.engine import TorchEngine, memory
from flyroom.engine.decode import Budget
from flyroom.types import Ask, LoRA, Step

ROWS = make_rows(12, seed=0)
ASKS = [Ask(messages=row.messages, seed=i, max_tokens=6) for i, row in enumerate(ROWS)]


def short_of_memory(engine: TorchEngine, most: int) -> list[int]:
    """The first layer can take so many tokens at once. Filled with what it was given."""
    seen: list[int] = []

    def measure(_module: Any, args: tuple[torch.Tensor, ...]) -> None:
        seen.append(args[0].shape[:-1].numel())
        if seen[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    engine.parts.layers[0].register_forward_pre_hook(measure)
    return seen


class Kept:
    """Counts the bytes that a pass of the body keeps for its backward, weights aside; there is room for `most`."""

    def __init__(self, engine: TorchEngine, most: float = math.inf) -> None:
        self.weights = {p.untyped_storage().data_ptr() for p in engine.parts.model.parameters()}
        self.most, self.now, self.peak = most, math.nan, 0.0  # outside the body what is kept counts for nothing
        engine.parts.body.register_forward_pre_hook(lambda *_: setattr(self, "now", 0.0))
        engine.parts.body.register_forward_hook(lambda *_: setattr(self, "now", math.nan))

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in self.weights:
            self.now += tensor.numel() * tensor.element_size()
            self.peak = max(self.peak, self.now)
            if self.now > self.most:
                self.now = math.nan
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return tensor


def step_twice(engine: TorchEngine) -> list[torch.Tensor]:
    adapters = engine.spawn([LoRA(rank=1), LoRA(rank=4, modules=("all",))], seeds=[0, 1])
    for _ in range(2):
        engine.step(adapters, [Step(rows=ROWS, lr=1e-3)] * 2)
    return [t for a in adapters for t in engine.patch(a).tensors.values()]


def ask(engine: TorchEngine) -> list[str]:
    [adapter] = engine.spawn([LoRA(rank=1)], seeds=[0])
    return [answer.text for answer in engine.sample([adapter] * 12, ASKS)]


def score(engine: TorchEngine) -> list[torch.Tensor]:
    [adapter] = engine.spawn([LoRA(rank=1)], seeds=[0])
    return engine.logprobs([adapter] * 12, ROWS)


def trace(engine: TorchEngine) -> list[torch.Tensor]:
    [adapter] = engine.spawn([LoRA(rank=1)], seeds=[0])
    return list(engine.trace([adapter] * 12, ROWS, [0, 2]))


@pytest.mark.parametrize("work", [step_twice, ask, score, trace])
def test_it_goes_on_with_smaller_batches(llama: TorchEngine, work: Callable[[TorchEngine], list[Any]]) -> None:
    plenty, counts = work(llama), (llama.tokens_forward, llama.tokens_generated)
    llama.tokens_forward = llama.tokens_generated = 0
    seen = short_of_memory(llama, most=100)
    found = work(llama)
    assert llama.batch_tokens < 4096
    assert seen[-1] <= 100 < max(seen)
    for ours, theirs in zip(found, plenty, strict=True):
        assert ours == theirs if isinstance(ours, str) else torch.allclose(ours, theirs, atol=1e-5)
    assert (llama.tokens_forward, llama.tokens_generated) == counts  # failed passes are not counted


def test_it_stays_small_and_soon_fails_no_more(llama: TorchEngine) -> None:
    seen = short_of_memory(llama, most=100)
    for _ in range(3):  # the first call has less left to do when it is short again, and so stays larger
        score(llama)
    seen.clear()
    score(llama)
    assert max(seen) <= 100


def test_what_no_batch_is_small_enough_for_is_raised_and_changes_nothing(llama: TorchEngine) -> None:
    adapters = llama.spawn([LoRA(rank=1)], seeds=[0])
    before = llama.state(adapters[0])
    short_of_memory(llama, most=2)
    with pytest.raises(torch.OutOfMemoryError):
        llama.step(adapters, [Step(rows=ROWS, lr=1e-3)])
    after = llama.state(adapters[0])
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_where_not_even_a_row_fits_layers_are_recomputed(engine: TorchEngine) -> None:
    def step_and_keep(most: float = math.inf) -> tuple[list[torch.Tensor], float]:
        kept = Kept(engine, most)
        with saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            return step_twice(engine), kept.peak

    engine.batch_tokens = 1
    plenty, usual = step_and_keep()
    engine.recompute = True
    _, least = step_and_keep()
    assert least < 0.7 * usual
    engine.batch_tokens, engine.recompute = 4096, False
    found, _ = step_and_keep(most=(least + usual) / 2)
    assert engine.recompute
    for ours, theirs in zip(found, plenty, strict=True):
        # Other rows stood in a batch, and AdamW makes a step of a rounding where a gradient is small.
        torch.testing.assert_close(ours, theirs, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "weights", "rows"),
    [((896, 24, 14, 2, 4864, 151936), 1, 6400), ((5120, 48, 40, 8, 13824, 152064), 28, 400)],
    ids=["0.5B", "14B"],
)
def test_a_gpu_is_filled_with_answers(
    size: tuple[int, ...], weights: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An H200 with Qwen2.5's shapes: 600 tokens for each of as many prompts of 128 are one batch."""
    width, depth, heads, groups, inner, vocabulary = size
    names = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")
    config = SimpleNamespace(**dict(zip(names, (inner, heads, groups, vocabulary), strict=True)))
    base: Any = SimpleNamespace(device=torch.device("cuda"), config=config, layers=range(depth), width=width)
    free = (138 - weights) << 30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, 141 << 30))
    budget = memory.answering(base, memory.training_tokens(base))
    assert rows * (728 + budget.row_tokens) <= budget.cache_tokens
    assert budget.cache_tokens * 4 * depth * groups * (width // heads) == pytest.approx(0.6 * free, rel=0.01)
    assert budget.row_tokens / (728 + budget.row_tokens) < 0.2  # the share of logits, beside keys and values


def test_prompts_go_through_in_pieces(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    engine.parts.layers[0].register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape[:-1].numel()))
    plenty, most = ask(engine), max(seen)
    monkeypatch.setattr(memory, "answering", lambda *_: Budget(cache_tokens=1000, row_tokens=5, pass_tokens=40))
    seen.clear()
    assert ask(engine) == plenty
    assert max(seen) <= 40 < most
