"""Which limits of a recipe are of what its cards measure: parts that are exchanged by name measure other things."""

from __future__ import annotations

from flyroom.measures import CONDITIONAL, DERIVED, OTHERWISE, TWIN
from flyroom.types import Override, Recipe, Split, Thresholds

SCENES, SAMPLE = 20, 4  # enough that every battery is there


def fitting(recipe: Recipe, thresholds: Thresholds) -> dict[str, Override]:
    """Those of the thresholds whose measures are on a card of the recipe. A bare number must have one limit to move."""
    limits = _count_limits(recipe)
    return {
        name: override
        for name, override in thresholds.items()
        if (measure := name.removeprefix(TWIN)) in limits
        and (limits[measure] == 1 or not isinstance(override, (int, float)))
    }


def _count_limits(recipe: Recipe) -> dict[str, int]:
    """How many limits each measure carries; what a card derives counts as one. Some of that it derives only where the
    condition may fail.
    """
    batteries = recipe.behaviour.batteries(recipe.world, SCENES, seed=0)
    names = [measure for measure in DERIVED if measure not in CONDITIONAL]
    if not recipe.condition.everywhere:
        names += [*CONDITIONAL, *(battery.measure + OTHERWISE for battery in batteries if battery.pooled)]
        scenes = recipe.scenes(SAMPLE, split=Split.HELD_OUT, seed=0)
        batteries += recipe.condition.batteries(recipe.world, scenes, recipe.judge, seed=0)
    return dict.fromkeys(names, 1) | {battery.measure: len(battery.limits) for battery in batteries}
