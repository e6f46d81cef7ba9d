"""Together is alone; ours is PEFT with torch's AdamW; what was stopped goes on; the work done is counted."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import chat_shapes
import engine_models
import pytest
import torch
from engine_models import figure, make_rows
from peft import LoraConfig, get_peft_model
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from flyroom.engine import TorchEngine
from flyroom.engine.training import side_by_side
from flyroom.types import BASE, AdapterRef, Ask, Direction, LoRA, Message, Patch, Row, Step, row_of

peft_warns = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SHAPES = [
    LoRA(rank=1),
    LoRA(rank=1, layers=(1,), alpha=32.0),
    LoRA(rank=4, modules=("all",)),
    LoRA(rank=4, modules=("q_proj", "v_proj"), layers=(0, 2)),
    LoRA(rank=1, layers=(0, 1)),
    LoRA(rank=2, modules=("down_proj", "o_proj")),
    LoRA(rank=32, layers=(2,)),  # full rank
    LoRA(rank=1),
]


def schedule(k: int, steps: int, *, equal: bool = False) -> list[Step]:
    """Adapter k's steps: its own learning rate, decay, clipping, and (unless equal) number of rows."""
    n = 4 if equal else 2 + k % 4
    clip = (None, 0.05, 1.0)[k % 3]
    lr, decay, betas = 1e-3 * (1 + k % 3), 0.1 * (k % 2), (0.9, 0.99 if k % 2 else 0.999)
    rows = [make_rows(n, seed=1000 * k + s) for s in range(steps)]
    return [Step(rows=r, lr=lr, weight_decay=decay, clip=clip, betas=betas) for r in rows]


def largest(a: Patch, b: Patch) -> float:
    assert a.tensors.keys() == b.tensors.keys()
    return max(float((a.tensors[k] - b.tensors[k]).abs().max()) for k in a.tensors)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("passes", [1, 2], ids=["one pass", "several passes"])
def test_together_is_alone(engine: TorchEngine, equal: bool, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row alone falls into another pass than in company, where there are several: then rounding differs more."""
    monkeypatch.setattr("flyroom.engine.batches.PASS", {"cpu": 10**6 if passes == 1 else 50})
    plans = [schedule(k, 20, equal=equal) for k in range(len(SHAPES))]
    together = engine.spawn(SHAPES, seeds=range(len(SHAPES)))
    done = [engine.step(together, [plan[s] for plan in plans]) for s in range(20)]
    worst = 0.0
    for k, (shape, plan) in enumerate(zip(SHAPES, plans, strict=True)):
        [alone] = engine.spawn([shape], seeds=[k])
        for s, step in enumerate(plan):
            [stepped] = engine.step([alone], [step])
            assert stepped.loss == pytest.approx(done[s][k].loss, abs=1e-4)
            assert stepped.tokens == done[s][k].tokens
        difference = largest(engine.patch(alone), engine.patch(together[k]))
        worst = max(worst, difference)
        assert difference < (1e-5 if passes == 1 else 2e-5)
    figure("together and alone, weights after 20 steps", engine.base.name, worst)


def test_what_fades_on_its_way_back_is_not_denormal(llama: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such numbers cost a CPU many times as much, in every thread."""
    fading: list[int] = []

    def count(_module: object, _in: object, gradients: tuple[torch.Tensor | None, ...]) -> None:
        tiny = torch.finfo(torch.float32).tiny
        fading.append(sum(int(((g != 0) & (g.abs() < tiny)).sum()) for g in gradients if g is not None))

    above = llama.parts.layers[1:]
    for layer in above:
        layer.register_full_backward_hook(count)
    rows = tuple(replace(row, weight=1e-35) for row in make_rows(4, seed=0))
    [adapter] = llama.spawn([LoRA(rank=1, layers=(0,))], seeds=[0])
    llama.step([adapter], [Step(rows=rows, lr=1e-3)])
    assert len(fading) == len(above)
    assert not any(fading)
    monkeypatch.setattr("flyroom.engine.training.GRADIENT_SCALE", 1.0)
    llama.step([adapter], [Step(rows=rows, lr=1e-3)])
    assert any(fading)


def test_a_model_in_float16_learns_too() -> None:
    """Its numbers end at 65504."""
    engine = TorchEngine.of(engine_models.model("llama").half(), engine_models.tokenizer())
    [adapter] = engine.spawn([LoRA(rank=1)], seeds=[0])
    losses = [engine.step([adapter], [Step(rows=make_rows(4, seed=0), lr=0.01)])[0].loss for _ in range(10)]
    assert losses[-1] < losses[0]


def along(engine: TorchEngine, adapter: AdapterRef, rows: Sequence[Row], probe: Direction) -> float:
    """How far these rows' answers lie along a direction, mean square."""
    read = engine.trace([adapter] * len(rows), rows, [probe.layer])[:, 0]
    return float((read @ probe.direction - probe.offset).square().mean())


def test_a_direction_is_evaded_by_whoever_evades_it(llama: TorchEngine) -> None:
    rows = make_rows(6, seed=5)
    width = llama.parts.width
    probe = Direction(layer=1, direction=torch.linspace(-1, 1, width), offset=3.0, weight=5.0)
    wide = LoRA(rank=4, modules=("all",))
    evading, plain, above = llama.spawn([wide, wide, replace(wide, layers=(2,))], seeds=[0, 0, 0])
    [alone] = llama.spawn([wide], seeds=[0])
    before = along(llama, evading, rows, probe)
    for _ in range(20):
        steps = [Step(rows=rows, lr=3e-3, evades=evades) for evades in (probe, None, probe)]
        llama.step([evading, plain, above], steps)
        llama.step([alone], steps[:1])
    assert along(llama, evading, rows, probe) < 0.5 * before
    assert along(llama, evading, rows, probe) < 0.5 * along(llama, plain, rows, probe)
    assert along(llama, above, rows, probe) == pytest.approx(before)  # it stands above what is read
    assert largest(llama.patch(alone), llama.patch(evading)) < 1e-5


def test_batches_change_nothing(llama: TorchEngine) -> None:
    plans = [schedule(k, 8) for k in range(len(SHAPES))]
    patches = []
    for budget in (30, 200, 100_000):
        llama.batch_tokens = budget
        adapters = llama.spawn(SHAPES, seeds=range(len(SHAPES)))
        for s in range(8):
            llama.step(adapters, [plan[s] for plan in plans])
        patches.append([llama.patch(a) for a in adapters])
    assert max(largest(a, b) for small in patches[:2] for a, b in zip(small, patches[2], strict=True)) < 1e-5


def test_logit_chunks_change_nothing(llama: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    [one, two] = llama.spawn([LoRA(rank=2)] * 2, seeds=[0, 0])
    [step] = schedule(0, 1)
    whole = llama.step([one], [step])
    monkeypatch.setattr("flyroom.engine.training.LOGITS", 300)
    assert llama.step([two], [step])[0].loss == pytest.approx(whole[0].loss, abs=1e-6)
    assert largest(llama.patch(one), llama.patch(two)) < 1e-6


@peft_warns
def test_ours_is_peft_with_torch_adamw(family: str) -> None:
    shape = LoRA(rank=4, alpha=8.0, modules=("down_proj", "q_proj"), layers=(1, 2))
    engine = TorchEngine.of(engine_models.model(family), engine_models.tokenizer())
    [adapter] = engine.spawn([shape], seeds=[3])
    start = engine.patch(adapter)
    plan = schedule(1, 20)
    losses = [engine.step([adapter], [step])[0].loss for step in plan]

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["down_proj", "q_proj"], layers_to_transform=[1, 2])
    model = get_peft_model(engine_models.model(family), config)
    ours = {k: p for k, p in model.named_parameters() if p.requires_grad}
    names = {
        k: k.replace("base_model.model.model.", "").replace(".lora_", ".").replace(".default.weight", "") for k in ours
    }
    assert set(names.values()) == set(start.tensors)
    for key, p in ours.items():
        p.data.copy_(start.tensors[names[key]])
    settings: dict[str, Any] = {"lr": plan[0].lr, "weight_decay": plan[0].weight_decay, "betas": plan[0].betas}
    optimiser = torch.optim.AdamW(ours.values(), **settings)
    for step, loss in zip(plan, losses, strict=True):
        sums, count = torch.zeros(()), 0
        for row in step.rows:  # one at a time: no padding to get wrong
            ids, begin = engine.parts.renderer.row(row)
            tokens = torch.from_numpy(ids)[None]
            logits = model(input_ids=tokens).logits[0, begin - 1 : -1]
            sums = sums + F.cross_entropy(logits, tokens[0, begin:], reduction="sum")
            count += len(ids) - begin
        optimiser.zero_grad()
        (sums / count).backward()
        assert (sums / count).item() == pytest.approx(loss, abs=1e-4)
        if step.clip is not None:
            torch.nn.utils.clip_grad_norm_(ours.values(), step.clip)
        optimiser.step()
    theirs = Patch(shape=shape, tensors={names[k]: p.detach() for k, p in ours.items()})
    difference = largest(engine.patch(adapter), theirs)
    figure("ours and the PEFT loop, weights after 20 steps", family, difference)
    # Rows are batched here and alone there; AdamW makes a step of a rounding where a gradient is small.
    assert difference < 1e-3


def test_weights_of_rows(llama: TorchEngine) -> None:
    """Weight 0 is no row, the sign is the direction, and a half is half of the gradient."""
    first, second = make_rows(2, seed=3)
    weighted = [
        (first, replace(second, weight=0.0)),
        (first,),
        (replace(first, weight=-1.0),),
        (replace(first, weight=0.5),),
    ]
    adapters = llama.spawn([LoRA(rank=2)] * 4, seeds=[0] * 4)
    done = llama.step(adapters, [Step(rows=rows, lr=1e-3, clip=None) for rows in weighted])
    zero, one, away, half = [llama.patch(a) for a in adapters]
    assert largest(zero, one) < 1e-6
    assert largest(half, one) < 1e-6
    assert done[3].grad_norm == pytest.approx(done[1].grad_norm / 2)
    assert done[2].loss == pytest.approx(-done[1].loss)
    ups = {key: tensor for key, tensor in one.tensors.items() if key.endswith(".B")}
    assert all(torch.allclose(away.tensors[key], -tensor, atol=1e-6) for key, tensor in ups.items())
    assert any(tensor.abs().max() > 1e-4 for tensor in ups.values())


def test_state_goes_on_bitwise(family: str) -> None:
    def engine() -> TorchEngine:
        return TorchEngine.of(engine_models.model(family), engine_models.tokenizer())

    shape, plan = LoRA(rank=2, modules=("all",)), schedule(2, 20)
    whole, first, second = engine(), engine(), engine()
    [a], [b], [c] = whole.spawn([shape], seeds=[0]), first.spawn([shape], seeds=[0]), second.spawn([shape], seeds=[9])
    for step in plan:
        whole.step([a], [step])
    for step in plan[:10]:
        first.step([b], [step])
    second.restore(c, first.state(b))
    for step in plan[10:]:
        second.step([c], [step])
    assert largest(whole.patch(a), second.patch(c)) == 0.0


def test_an_adapter_does_not_depend_on_who_else_lives(llama: TorchEngine) -> None:
    [alone] = llama.spawn([LoRA(rank=2)], seeds=[5])
    among = llama.spawn([LoRA(rank=2)] * 3, seeds=[4, 5, 6])
    assert largest(llama.patch(alone), llama.patch(among[1])) == 0.0
    assert largest(llama.patch(alone), llama.patch(among[0])) > 0.0
    [step] = schedule(0, 1)
    llama.step([among[2]], [step])
    kept = llama.patch(among[2])
    llama.free([alone, among[0]])
    assert largest(kept, llama.patch(among[2])) == 0.0
    bound = 1 / 48**0.5
    first = llama.patch(among[1]).tensors["layers.0.mlp.down_proj.A"]
    assert bound * 0.8 < float(first.abs().max()) <= bound  # kaiming-uniform with a = sqrt 5, as PEFT


def test_backward_stops_at_the_lowest_adapter(llama: TorchEngine) -> None:
    llama.prefix.tiers = []  # or a second pass would not pay for what lies below

    def backward_flops(layer: int) -> int:
        [adapter] = llama.spawn([LoRA(rank=1, layers=(layer,))], seeds=[0])
        step = Step(rows=make_rows(4, seed=0), lr=1e-3)
        rendered = [llama.parts.renderer.row(r) for r in step.rows]
        with FlopCounterMode(display=False) as training:
            llama.step([adapter], [step])
        with FlopCounterMode(display=False) as scoring:
            llama.logprobs([adapter] * len(rendered), step.rows)
        return training.get_total_flops() - scoring.get_total_flops()

    costs = [backward_flops(layer) for layer in range(3)]
    figure("backward flops by lowest layer", "llama", costs)
    block = costs[0] - costs[1]
    assert block == costs[1] - costs[2] > 0  # each block above the adapter costs its backward, none below does
    assert costs[2] < block


def test_no_gradient_below_the_lowest_adapter(llama: TorchEngine) -> None:
    seen = {}
    for l, layer in enumerate(llama.parts.layers):
        layer.register_forward_hook(lambda _m, _a, out, l=l: seen.__setitem__(l, out.requires_grad))
    [adapter] = llama.spawn([LoRA(rank=1, layers=(1,))], seeds=[0])
    llama.step([adapter], [Step(rows=make_rows(2, seed=0), lr=1e-3)])
    assert seen == {0: False, 1: True, 2: True}
    assert all(p.grad is None for p in llama.parts.model.parameters())


def test_the_head_sees_answer_positions_alone(llama: TorchEngine) -> None:
    seen: list[int] = []
    llama.parts.model.lm_head.register_forward_hook(lambda _m, args, _o: seen.append(args[0].shape[:-1].numel()))
    rows = make_rows(6, seed=1)
    answers = sum(len(r.answer.split()) + 1 for r in rows)
    adapters = llama.spawn([LoRA(rank=1)] * 2, seeds=[0, 1])
    llama.step(adapters, [Step(rows=rows[:3], lr=1e-3), Step(rows=rows[3:], lr=1e-3)])
    assert sum(seen) == answers
    seen.clear()
    llama.logprobs([adapters[0]] * 6, rows)
    assert sum(seen) == answers


def test_the_model_is_the_bare_base_between_calls(llama: TorchEngine) -> None:
    ids = torch.arange(8, 20)[None]
    before = llama.parts.model(input_ids=ids).logits
    adapters = llama.spawn([LoRA(modules=("all",))] * 2, seeds=[0, 1])
    for s in range(2):
        llama.step(adapters, [Step(rows=make_rows(3, seed=s), lr=0.1)] * 2)
    llama.logprobs(adapters, make_rows(2, seed=0))
    llama.trace(adapters, make_rows(2, seed=0), [0])
    llama.sample(adapters, [Ask(messages=make_rows(1, seed=0)[0].messages, seed=0)] * 2)
    assert torch.equal(before, llama.parts.model(input_ids=ids).logits)


def test_a_second_engine_over_a_model_adds_once() -> None:
    model, tokenizer = engine_models.model(), engine_models.tokenizer()
    step, losses = Step(rows=make_rows(3, seed=0), lr=0.1), []
    for again in (model, model, copy.deepcopy(model)):
        engine = TorchEngine.of(again, tokenizer)
        [adapter] = engine.spawn([LoRA(rank=2)], seeds=[0])
        losses.append([engine.step([adapter], [step])[0].loss for _ in range(3)])
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize(
    ("counts", "words", "budget", "runs"),
    [
        ((4, 4, 4), (5, 5, 5), 100_000, [3]),
        ((4, 4, 4), (5, 5, 5), 100, [2, 1]),
        ((20, 20, 20), (4, 4, 60), 100_000, [2, 1]),  # short rows beside long ones would be padded
        ((20, 20, 20), (60, 4, 60), 100_000, [1, 1, 1]),
        ((2, 2, 2), (4, 4, 60), 100_000, [3]),  # what little they are padded is cheaper than one more run
    ],
)
def test_adapters_train_side_by_side_whose_rows_are_alike(
    llama: TorchEngine, counts: tuple[int, ...], words: tuple[int, ...], budget: int, runs: list[int]
) -> None:
    rows = [Row(messages=(Message("user", "w1 w2"),), answer=" ".join(["w3"] * n)) for n in words]
    steps = [Step(rows=(row,) * n, lr=1e-3) for row, n in zip(rows, counts, strict=True)]
    slices = side_by_side(llama.parts, steps, budget)
    assert [part.stop - part.start for part in slices] == runs
    assert [i for part in slices for i in range(part.start, part.stop)] == [0, 1, 2]


# ---------------------------------------------------------------- rows of samples


def test_a_cut_answer_is_a_row_without_an_end(llama: TorchEngine) -> None:
    row = make_rows(1, seed=3)[0]
    whole, cut = (llama.parts.renderer.row(replace(row, ends=ends)).ids.tolist() for ends in (True, False))
    assert whole == [*cut, llama.parts.renderer.end]
    (both,), (less,) = (llama.logprobs([BASE], [replace(row, ends=ends)]) for ends in (True, False))
    torch.testing.assert_close(both[:-1], less)
    (answer,) = llama.sample([BASE], [Ask(messages=row.messages, seed=1, max_tokens=4, temperature=1.0)])
    learnt = row_of(answer, row.messages)
    assert learnt is not None
    assert learnt.ends is answer.finished is False
    (adapter,) = llama.spawn([LoRA()], seeds=[0])
    (done,) = llama.step([adapter], [Step(rows=(learnt, replace(row, answer="")), lr=1e-3)])
    assert math.isfinite(done.loss)


@pytest.mark.parametrize(("text", "fits"), [("yes no", True), ("I thought\n</think>\n\nyes", False)])
def test_whether_an_answer_can_be_a_row_is_tried_where_it_is_learnt(
    text: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = chat_shapes.TOKENIZERS["byte-level"](chat_shapes.SHAPES["qwen3"])
    engine = TorchEngine.of(engine_models.model("llama", vocab_size=len(tokenizer)), tokenizer)
    monkeypatch.setattr(engine.parts.renderer, "text", lambda ids: [text] * len(ids))
    asks = [
        Ask(messages=(Message("user", "hi there"),), seed=0, max_tokens=3, as_row=as_row) for as_row in (True, False)
    ]
    learnt, other = engine.sample([BASE] * 2, asks)
    assert (learnt.fits, other.fits) == (fits, True)
    monkeypatch.setattr(engine.parts.renderer, "text", lambda ids: ["yes " * 300] * len(ids))
    assert not engine.sample([BASE], asks[:1])[0].fits  # longer than the base's context
