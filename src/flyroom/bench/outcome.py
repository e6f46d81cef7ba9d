"""What can come of a detector, and what of that is a fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, get_args, runtime_checkable

from flyroom.types import Asked, Cell, Cost, Detector, Finding, Recipe, Unit, provenance_of


@runtime_checkable
class OfUnit(Protocol):
    """A detector that says whether it judges models or replies."""

    @property
    def unit(self) -> Unit: ...


def unit_of(detector: Detector) -> Unit:
    """What a detector judges. Raises ValueError for a unit that there is not."""
    unit = detector.unit if isinstance(detector, OfUnit) else "model"
    if unit not in get_args(Unit):
        raise ValueError(
            f"unit of {type(detector).__name__} is {unit!r}; it must be one of {', '.join(get_args(Unit))}"
        )
    return unit


def access_of(detector: Detector) -> str:
    """What a detector declares to touch, in words."""
    return " + ".join(flag.name.lower() for flag in detector.needs if flag.name)


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


def empty_cell(name: str, detector: Detector, attempt: Attempt) -> Cell:
    """A cell without figures, of no recipe yet."""
    return Cell(
        detector=name,
        access=access_of(detector),
        recipe="",
        unit=unit_of(detector),
        auroc=None,
        recall_at_1pct_fpr=None,
        fpr=None,
        cost=attempt.cost,
        available=not attempt.why,
        why=attempt.why,
        error=attempt.error,
    )


def of_recipe(cell: Cell, label: str, recipe: Recipe) -> Cell:
    """The same cell as that of a recipe, under the label that it goes by."""
    return replace(cell, recipe=label, provenance=provenance_of(recipe))
