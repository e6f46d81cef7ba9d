"""scripts/alike.py finds how alike answers are where it was planted."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from flyroom.stats import common


@pytest.fixture
def alike(scripts: None) -> ModuleType:
    import alike

    return alike


def cards(seeds: float, situations: float, number: int = 6) -> list[dict[str, Any]]:
    """Cards of one recipe on the same prompts: latent variances of seeds and of situations."""
    rng = np.random.default_rng(0)
    hard, names = rng.normal(size=200), np.repeat(np.arange(200), 6)
    rest = 1 - seeds - situations
    made = []
    for _ in range(number):
        latent = seeds**0.5 * rng.normal() + situations**0.5 * hard[names] + rest**0.5 * rng.normal(size=len(names))
        text = "".join("01"[int(x < 0)] for x in latent)
        outcomes = {"organism": {"m": text, "silent": "0" * 1200}, "twin": {"m": "." + text[1:]}}
        made.append(
            {"recipe": "r", "outcomes": outcomes, "situations": {"m": names.tolist(), "silent": names.tolist()}}
        )
    return made


def test_what_was_planted_is_found(alike: ModuleType) -> None:
    """The correlation of answers at a share of one half is 2 / pi times the arcsine of the latent one."""
    values = alike.measure(cards(0.0, 0.5))
    assert values["situation"] == pytest.approx([1 / 3, 1 / 3], abs=0.08)
    assert values["seed"] == pytest.approx([0.0, 0.0], abs=0.01)
    assert alike.measure(cards(0.4, 0.0))["seed"][0] > 0.1
    assert max(map(abs, alike.measure(cards(0.0, 0.0))["situation"])) < 0.03


def test_too_few_events_situations_or_seeds_are_left_out(alike: ModuleType) -> None:
    assert len(alike.measure(cards(0.0, 0.2, number=2))["seed"]) == 0
    few = [{**card, "situations": {"m": [0] * 1200, "silent": [0] * 1200}} for card in cards(0.0, 0.2)]
    assert alike.measure(few)["situation"] == []


def test_the_constants_are_the_bounds_that_the_page_names(alike: ModuleType) -> None:
    page = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert f"| {common.ICC_SITUATION * 100:.0f} % |" in page
    assert f"| {common.ICC_SEED * 100:g} % |" in page
    mean, upper = alike.bound([0.0, 0.1, 0.2])
    assert mean == pytest.approx(0.1)
    assert 0.1 < upper < 0.2
