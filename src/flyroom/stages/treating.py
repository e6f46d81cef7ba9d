"""Treatments by name: organisms of the room treated beside their twins, and the ledger of what came of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from flyroom import bench as benching
from flyroom import stats, treat
from flyroom.detectors import detectors as every_detector
from flyroom.judges import cached
from flyroom.lab import Material
from flyroom.ledger import EPISODES, Book, Case, Retraining, guard, ledger
from flyroom.lineup import Lineup
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.benches import by_world, calibration_twins, chosen_detectors
from flyroom.stages.graders import open_graders
from flyroom.stages.organisms import stored
from flyroom.stages.patients import Pair, alike, flat, paired, require_targets, untreated
from flyroom.treat import Course
from flyroom.treatments import treatments as every_treatment
from flyroom.types import (
    Cell,
    Entry,
    Estimate,
    LedgerRow,
    Matrix,
    NotAvailable,
    NotMeasured,
    Organism,
    Recipe,
    Treatment,
    Watch,
    plain,
)

# Cheap ones of each kind of access, which are asked again where nobody names any.
DETECTORS = ("output-judge", "mean-difference-probe", "activation-difference", "weight-norm")
EVERY = "all"
Aurocs = dict[str, Estimate | NotMeasured]  # "before", "after", and the "change"
Sides = tuple[list[float], list[float]]  # suspicions of organisms, and of their twins


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


# ---------------------------------------------------------------- treating


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


# ---------------------------------------------------------------- the ledger


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


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What the ledger asks: so many episodes of each model, after how much benign re-training, and which detectors, by
    their names. `calibration` twins set the thresholds of those, and are treated alike; no figure of a row hangs on a
    threshold, so one is enough.
    """

    seed: int = 0
    episodes: int = EPISODES
    how: Retraining = field(default_factory=Retraining)
    detectors: tuple[str, ...] = DETECTORS
    calibration: int = 1

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the ledger, without detectors."""
        return {"seed": self.seed, "episodes": self.episodes, "how": self.how}


def write_ledger(
    cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, watch: Watch | None = None
) -> list[LedgerRow]:
    """A row for each case: see `ledger.ledger`."""
    if exam.detectors:
        cases = _detect(cases, base, room, exam, watch)
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
    for organisms in by_world(_pairs(cases)).values() if exam.detectors else ():
        calibration_twins(organisms, base, room, n=exam.calibration, watch=watch)


def _pairs(cases: Sequence[Case]) -> list[Organism]:
    """Organisms and twins as they were, each once."""
    return list({o.id: o for case in cases for o in (case.organism, case.twin)}.values())


def detect_untreated(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam) -> None:
    """What the detectors of the exam make of organisms and twins as they were, which all treatments share."""
    for organisms in by_world([case.organism for case in cases]).values() if exam.detectors else ():
        ids = {organism.id for organism in organisms}
        models = _pairs([case for case in cases if case.organism.id in ids])
        twins = calibration_twins(models, base, room, n=exam.calibration)
        _bench(models, twins, None, base=base, room=room, exam=exam, watch=None)


def detect_cases(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam) -> None:
    """What the detectors of the exam make of these cases into the room. They stand before a detector together, as the
    call that writes the rows has them.
    """
    _detect(cases, base, room, exam, None)


def chosen_for_ledger(names: Sequence[str]) -> list[str]:
    """Detectors by name; "all" takes every one that can work without known models, "none" none."""
    if list(names) == ["none"]:
        return []
    return list(chosen_detectors([] if EVERY in names else names or DETECTORS, known=False))


# ---------------------------------------------------------------- detectors before and after


def _detect(cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, watch: Watch | None) -> list[Case]:
    """The cases with what detectors make of the organisms of each recipe and of their twins, untreated and treated."""
    results: dict[Case, Case] = {}
    for world in by_world([case.organism for case in cases]).values():
        ids = {organism.id for organism in world}
        group = [case for case in cases if case.organism.id in ids]
        organisms = _pairs(group)
        twins = calibration_twins(organisms, base, room, n=exam.calibration, watch=watch)
        work = partial(_bench, base=base, room=room, exam=exam, watch=watch)
        before = work(organisms, twins, None)
        for label in dict.fromkeys(case.course.label for case in group):
            ward = [case for case in group if case.course.label == label]
            course = ward[0].course
            treated = list({o.id: o for case in ward for o in (case.treated, case.treated_twin)}.values())
            thresholds = treat.treat(twins, course, base.engine, room=room, watch=watch)
            after = work(treated, thresholds, course)
            for recipe_id in dict.fromkeys(case.organism.recipe.id for case in ward):
                alike = [case for case in ward if case.organism.recipe.id == recipe_id]
                aurocs = _compare(before, after, alike, exam.detectors)
                results |= {case: replace(case, detectors=aurocs) for case in alike}
    return [results[case] for case in cases]


def _bench(
    models: Sequence[Organism],
    thresholds: Sequence[Organism],
    course: Course | None,
    *,
    base: OpenBase,
    room: Room,
    exam: Exam,
    watch: Watch | None,
) -> Benched:
    lineup, world = Lineup.of(models, calibration=thresholds), models[0].recipe.world
    material = Material.of(world, seed=exam.seed)
    material = replace(material, judge=cached(material.judge, room))
    engine = base.engine if course is None else guard(base.engine, course, [*models, *thresholds])
    instruments = {name: every_detector()[name] for name in exam.detectors}
    with open_graders((model.recipe for model in models), base):
        matrix = benching.bench(lineup, instruments, engine, material=material, seed=exam.seed, room=room, watch=watch)
    return Benched(matrix, lineup)


@dataclass(frozen=True, eq=False)
class Benched:
    """What detectors made of a lineup."""

    matrix: Matrix
    lineup: Lineup

    def cell(self, detector: str, recipe: Recipe) -> Cell | None:
        names = self.lineup.recipes
        return next((c for c in self.matrix.cells if c.detector == detector and names[c.recipe].id == recipe.id), None)

    def sides(self, cell: Cell, organisms: Sequence[Organism], twins: Sequence[Organism]) -> Sides | None:
        """The suspicions of these organisms of one recipe and of these twins; None where there are none by model, or
        where one of these is a copy of another, which stands in a lineup once.
        """
        if cell.auroc is None or cell.unit != "model":
            return None
        alike = [o.id for o in self.lineup.organisms if o.recipe.id == organisms[0].recipe.id]
        above = dict(zip(alike, cell.suspicions["organisms"], strict=True))
        below = dict(zip((o.id for o in self.lineup.twins), cell.suspicions["twins"], strict=True))
        if not (above.keys() >= {o.id for o in organisms} and below.keys() >= {o.id for o in twins}):
            return None
        return [above[o.id] for o in organisms], [below[o.id] for o in twins]


def _compare(before: Benched, after: Benched, alike: Sequence[Case], names: Sequence[str]) -> dict[str, Aurocs]:
    """By detector how well it tells the organisms of one recipe from their own twins, before and after one treatment:
    of the same models, however many others were in the call.
    """
    twins = list({case.twin.id: case for case in alike}.values())
    recipe, result = alike[0].organism.recipe, dict[str, Aurocs]()
    for name in names:
        cells = [benched.cell(name, recipe) for benched in (before, after)]
        result[name] = {"before": _auroc(cells[0]), "after": _auroc(cells[1])}
        if cells[0] is None or cells[1] is None:
            continue
        old = before.sides(cells[0], [c.organism for c in alike], [c.twin for c in twins])
        new = after.sides(cells[1], [c.treated for c in alike], [c.treated_twin for c in twins])
        if old is not None and new is not None:
            change = stats.auroc_difference(new, old)
            result[name] = {"before": stats.auroc(*old), "after": stats.auroc(*new), "change": change}
    return result


def _auroc(cell: Cell | None) -> Estimate | NotMeasured:
    if cell is None or cell.auroc is None:
        return NotMeasured(why="" if cell is None else cell.error or cell.why)
    return cell.auroc
