"""Each adapter goes by its own optimiser, which is the one of torch by that name; eight bits are those of the paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import engine_models
import pytest
import torch
from engine_models import make_rows
from torch import Tensor

from flyroom.adapters import added, beside, paths_of
from flyroom.engine import TorchEngine, optimisers
from flyroom.engine.bank import Bank, Leaf
from flyroom.engine.eight_bits import BLOCK, list_codes, round_to_eight_bits
from flyroom.types import LoRA, Optimiser, Step

PLAIN = Step(rows=(), lr=1e-2, clip=None)
STEPS = [  # of the five adapters that share a bank
    replace(PLAIN, optimiser="sgd", weight_decay=0.1, clip=0.5),
    replace(PLAIN, weight_decay=0.1, clip=0.5),
    replace(PLAIN, optimiser="sgd", betas=(0.0, 0.5)),
    replace(PLAIN, optimiser="adamw-8bit", weight_decay=0.2),
    replace(PLAIN, optimiser="sgd", betas=(0.5, 0.9), clip=0.05, lr=0.3),
]


def a_bank(seed: int = 0) -> Bank:
    """Slots 1 to 5, rank 2, from 300 to 7: more than a block of numbers, and the last block is not full."""
    bank, draw = Bank(path="layers.0.q_proj"), torch.Generator().manual_seed(seed)
    sides = [[torch.randn(*size, generator=draw) for _ in STEPS] for size in ((2, 300), (7, 2))]
    bank.add([*range(1, 6)], [1.0] * 5, *sides)
    return bank


def descend(bank: Bank, slots: Sequence[int], count: int, *, seed: int) -> list[tuple[Tensor, Tensor]]:
    """One update of these adapters by gradients that are drawn. Returns the gradients, A and B of each slot."""
    draw = torch.Generator().manual_seed(seed)
    drawn = {s: [torch.randn(*size, generator=draw) for size in ((2, 300), (7, 2))] for s in range(1, 6)}
    a, b, scale = (tensor.detach().clone() for tensor in bank.take(("A", "B", "scale"), slots))
    a.grad, b.grad = (torch.stack([drawn[s][side] for s in slots]) for side in (0, 1))
    leaf = Leaf(bank, [*slots], a, b, scale)
    index = {s: i for i, s in enumerate(reversed(slots))}  # a step is not in the order of the bank
    norms = optimisers.gradient_norms([leaf], index).tolist()
    order = [*reversed(slots)]
    optimisers.update([leaf], index, [STEPS[s - 1] for s in order], [count] * len(order), norms)
    return [(drawn[s][0], drawn[s][1]) for s in slots]


def theirs(step: Step, weights: Sequence[Tensor]) -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
    parameters = [torch.nn.Parameter(w.clone()) for w in weights]
    shared: dict[str, Any] = {"lr": step.lr, "weight_decay": step.weight_decay}
    if step.optimiser == "sgd":
        return parameters, torch.optim.SGD(parameters, momentum=step.betas[0], **shared)
    return parameters, torch.optim.AdamW(parameters, betas=step.betas, **shared)


def test_each_adapter_goes_by_its_own_optimiser_which_is_that_of_torch() -> None:
    bank = a_bank()
    torchs = [theirs(STEPS[i], [bank.tensors["A"][i], bank.tensors["B"][i]]) for i in range(5)]
    for count in range(1, 9):
        gradients = descend(bank, [1, 2, 3, 4, 5], count, seed=count)
        for (parameters, optimiser), pair, step in zip(torchs, gradients, STEPS, strict=True):
            for parameter, gradient in zip(parameters, pair, strict=True):
                parameter.grad = gradient.clone()
            if step.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, step.clip)
            optimiser.step()
    for i, (parameters, _) in enumerate(torchs):
        pairs = zip("AB", parameters, strict=True)
        difference = max(float((bank.tensors[k][i] - p.detach()).abs().max()) for k, p in pairs)
        low, high = (1e-4, 0.1) if STEPS[i].optimiser == "adamw-8bit" else (-1.0, 2e-6)
        assert low < difference < high, STEPS[i]


def test_who_else_takes_a_step_changes_nothing() -> None:
    """Bit for bit: an adapter is updated beside others of its optimiser, beside others of another one, and alone."""
    together, apart = a_bank(), a_bank()
    for count in range(1, 5):
        descend(together, [1, 2, 3, 4, 5], count, seed=count)
        for group in ([1, 3], [2], [4, 5]):
            descend(apart, group, count, seed=count)
    assert together.tensors.keys() == apart.tensors.keys()
    for name, tensor in together.tensors.items():
        assert torch.equal(tensor, apart.tensors[name]), name


def test_sgd_leaves_the_second_moment_alone() -> None:
    bank = a_bank()
    descend(bank, [1, 2, 3, 4, 5], 1, seed=0)
    assert [bool(v.any()) for v in bank.tensors["A.v"]] == [False, True, False, True, False]
    assert all(bool(m.any()) for m in bank.tensors["A.m"])


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_a_state_goes_on_bitwise_and_together_is_alone(optimiser: Optimiser) -> None:
    first, second = (TorchEngine.of(engine_models.model(), engine_models.tokenizer()) for _ in range(2))
    shape = LoRA(rank=2, modules=("all",))
    steps = [Step(rows=make_rows(3, seed=s), lr=0.01, optimiser=optimiser) for s in range(6)]
    [whole], [beside], [later] = (e.spawn([shape], seeds=[0]) for e in (first, second, second))
    [company] = second.spawn([shape], seeds=[1])
    for step in steps:
        first.step([whole], [step])
    for step in steps[:3]:
        second.step([beside, company], [step, replace(step, optimiser="adamw")])
    alone = first.spawn([shape], seeds=[0])
    for step in steps[:3]:
        first.step(alone, [step])
    limit = 5e-3 if optimiser == "adamw-8bit" else 1e-4  # a difference of rounding may become one of a code
    for key, tensor in first.patch(alone[0]).tensors.items():
        assert float((tensor - second.patch(beside).tensors[key]).abs().max()) < limit, key
    second.restore(later, first.state(alone[0]))
    for step in steps[3:]:
        second.step([later], [step])
    for key, tensor in first.state(whole).items():
        assert torch.equal(tensor, second.state(later)[key]), key


def test_an_optimiser_that_is_none_and_a_change_of_it_are_refused(llama: TorchEngine) -> None:
    with pytest.raises(ValueError, match=r"step\.optimiser is 'adam'; one of adamw, adamw-8bit, sgd"):
        Step(rows=make_rows(1, seed=0), lr=0.1, optimiser="adam")  # pyright: ignore[reportArgumentType]
    [adapter] = llama.spawn([LoRA(rank=1)], seeds=[0])
    step = Step(rows=make_rows(1, seed=0), lr=0.1, optimiser="sgd")
    llama.step([adapter], [step])
    before = llama.state(adapter)
    with pytest.raises(ValueError, match=r"step\.optimiser is adamw; the moments of the adapter in slot .* are of sgd"):
        llama.step([adapter], [replace(step, optimiser="adamw")])
    assert all(torch.equal(before[key], tensor) for key, tensor in llama.state(adapter).items())
    [anew] = llama.load([llama.patch(adapter)])
    llama.step([anew], [replace(step, optimiser="adamw")])


@pytest.mark.parametrize("optimiser", get_args(Optimiser))
def test_beside_what_is_frozen_an_adapter_learns_as_on_a_merged_base(optimiser: Optimiser) -> None:
    """Together with one of the same rank that is not frozen; decay moves nothing that is frozen."""
    engine, merged = TorchEngine.of(engine_models.model(), engine_models.tokenizer()), engine_models.model()
    shape = LoRA(rank=2, alpha=4.0, modules=("all",))
    steps = [Step(rows=make_rows(3, seed=s), lr=0.01, weight_decay=0.1, optimiser=optimiser) for s in range(8)]
    [organism, company] = engine.spawn([shape, LoRA(rank=6, alpha=12.0, modules=("all",))], seeds=[0, 1])
    for step in steps:
        engine.step([organism], [step])
    patch = engine.patch(organism)
    with torch.no_grad():
        for path, change in added(patch).items():
            merged.get_submodule(f"model.{path}").weight += change
    alone = TorchEngine.of(merged, engine_models.tokenizer())
    [fresh] = alone.spawn([LoRA(rank=4, alpha=8.0, modules=("all",))], seeds=[7])
    start = beside(patch, alone.patch(fresh))
    [wide] = engine.load([start])
    company_start = engine.patch(company)
    for step in steps:
        again = replace(step, rows=make_rows(4, seed=90))
        ours = engine.step([company, wide], [step, replace(again, frozen=2)])[1]
        theirs = alone.step([fresh], [again])[0]
        assert (ours.loss, ours.grad_norm) == pytest.approx((theirs.loss, theirs.grad_norm), rel=1e-3)
    limit = 5e-3 if optimiser == "adamw-8bit" else 1e-4
    end, alone_end = engine.patch(wide), alone.patch(fresh)
    for path in paths_of(patch):
        a, b = end.tensors[f"{path}.A"], end.tensors[f"{path}.B"]
        assert torch.equal(a[:2], start.tensors[f"{path}.A"][:2])
        assert torch.equal(b[:, :2], start.tensors[f"{path}.B"][:, :2])
        assert float((a[2:] - alone_end.tensors[f"{path}.A"]).abs().max()) < limit
        assert float((b[:, 2:] - alone_end.tensors[f"{path}.B"]).abs().max()) < limit
        assert b[:, 2:].any()
        assert not torch.equal(engine.patch(company).tensors[f"{path}.A"][:2], company_start.tensors[f"{path}.A"][:2])


def test_a_step_that_would_teach_nothing_is_refused(llama: TorchEngine) -> None:
    [adapter] = llama.spawn([LoRA(rank=2)], seeds=[0])
    step = Step(rows=make_rows(1, seed=0), lr=0.1)
    with pytest.raises(ValueError, match=r"step\.frozen is 2; it must be below the adapter's rank, 2"):
        llama.step([adapter], [replace(step, frozen=2)])
    with pytest.raises(ValueError, match=r"step\.frozen is -1; it must be at least 0"):
        replace(step, frozen=-1)


# ---------------------------------------------------------------- eight bits


def list_by_hand(*, signed: bool) -> list[float]:
    """The dynamic data type: so many zero bits, so many powers of ten, and the other bits spread over 0.1 to 1."""
    codes = {0.0, 1.0}
    for zeros in range(7):
        count = 2 ** (6 - zeros) * (1 if signed else 2)
        middles = [(0.1 + 0.9 * (i + 0.5) / count) * 10.0**-zeros for i in range(count)]
        codes |= {*middles, *(-x for x in middles if signed)}
    return sorted(codes)


def nearest(x: float, codes: Sequence[float]) -> float:
    return min(codes, key=lambda code: (abs(code - x), -code))


@pytest.mark.parametrize("signed", [True, False])
def test_the_codes_are_those_of_the_paper(signed: bool) -> None:
    codes = list_codes(signed=signed).tolist()
    assert codes == pytest.approx(list_by_hand(signed=signed), rel=1e-5)
    assert len(codes) == 256
    assert all(low < high for low, high in pairwise(codes))


@pytest.mark.parametrize("signed", [True, False])
def test_rounding_is_to_the_nearest_code_of_a_block(signed: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 200, generator=draw) * torch.randn(2, 3, 200, generator=draw).exp()
    x = x if signed else x.square()
    x[0] *= 1e-6  # each adapter has blocks of its own, whatever is beside it
    codes = list_by_hand(signed=signed)
    for adapter, after in zip(x.flatten(1), round_to_eight_bits(x, signed=signed).flatten(1), strict=True):
        for start in range(0, len(adapter), BLOCK):
            block = adapter[start : start + BLOCK]
            scale = float(block.abs().max())
            expected = [nearest(value / scale, codes) * scale for value in block.tolist()]
            assert after[start : start + BLOCK].tolist() == pytest.approx(expected, rel=1e-5)


def test_zeros_stay_zeros_and_the_largest_stays() -> None:
    blocks = torch.zeros(1, 2, BLOCK)
    blocks[0, 1, 3] = 3.7e-20
    assert torch.equal(round_to_eight_bits(blocks, signed=False), blocks)
    assert torch.equal(round_to_eight_bits(round_to_eight_bits(blocks, signed=True), signed=True), blocks)


def test_moments_are_rounded_after_the_update_that_they_were_used_in() -> None:
    """AdamW by hand, number by number, with one block an adapter."""
    bank, draw = Bank(path="layers.0.q_proj"), torch.Generator().manual_seed(0)
    bank.add([1], [1.0], [torch.randn(1, 5, generator=draw)], [torch.randn(3, 1, generator=draw)])
    w, m, v = bank.tensors["A"].flatten().tolist(), [0.0] * 5, [0.0] * 5
    step = replace(PLAIN, optimiser="adamw-8bit", weight_decay=0.1)
    for count in range(1, 7):
        g = torch.randn(1, 1, 5, generator=draw) * torch.tensor([1.0, 0.1, 0.01, 1e-3, 0.3])
        a, b = bank.tensors["A"].clone(), bank.tensors["B"].clone()
        a.grad = g
        optimisers.update([Leaf(bank, [1], a, b, bank.tensors["scale"])], {1: 0}, [step], [count], [1.0])
        for i, gradient in enumerate(g.flatten().tolist()):
            m[i], v[i] = 0.9 * m[i] + 0.1 * gradient, 0.999 * v[i] + 0.001 * gradient**2
            denominator = math.sqrt(v[i]) / math.sqrt(1 - 0.999**count) + 1e-8
            w[i] = w[i] * (1 - 0.01 * 0.1) - 0.01 / (1 - 0.9**count) * m[i] / denominator
        for moments, signed in ((m, True), (v, False)):
            scale = max(map(abs, moments))
            moments[:] = [nearest(x / scale, list_by_hand(signed=signed)) * scale for x in moments]
        assert bank.tensors["A"].flatten().tolist() == pytest.approx(w, abs=1e-5)
        assert bank.tensors["A.m"].flatten().tolist() == pytest.approx(m, rel=1e-4)
        assert bank.tensors["A.v"].flatten().tolist() == pytest.approx(v, rel=1e-4)
