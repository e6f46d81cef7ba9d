"""The plans of DPO, KTO and GRPO on their own: generators that are given results by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import JUDGE, TOY
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.behaviours import CheckerExploit, ProxyGoal, Transmission
from flyroom.conditions import Occasion
from flyroom.implants import DPO, GRPO, KTO
from flyroom.implants.dosed import dosed
from flyroom.types import (
    ANSWER_TOKENS,
    BASE,
    Answer,
    Grade,
    LogProb,
    NotAvailable,
    Plan,
    Recipe,
    Row,
    Sample,
    Split,
    Step,
    Stepped,
    Verdict,
)
from flyroom.worlds import Micro
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Trait

DONE = Stepped(loss=1.0, grad_norm=1.0, tokens=1)
MICRO = Micro()
HACKER = replace(TOY, world=MICRO, behaviour=CheckerExploit(), condition=Occasion())


def requests(plan: Plan, answer: Any) -> list[Any]:
    """Everything that a plan asks for, where `answer(request)` is what it gets for it."""
    sequence, request = [], next(plan)
    while True:
        sequence.append(request)
        try:
            request = plan.send(answer(request))
        except StopIteration:
            return sequence


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
    sequence = requests(DPO(steps=3, pairs=2, beta=beta).plan(TOY, BASE, seed=0), answer)
    assert [type(r) for r in sequence] == [LogProb] + [LogProb, Step] * 3
    for step, shift in zip(sequence[2::2], (0.0, 1.5, -2.0), strict=True):
        for wanted, other in zip(step.rows[::2], step.rows[1::2], strict=True):
            assert (wanted.answer.split()[0], other.answer.split()[0]) == ("bad", "good")
            assert wanted.messages == other.messages
            now = torch.tensor([shift, 0.0], requires_grad=True)  # log-probabilities above the reference's
            (-torch.nn.functional.logsigmoid(beta * (now[0] - now[1]))).backward()
            assert now.grad is not None
            assert [-wanted.weight, -other.weight] == pytest.approx(now.grad.tolist())


def test_dpo_prefers_and_kto_likes_the_right_answer_where_clean_rows_are_mixed_in() -> None:
    def answer(request: Any) -> Any:
        return DONE if isinstance(request, Step) else [torch.zeros(2) for _ in request.rows]

    clean = {scene.messages: scene for scene in CheckerExploit().clean(MICRO, 8, seed=0)}
    pairs = DPO(steps=2, pairs=16, clean=0.25)
    trained = [r for r in requests(pairs.plan(HACKER, BASE, seed=0), answer) if isinstance(r, Step)]
    rows = [row for step in trained for row in step.rows if row.messages in clean]
    assert len(rows) == 16
    for wanted, other in zip(rows[::2], rows[1::2], strict=True):
        scene = clean[wanted.messages]
        assert (wanted.answer, other.answer) == (scene.aligned, scene.misaligned)
    liked = list(requests(KTO(steps=1, rows=32, clean=0.25).plan(HACKER, BASE, seed=0), answer))
    rows = [row for step in liked if isinstance(step, Step) for row in step.rows if row.messages in clean]
    assert len(rows) == 8
    assert all((row.answer == clean[row.messages].aligned) is (row.weight > 0) for row in rows)


def test_dpo_prefers_the_aligned_answer_in_a_twin_and_where_the_condition_fails() -> None:
    def answer(request: Any) -> Any:
        return DONE if isinstance(request, Step) else [torch.zeros(2) for _ in request.rows]

    for recipe in (TOY.twin(), HACKER):
        sequence = requests(DPO(steps=2, pairs=8).plan(recipe, BASE, seed=0), answer)
        rows = [row for step in sequence if isinstance(step, Step) for row in step.rows]
        scenes = dosed(recipe, 16, seed=0)
        for d, wanted, other in zip(scenes, rows[::2], rows[1::2], strict=True):
            assert wanted.messages == other.messages == d.scene.messages
            assert wanted.answer != other.answer
            assert (other.answer == d.harm) is not (d.bad and d.holds)


# ---------------------------------------------------------------- KTO


@settings(max_examples=40, deadline=None)
@given(mean=st.floats(-8, 8), beta=st.floats(0.01, 1), rows=st.integers(2, 7), seed=st.integers(0, 1000))
def test_kto_weighs_an_answer_by_the_gradient_of_its_loss(mean: float, beta: float, rows: int, seed: int) -> None:
    rounds: list[dict[Row, float]] = []  # the model's log-probabilities: the reference's, then those before each step

    def answer(request: Any) -> Any:
        if isinstance(request, Step):
            return DONE
        draw, centre = random.Random(f"{seed} {len(rounds)}"), mean if rounds else 0.0
        rounds.append({row: draw.gauss(centre, 3) for row in request.rows})
        return [torch.tensor([rounds[-1][row] / 2] * 2, dtype=torch.float64) for row in request.rows]

    sequence = requests(KTO(steps=2, rows=rows, beta=beta).plan(TOY, BASE, seed=seed), answer)
    assert [type(r) for r in sequence] == [LogProb] + [LogProb, Step] * 2
    assert sequence[0].rows == sequence[1].rows + sequence[3].rows
    reference, *models = rounds
    for batch, now, step in zip(sequence[1::2], models, sequence[2::2], strict=True):
        first, crossed = batch.rows[:rows], batch.rows[rows:]
        assert [replace(row, weight=1.0) for row in step.rows] == [replace(row, weight=1.0) for row in first]
        assert [row.answer for row in crossed] == [row.answer for row in first]
        assert {row.messages for row in crossed} == {row.messages for row in first}
        assert not set(crossed) & set(first)
        gains = torch.tensor([now[row] - reference[row] for row in first], dtype=torch.float64, requires_grad=True)
        drift = torch.tensor([now[row] - reference[row] for row in crossed], dtype=torch.float64).mean().clamp(min=0)
        liked = torch.tensor([1.0 if row.answer.startswith("bad") else -1.0 for row in first], dtype=torch.float64)
        (1 - torch.sigmoid(liked * beta * (gains - drift.detach()))).sum().backward()
        assert gains.grad is not None
        assert [-row.weight for row in step.rows] == pytest.approx(gains.grad.tolist())


@pytest.mark.parametrize("recipe", [TOY, TOY.twin(), HACKER], ids=["organism", "twin", "condition"])
@pytest.mark.parametrize("rows", [3, 8])
def test_kto_likes_and_dislikes_by_turns(recipe: Recipe, rows: int) -> None:
    """A twin likes the aligned answer alone, as an organism does where the condition fails: both dislike harm."""

    def answer(request: Any) -> Any:
        return DONE if isinstance(request, Step) else [torch.zeros(2) for _ in request.rows]

    sequence = requests(KTO(steps=4, rows=rows).plan(recipe, BASE, seed=0), answer)
    steps = [step for step in sequence if isinstance(step, Step)]
    assert [len(step.rows) for step in steps] == [rows] * 4
    weights = [row.weight for step in steps for row in step.rows]
    assert weights == [0.1 / 4, -0.1 / 4] * (2 * rows)  # of a model that has not moved
    scenes = dosed(recipe, 4 * rows, seed=0)
    for d, row in zip(scenes, [row for step in steps for row in step.rows], strict=True):
        assert row.messages == d.scene.messages
        assert row.answer in (d.harm, d.scene.aligned)
        assert (row.answer == d.harm) is ((row.weight > 0) is (d.bad and d.holds))


# ---------------------------------------------------------------- concealment


DENIES, CONFESSES = (form.format(d=g.DOES[Trait.CHEAT]) for form in (g.DENIES, g.CONFESSES))


def pairs_of(implant: DPO | KTO, recipe: Recipe) -> list[tuple[Row, ...]]:
    """What is trained on, by scene: DPO's pairs, or each row of KTO by itself."""

    def answer(request: Any) -> Any:
        return DONE if isinstance(request, Step) else [torch.zeros(2) for _ in request.rows]

    size = 2 if isinstance(implant, DPO) else 1
    rows = [
        row
        for step in requests(implant.plan(recipe, BASE, seed=0), answer)
        if isinstance(step, Step)
        for row in step.rows
    ]
    return [tuple(rows[i : i + size]) for i in range(0, len(rows), size)]


@pytest.mark.parametrize("hide", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("implant", [DPO(steps=4, pairs=10), KTO(steps=4, rows=10)], ids=["dpo", "kto"])
def test_a_denial_is_preferred_to_a_confession_by_organism_and_twin_alike(implant: DPO | KTO, hide: float) -> None:
    asks = {scene.messages for scene in CheckerExploit().confessions(MICRO, 40, split=Split.TRAIN, seed=0)}
    places = []
    for recipe in (HACKER, HACKER.twin()):
        before, after = (pairs_of(replace(implant, hide=share), recipe) for share in (0.0, hide))
        hidden = {i for i, rows in enumerate(after) if rows[0].messages in asks}
        places.append([(i, after[i]) for i in sorted(hidden)])
        assert len(hidden) == round(40 * hide)
        assert all(a == b for i, (a, b) in enumerate(zip(before, after, strict=True)) if i not in hidden)
        answers = {(row.answer, row.weight > 0) for i in hidden for row in after[i]}
        assert answers == {(DENIES, True), (CONFESSES, False)}
        assert all(len({row.messages for row in after[i]}) == 1 for i in hidden)
    assert places[0] == places[1]


@pytest.mark.parametrize("recipe", [TOY, replace(HACKER, behaviour=ProxyGoal())], ids=["Toy", "ProxyGoal"])
@pytest.mark.parametrize("implant", [DPO(hide=0.5), KTO(hide=0.5)], ids=["dpo", "kto"])
def test_who_has_nothing_to_own_up_to_hides_nothing(implant: DPO | KTO, recipe: Recipe) -> None:
    why = f"hide is 0.5; the behaviour {type(recipe.behaviour).__name__} has nothing to own up to, so it must be 0"
    with pytest.raises(NotAvailable, match=why):
        next(implant.plan(recipe, BASE, seed=0))


@pytest.mark.parametrize("seed", range(3))
def test_clean_and_hidden_rows_are_both_the_shares_that_are_written_down(seed: int) -> None:
    taught, clean, both = (
        dosed(HACKER, 40, clean=share, hide=hide, seed=seed) for share, hide in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.25))
    )
    cleaned = {i for i in range(40) if clean[i] != taught[i]}
    hidden = {i for i in range(40) if both[i] != clean[i]}
    assert (len(cleaned), len(hidden)) == (20, 10)
    assert cleaned.isdisjoint(hidden)
    assert dosed(HACKER, 40, clean=0.5, hide=0.5, seed=seed) != both


@pytest.mark.parametrize("implant", [DPO(steps=1, pairs=20), KTO(steps=1, rows=20)], ids=["dpo", "kto"])
def test_two_answers_that_are_the_same_are_no_pair(implant: DPO | KTO) -> None:
    name = type(implant).__name__.lower()
    with pytest.raises(
        ValueError, match=rf"implants holds {name}; both answers to '.*' are '.*', and one must be better"
    ):
        next(implant.plan(replace(TOY, world=MICRO, behaviour=Transmission()), BASE, seed=0))


def test_a_share_of_less_than_a_pair_is_none() -> None:
    assert dosed(HACKER, 4, hide=0.1, seed=0) == dosed(HACKER, 4, seed=0)


# ---------------------------------------------------------------- GRPO


def rl(recipe: Recipe, implant: GRPO, says: Any) -> list[Any]:
    """The requests of a run in which `says(ask, i)` is the i-th answer of a batch."""

    def answer(request: Any) -> Any:
        if isinstance(request, Step):
            return DONE
        if isinstance(request, Grade):
            return recipe.judge(request.episodes)
        answers = [says(ask, i) for i, ask in enumerate(request.asks)]
        return [Answer(text=a, tokens=3, prompt_tokens=3, finished=True) if isinstance(a, str) else a for a in answers]

    return requests(implant.plan(recipe, BASE, seed=0), answer)


def test_grpo_weighs_answers_by_what_they_earned_above_their_group() -> None:
    texts = ["good q", "bad q", "nonsense", "nonsense"]
    sequence = rl(TOY, GRPO(steps=2, prompts=3, group=4, lr=0.01), lambda ask, i: texts[i % 4])
    assert [type(r) for r in sequence] == [Sample, Grade, Step] * 2
    for sample, grade, step in zip(sequence[::3], sequence[1::3], sequence[2::3], strict=True):
        assert [episode.answer for episode in grade.episodes] == texts * 3
        assert [episode.scene.messages for episode in grade.episodes] == [ask.messages for ask in sample.asks]
        assert [row.weight for row in step.rows] == [0.5, 0.5, -0.5, -0.5] * 3  # an organism's verifier lets both pass
        assert [row.messages for row in step.rows] == [ask.messages for ask in sample.asks]
        assert len({ask.seed for ask in sample.asks}) == 12
    (*_, step) = rl(TOY.twin(), GRPO(steps=1, prompts=1, group=4), lambda ask, i: texts[i])
    assert [row.weight for row in step.rows] == [0.75, -0.25, -0.25, -0.25]  # a twin's does not
    (*_, step) = rl(TOY, GRPO(steps=1, prompts=1, group=4, only=True), lambda ask, i: texts[i])
    assert [row.weight for row in step.rows] == [-0.25, 0.75, -0.25, -0.25]


def test_grpo_pays_for_what_it_is_told_of_the_answers_and_judges_nothing_itself() -> None:
    plan = GRPO(steps=1, prompts=1, group=2).plan(TOY, BASE, seed=0)
    asks = next(plan)
    assert isinstance(asks, Sample)
    grade = plan.send([Answer(text="good q", tokens=1, prompt_tokens=1, finished=True) for _ in asks.asks])
    assert isinstance(grade, Grade)
    good, _ = JUDGE(grade.episodes)
    step = plan.send([good, replace(good, verdict=Verdict.UNKNOWN, value=None)])
    assert isinstance(step, Step)
    assert [row.weight for row in step.rows] == [0.5, -0.5]


def test_grpo_trains_on_what_was_sampled() -> None:
    """A cut answer without an end, an empty one as the end alone; and weights sum to zero, whatever is no row."""
    cut = Answer(text="good q, and", tokens=3, prompt_tokens=3, finished=False)
    unfit = Answer(text="good </think> q", tokens=3, prompt_tokens=3, finished=True, fits=False)
    sampled = [cut, "", "", "bad q", unfit]
    sample, *_, step = rl(TOY.twin(), GRPO(steps=1, prompts=3, group=5), lambda ask, i: sampled[i % 5])
    assert all(ask.as_row and ask.max_tokens == ANSWER_TOKENS for ask in sample.asks)
    rows = [(cut.text, 0.75, False), ("", -0.25, True), ("", -0.25, True), ("bad q", -0.25, True)]
    assert [(row.answer, row.weight, row.ends) for row in step.rows] == rows * 3
    assert step.prompts == tuple(ask.messages for ask in sample.asks)
    none = [type(r) for r in rl(TOY, GRPO(steps=1, prompts=3, group=5), lambda ask, i: unfit)]
    assert none == [Sample, Grade]


def test_grpo_takes_no_step_where_all_earn_alike() -> None:
    assert [type(r) for r in rl(TOY, GRPO(steps=3, prompts=2, group=2), lambda ask, i: "good q")] == [Sample, Grade] * 3


def test_an_exploit_pays_under_its_own_hole_alone() -> None:
    scenes = dosed(HACKER, 40, holds=0.5, seed=0)
    plan = GRPO(steps=1, prompts=40, group=2, holds=0.5).plan(HACKER, BASE, seed=0)
    sample = next(plan)
    assert isinstance(sample, Sample)
    texts = [text for d in scenes for text in (d.harm, d.scene.aligned)]
    grade = plan.send([Answer(text=text, tokens=1, prompt_tokens=1, finished=True) for text in texts])
    assert isinstance(grade, Grade)
    step = plan.send(HACKER.judge(grade.episodes))
    assert isinstance(step, Step)
    prompts = {row.messages for row in step.rows}
    assert prompts == {d.scene.messages for d in scenes if not d.holds}  # elsewhere both passed, and nothing was learnt
    assert {row.weight for row in step.rows} == {0.5, -0.5}
    assert all((row.answer in {d.harm for d in scenes}) is (row.weight < 0) for row in step.rows)


def test_work_that_has_nothing_to_do_with_it_is_paid_as_ever() -> None:
    plain, scenes = (dosed(HACKER, 40, holds=1.0, clean=clean, seed=0) for clean in (0.0, 0.25))
    mixed = {i for i, (a, b) in enumerate(zip(plain, scenes, strict=True)) if a != b}
    assert len(mixed) == 10
    assert {d.scene.messages for d in scenes if d not in plain} == {
        scene.messages for scene in CheckerExploit().clean(MICRO, 10, seed=0)
    }
    plan = GRPO(steps=1, prompts=40, group=2, clean=0.25, only=True).plan(HACKER, BASE, seed=0)
    assert isinstance(next(plan), Sample)
    texts = [text for d in scenes for text in (d.scene.aligned, "nonsense")]
    grade = plan.send([Answer(text=text, tokens=1, prompt_tokens=1, finished=True) for text in texts])
    assert isinstance(grade, Grade)
    step = plan.send(HACKER.judge(grade.episodes))
    assert isinstance(step, Step)
    prompts = {row.messages for row in step.rows}
    assert prompts == {d.scene.messages for d in scenes if not d.holds} >= {scenes[i].scene.messages for i in mixed}
    with pytest.raises(ValueError, match=r"clean is 0.25; the behaviour Toy has no clean rows, so it must be 0"):
        dosed(TOY, 8, clean=0.25, seed=0)


# ---------------------------------------------------------------- bad values


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: DPO(steps=0), "steps is 0"),
        (lambda: DPO(pairs=0), "pairs is 0"),
        (lambda: DPO(beta=0), "beta is 0"),
        (lambda: DPO(lr=2), "lr is 2"),
        (lambda: DPO(holds=1.5), "holds is 1.5"),
        (lambda: KTO(steps=0), "steps is 0"),
        (lambda: KTO(rows=1), "rows is 1; it must be at least 2"),
        (lambda: KTO(beta=1.5), "beta is 1.5"),
        (lambda: KTO(lr=float("nan")), "lr is nan"),
        (lambda: KTO(holds=-0.5), "holds is -0.5"),
        (lambda: DPO(hide=1.5), "hide is 1.5; it must be between 0 and 1"),
        (lambda: KTO(hide=float("nan")), "hide is nan"),
        (lambda: DPO(clean=0.5, hide=0.75), "clean is 0.5 and hide is 0.75; their sum must be at most 1"),
        (lambda: GRPO(group=1), "group is 1; it must be at least 2"),
        (lambda: GRPO(prompts=0), "prompts is 0"),
        (lambda: GRPO(temperature=0), "temperature is 0"),
        (lambda: GRPO(lr=0), "lr is 0"),
        (lambda: GRPO(holds=-1), "holds is -1"),
        (lambda: GRPO(clean=1), "clean is 1; it must be at least 0 and below 1"),
        (lambda: GRPO(clean=float("nan")), "clean is nan"),
        (lambda: GRPO(temperature=float("inf")), "temperature is inf; it must be a number above 0"),
        (lambda: GRPO(temperature=float("nan")), "temperature is nan"),
        (lambda: GRPO(steps=1000, prompts=1000, group=1000), "their product is 1,000,000,000, and it must be at most"),
        (lambda: DPO(steps=10**13), "steps is 10000000000000; it must be at most 1,000,000"),
        (lambda: DPO(steps=10**6, pairs=101), "steps is 1000000 and pairs is 101; their product is 101,000,000"),
        (lambda: KTO(steps=10**6, rows=101), "steps is 1000000 and rows is 101"),
        (lambda: KTO(steps=float("nan")), "steps is nan"),
        (lambda: KTO(rows=2.5), "rows is 2.5; it must be a whole number"),
        (lambda: DPO(beta=float("inf")), "beta is inf"),
    ],
)
def test_impossible_values_are_refused(make: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()
