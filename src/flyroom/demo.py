"""The whole loop at once: four seeds of emergent misalignment with their twins, cards, two detectors, one page.

World -> Recipe --grow--> Organism (+ twin) --card--> Card --blind--> Suspect --detect--> Finding --bench--> Matrix
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyroom import report, stages
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages.bases import world_of
from flyroom.types import Card, Cautioned, Matrix, Organism, Recipe, Watch

SEEDS = 4
DETECTORS = ("mean-difference-probe", "output-judge")


def demo(
    *,
    seed: int,
    base: stages.OpenBase,
    room: Room,
    out: Path,
    episodes: int = 500,
    commands: Sequence[str] = (),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run the loop and write the page to `out`; returns the figures. With the same room a second run costs nothing."""
    began = time.perf_counter()
    recipe = make("emergent-misalignment", world=world_of(base), base=base.engine.base.name)
    organisms = stages.grow([recipe], base, room, seeds=range(seed * SEEDS, (seed + 1) * SEEDS), watch=watch)
    cards = stages.card(organisms, base, room, seed=seed, episodes=episodes, watch=watch)
    matrix = stages.bench(organisms, base, room, seed=seed, names=DETECTORS, watch=watch)
    calibrated = stages.calibrated(matrix, seed=seed)
    write_page(out, cards, matrix, organisms, base, commands=commands, calibrated=calibrated)
    return {
        "organisms": [report.figures_of(card) for card in cards],
        "detectors": [report.detector_figures(cell) for cell in matrix.cells],
        "seconds": round(time.perf_counter() - began, 1),
        "report": str(out),
    }


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
    report.write_page(out, text)


def recipes_of(organisms: Sequence[Organism]) -> list[Recipe]:
    """The recipes above dose 0, each once."""
    return list({o.recipe.id: o.recipe for o in organisms if o.recipe.dose > 0}.values())
