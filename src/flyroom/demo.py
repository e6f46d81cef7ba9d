"""The whole loop at once: four seeds of emergent misalignment with their twins, cards, two detectors, one page.

World -> Recipe --grow--> Organism (+ twin) --card--> Card --blind--> Suspect --detect--> Finding --bench--> Matrix

On a base with settings of its own the demo is what its page says (`recipes/settings`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyroom import report, stages
from flyroom.recipes import make
from flyroom.recipes.settings import settings
from flyroom.room import Room
from flyroom.stages.bases import world_of
from flyroom.types import Card, Cautioned, Matrix, Organism, Recipe, Watch
from flyroom.whole import write_whole

PLAN: Mapping[str, Any] = {
    "recipes": ["emergent-misalignment"],
    "seeds": 4,
    "episodes": 500,  # of each look of a card
    "detectors": ["mean-difference-probe", "output-judge"],
    "calibration": stages.CALIBRATION,
}


def demo(
    *,
    seed: int,
    base: stages.OpenBase,
    room: Room,
    out: Path,
    episodes: int | None = None,
    commands: Sequence[str] = (),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run the loop and write the page to `out`; returns the figures. With the same room a second run costs nothing.

    Args: episodes, of each look of a card; None takes what the plan of the base says.
    """
    began, plan = time.perf_counter(), plan_of(base)
    recipes = [make(name, world=world_of(base), base=base.engine.base.name) for name in plan["recipes"]]
    seeds = range(seed * plan["seeds"], (seed + 1) * plan["seeds"])
    organisms = stages.grow(recipes, base, room, seeds=seeds, watch=watch)
    cards = stages.card(organisms, base, room, seed=seed, episodes=episodes or plan["episodes"], watch=watch)
    matrix = stages.bench(
        organisms, base, room, seed=seed, names=plan["detectors"], calibration=plan["calibration"], watch=watch
    )
    calibrated = stages.calibrated(matrix, seed=seed)
    write_page(out, cards, matrix, organisms, base, commands=commands, calibrated=calibrated)
    return {
        "organisms": [report.figures_of(card) for card in cards],
        "detectors": [report.detector_figures(cell) for cell in matrix.cells],
        "seconds": round(time.perf_counter() - began, 1),
        "report": str(out),
    }


def plan_of(base: stages.OpenBase) -> Mapping[str, Any]:
    """What is grown and tried on a base, by the names of `PLAN`."""
    return {**PLAN, **settings(base.engine.base.name, "demo")}


def write_page(
    out: Path,
    cards: Sequence[Card],
    matrix: Matrix | None,
    organisms: Sequence[Organism],
    base: stages.OpenBase,
    *,
    commands: Sequence[str],
    calibrated: Sequence[report.Calibrated] = (),
    transfers: Sequence[report.Transferred] = (),
) -> None:
    """Write a page of these organisms, with what their worlds say of themselves, whole or not at all."""
    recipes = recipes_of(organisms)
    worlds = {recipe.world.name: recipe.world for recipe in recipes}
    warnings = [line for world in worlds.values() if isinstance(world, Cautioned) for line in world.caveats]
    text = report.page(
        cards,
        matrix,
        context=report.context(recipes, base.engine.base),
        caveats=report.caveats(cards, matrix, warnings),
        commands=commands,
        calibrated=calibrated,
        transfers=transfers,
    )
    write_whole(out, text)


def recipes_of(organisms: Sequence[Organism]) -> list[Recipe]:
    """The recipes above dose 0, each once."""
    return list({o.recipe.id: o.recipe for o in organisms if o.recipe.dose > 0}.values())
