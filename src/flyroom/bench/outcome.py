"""What can come of a detector, and what of that is a fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom.apart import Guest, introduce
from flyroom.types import Access, Asked, Cell, Cost, Detector, Finding, PlugIn, Recipe, Unit, provenance_of
from flyroom.types.detection import declared_unit, in_words


def unit_of(detector: Detector | PlugIn) -> Unit:
    """What a detector judges. Raises ValueError for a unit that there is not."""
    return introduce(detector).unit if isinstance(detector, PlugIn) else declared_unit(detector)


def needs_of(detector: Detector | PlugIn) -> Access:
    """What a detector declares to touch. That of a plug-in is asked of its own process."""
    return introduce(detector).needs if isinstance(detector, PlugIn) else detector.needs


def access_of(detector: Detector | PlugIn) -> str:
    """What a detector declares to touch, in words."""
    return in_words(needs_of(detector))


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of a detector: a suspicion for each unit, in order; or why it cannot be had; or an error."""

    cost: Cost
    suspicions: Sequence[float] = ()
    why: str = ""
    error: str | None = None
    episodes: Sequence[Asked] = ()


def fault_of(findings: Sequence[Finding], units: int, unit: Unit) -> str | None:
    """What is wrong with what a detector returned."""
    if len(findings) != units:
        what = "suspects" if unit == "model" else "replies"
        return f"{len(findings)} findings for {units} {what}; it must be one each"
    bad = next((f.suspicion for f in findings if not math.isfinite(f.suspicion)), None)
    return None if bad is None else f"a suspicion is {bad}; it must be finite"


def empty_cell(name: str, guest: Guest, attempt: Attempt, walls: Sequence[str]) -> Cell:
    """A cell without figures, of no recipe yet."""
    return Cell(
        detector=name,
        access=in_words(guest.needs),
        recipe="",
        unit=guest.unit,
        auroc=None,
        recall_at_1pct_fpr=None,
        fpr=None,
        cost=attempt.cost,
        available=not attempt.why,
        why=attempt.why,
        error=attempt.error,
        walls=tuple(walls),
    )


def of_recipe(cell: Cell, label: str, recipe: Recipe) -> Cell:
    """The same cell as that of a recipe, under the label that it goes by."""
    return replace(cell, recipe=label, provenance=provenance_of(recipe))
