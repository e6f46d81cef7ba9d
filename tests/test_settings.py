"""Settings of a base: fields of the named recipes that differ on it, found by trying."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyroom.demo import PLAN
from flyroom.detectors import detectors
from flyroom.recipes import RECIPES, make, read
from flyroom.recipes.settings import PAGES, settings

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
