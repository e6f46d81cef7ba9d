"""The ledger of what came of treatments: the cases that a room holds, what is asked of them, and the rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from flyroom import treat
from flyroom.ledger import Book, Case, ledger
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.benches import by_world, calibration_twins, chosen_detectors
from flyroom.stages.exams import DETECTORS, Exam
from flyroom.stages.graders import open_graders
from flyroom.stages.organisms import stored
from flyroom.stages.patients import paired, require_targets, untreated
from flyroom.stages.redetecting import bench_patients, detect_again, members
from flyroom.stages.treating import EVERY
from flyroom.treat import Course
from flyroom.treatments import treatments as every_treatment
from flyroom.types import Entry, LedgerRow, Organism, Watch, plain


def cases_in(room: Room, base: OpenBase, names: Sequence[str] = (), ids: Sequence[str] | None = None) -> list[Case]:
    """Every organism of the room on this base that was treated, with its twin and both as they were. Of these
    treatments alone, where some are named, and of the organisms whose ids begin so.
    """
    organisms = stored(room, base, ids)
    require_targets(organisms, ids)
    notes = [entry for item in room.list(treat.KIND) if (entry := room.get(treat.KIND, item.key)) is not None]
    cases: list[Case] = []
    _warn_of_strangers(notes)
    for organism, twin in paired(organisms) if untreated(organisms) else ():
        for note in notes:
            course = _course(note)
            if (
                course
                and note.payload["organism"] == course.id_of(organism)
                and course.name in (names or [course.name])
            ):
                cases += _case(course, organism, twin, base, room, note.payload["cost"])
    if not cases:
        given = f" that was given {' or '.join(names)}" if names else ""
        who = f" of {', '.join(ids)}" if ids else ""
        raise ValueError(
            f"{room.root} holds no treated organism{who} on {base.engine.base.name}{given}; "
            f"treat one first: flyroom treat {','.join(names) or 'realign'} {' '.join(ids or ['--all'])}"
        )
    order = list(every_treatment())
    return sorted(cases, key=lambda c: (order.index(c.course.name), c.organism.recipe.name, c.organism.seed))


def _warn_of_strangers(notes: Sequence[Entry]) -> None:
    """Of treatments that are not installed, or not with the settings that they were given with."""
    installed = {name: plain(treatment) for name, treatment in every_treatment().items()}
    names = {x.payload["name"] for x in notes if installed.get(x.payload["name"]) != x.payload["treatment"]}
    if names:
        warnings.warn(f"{', '.join(sorted(names))}: left out, not installed as it was given", stacklevel=3)


def _course(note: Entry) -> Course | None:
    """The course as it was given, with the treatment that has its name now; None where there is none."""
    payload = note.payload
    treatment = every_treatment().get(payload["name"])
    if treatment is None:
        return None
    return Course(name=payload["name"], treatment=treatment, seed=payload["seed"], report=payload["report"])


def _case(
    course: Course, organism: Organism, twin: Organism, base: OpenBase, room: Room, cost: Mapping[str, float]
) -> list[Case]:
    """The case, where both are in the room."""
    models = [treat.find(course, model, base.engine, room) for model in (organism, twin)]
    treated, treated_twin = models
    if treated is None or treated_twin is None:
        return []
    return [Case(course=course, organism=organism, twin=twin, treated=treated, treated_twin=treated_twin, cost=cost)]


def write_ledger(
    cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, watch: Watch | None = None
) -> list[LedgerRow]:
    """A row for each case: see `ledger.ledger`."""
    if exam.detectors:
        cases = detect_again(cases, base, room, exam, watch=watch)
    with open_graders((case.organism.recipe for case in cases), base):
        return ledger(cases, base.engine, room=room, watch=watch, **exam.settings)


def ask_cases(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, shared: bool = False) -> None:
    """All of the ledger but rows and detectors into the room; or as much as treatments share: see `ledger.Book`."""
    with open_graders((case.organism.recipe for case in cases), base):
        Book(base.engine, room=room, **exam.settings).fill(cases, shared=shared)


def train_cases(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, shared: bool = False) -> None:
    """The models that are trained again into the room: see `ledger.Book`."""
    with open_graders((case.organism.recipe for case in cases), base):
        Book(base.engine, room=room, **exam.settings).train(cases, shared=shared)


def grow_thresholds(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, watch: Watch | None) -> None:
    """The calibration twins of a ledger's detectors, where the room has them not."""
    for organisms in by_world(members(cases)).values() if exam.detectors else ():
        calibration_twins(organisms, base, room, n=exam.calibration, watch=watch)


def detect_untreated(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam) -> None:
    """What the detectors of the exam make of organisms and twins as they were, which all treatments share."""
    for organisms in by_world([case.organism for case in cases]).values() if exam.detectors else ():
        ids = {organism.id for organism in organisms}
        models = members([case for case in cases if case.organism.id in ids])
        twins = calibration_twins(models, base, room, n=exam.calibration)
        bench_patients(models, twins, None, base, room, exam)


def detect_cases(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam) -> None:
    """What the detectors of the exam make of these cases into the room. They stand before a detector together, as the
    call that writes the rows has them.
    """
    detect_again(cases, base, room, exam)


def chosen_for_ledger(names: Sequence[str]) -> list[str]:
    """Detectors by name; "all" takes every one that can work without known models, "none" none."""
    if list(names) == ["none"]:
        return []
    return list(chosen_detectors([] if EVERY in names else names or DETECTORS, known=False))
