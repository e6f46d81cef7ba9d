"""Treatments by name, and organisms of the room treated with them beside their twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from flyroom import treat
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.graders import open_graders
from flyroom.stages.patients import Pair, alike, flat, paired
from flyroom.treat import Course
from flyroom.treatments import treatments as every_treatment
from flyroom.types import NotAvailable, Organism, Treatment, Watch

EVERY = "all"


def chosen_treatments(names: Sequence[str]) -> dict[str, Treatment]:
    """Treatments by name; "all" takes every one. ValueError for a name that there is not."""
    installed = every_treatment()
    for name in names:
        if name != EVERY and name not in installed:
            raise ValueError(f"treatment is {name!r}; it must be all, or of {', '.join(installed)}")
    if not names:
        raise ValueError(f"treatment is missing; name all, or of {', '.join(installed)}")
    return installed if EVERY in names else {name: installed[name] for name in names}


def courses_of(names: Sequence[str], *, seed: int = 0) -> list[Course]:
    """The treatments of these names, each with the seed it is given under. ValueError for a name that there is not."""
    return [Course(name=name, treatment=x, seed=seed) for name, x in chosen_treatments(names).items()]


def treat_all(
    organisms: Sequence[Organism],
    courses: Sequence[Course],
    base: OpenBase,
    room: Room,
    *,
    watch: Watch | None = None,
) -> tuple[list[Organism], dict[str, str]]:
    """Every organism above dose 0 and its twin, treated with each; and by the name of a treatment that could not be
    given, or not to all, why: what a world or the base lacks, or where its training broke down.
    """
    groups = alike(paired(organisms))
    treated: list[Organism] = []
    absences: dict[str, str] = {}
    with open_graders((o.recipe for group in groups.values() for o in flat(group)), base):
        for course in courses:
            work = partial(treat.treat, course=course, engine=base.engine, room=room, watch=watch)
            reasons: dict[str, str] = {}
            for label, group in groups.items():
                treated += _treat_alike(label, group, work, reasons)
            if reasons:
                is_whole = [*reasons] == [*groups] and len(groups) == 1
                texts = [why if is_whole else f"{label}: {why}" for label, why in reasons.items()]
                absences[course.name] = "; ".join(texts)
    if not treated:
        raise NotAvailable("; ".join(f"{name}: {why}" for name, why in absences.items()))
    return treated, absences


def _treat_alike(
    label: str, group: Sequence[Pair], work: Callable[[Sequence[Organism]], list[Organism]], reasons: dict[str, str]
) -> list[Organism]:
    """All of a group at once; where training breaks down pair by pair, for one that fails is no obstacle to others."""
    try:
        return work(flat(group))
    except ValueError as absence:
        reasons[label] = str(absence)
        return []
    except ArithmeticError as failure:
        if len(group) == 1:
            (organism, _), *_ = group
            reasons[f"organism {organism.id}"] = str(failure)
            return []
        return [model for pair in group for model in _treat_alike(label, [pair], work, reasons)]
