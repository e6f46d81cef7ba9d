"""Settings of a base: fields of the named recipes that differ on it, found by trying."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flyroom import stages
from flyroom.demo import PLAN
from flyroom.detectors import detectors
from flyroom.recipes import RECIPES, make, read
from flyroom.recipes.settings import PAGES, settings
from flyroom.types import Held, Limit, Outcome
from tests.report.fakes import make_card

BASES = sorted(page.stem for page in PAGES.glob("*.yaml"))


def test_a_recipe_takes_the_settings_of_its_base() -> None:
    plain, fitted = make("emergent-misalignment"), make("emergent-misalignment", base="smollm2-135m")
    assert (plain.adapter.rank, fitted.adapter.rank) == (1, 8)
    assert plain.id != fitted.id
    assert make("emergent-misalignment", base="a base that nobody has tried") == plain


def test_what_is_asked_for_goes_before_a_setting(tmp_path: Path) -> None:
    assert make("emergent-misalignment", {"rank": 2}, base="smollm2-135m").adapter.rank == 2
    page = tmp_path / "mine.yaml"
    page.write_text("recipe: emergent-misalignment\nrank: 3\n")
    assert read(page, base="smollm2-135m").adapter.rank == 3


def test_a_stronger_recipe_is_made_of_the_fitted_one() -> None:
    quiet = make("emergent-misalignment", {"strength": "quiet"}, base="smollm2-135m")
    assert (quiet.dose, quiet.adapter.rank) == (0.5, 8)


def test_nobody_changes_a_page_in_passing() -> None:
    settings("smollm2-135m", "emergent-misalignment").clear()
    assert settings("smollm2-135m", "emergent-misalignment")


@pytest.mark.parametrize("base", BASES)
def test_every_setting_is_of_a_recipe_and_a_field_that_there_is(base: str) -> None:
    from flyroom.recipes.settings import _pages

    page = _pages()[base]
    plan = page.get("demo", {})
    assert set(plan) <= set(PLAN)
    assert {*plan.get("recipes", ())} <= {*RECIPES}
    assert {*plan.get("detectors", ())} <= {*detectors()}
    assert {*page} <= {*RECIPES, "demo"}
    for name in page.keys() - {"demo"}:
        assert make(name, base=base).id != make(name).id


# ---------------------------------------------------------------- how they are found


def test_variants_of_one_rank_are_trained_together(scripts: None, tmp_path: Path) -> None:
    from settings import by_rank, read_variants

    page = tmp_path / "variants.yaml"
    page.write_text(
        "sycophancy:\n  - {rank: 2, steps: 9}\n  - {rank: 1, steps: 20}\npower-seeking: [{rank: 2, steps: 5}]\n"
    )
    groups = by_rank(read_variants(page, stages.open_base("0.25M")))
    assert [[(v.name, v.recipe.adapter.rank, v.steps) for v in group] for group in groups] == [
        [("sycophancy", 2, 9), ("power-seeking", 2, 5)],
        [("sycophancy", 1, 20)],
    ]


def test_the_variant_that_misses_least_is_chosen(scripts: None) -> None:
    from settings import chosen, missed

    def held(low: float, high: float, outcome: Outcome, limit: Limit) -> Held:
        return Held(measure="m", who="organism", limit=limit, low=low, high=high, outcome=outcome)

    kept = held(0.9, 1.0, Outcome.PASS, Limit(at_least=0.8))
    open_one = held(0.7, 0.9, Outcome.UNDECIDED, Limit(at_least=0.75))
    broken = held(0.2, 0.4, Outcome.FAIL, Limit(at_most=0.1))
    limits = [(), (kept,), (kept, open_one), (kept, broken)]
    scores = [missed(replace(make_card(0), limits=group)) for group in limits]
    assert scores == pytest.approx([1000, 0, 0.5, 1.2])
    rows = [{"recipe": "r", "changes": {"rank": i}, "missed": score} for i, score in enumerate(scores)]
    assert chosen(rows) == {"r": {"rank": 1}}
