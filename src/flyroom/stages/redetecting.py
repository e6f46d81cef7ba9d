"""Detectors on organisms and their twins before a treatment and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from flyroom import bench as benching
from flyroom import stats, treat
from flyroom.detectors import detectors as every_detector
from flyroom.judges import cached
from flyroom.lab import Material
from flyroom.ledger import Case, guard
from flyroom.lineup import Lineup
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.benches import by_world, calibration_twins
from flyroom.stages.exams import Exam
from flyroom.stages.graders import open_graders
from flyroom.treat import Course
from flyroom.types import Cell, Estimate, Matrix, NotMeasured, Organism, Recipe, Watch

Aurocs = dict[str, Estimate | NotMeasured]  # "before", "after", and the "change"
Sides = tuple[list[float], list[float]]  # suspicions of organisms, and of their twins


def detect_again(
    cases: Sequence[Case], base: OpenBase, room: Room, exam: Exam, *, watch: Watch | None = None
) -> list[Case]:
    """The cases with what detectors make of the organisms of each recipe and of their twins, untreated and treated."""
    results: dict[Case, Case] = {}
    for world in by_world([case.organism for case in cases]).values():
        ids = {organism.id for organism in world}
        group = [case for case in cases if case.organism.id in ids]
        organisms = members(group)
        twins = calibration_twins(organisms, base, room, n=exam.calibration, watch=watch)
        work = partial(bench_patients, base=base, room=room, exam=exam, watch=watch)
        before = work(organisms, twins, None)
        for label in dict.fromkeys(case.course.label for case in group):
            ward = [case for case in group if case.course.label == label]
            course = ward[0].course
            treated = list({o.id: o for case in ward for o in (case.treated, case.treated_twin)}.values())
            thresholds = treat.treat(twins, course, base.engine, room=room, watch=watch)
            after = work(treated, thresholds, course)
            for recipe_id in dict.fromkeys(case.organism.recipe.id for case in ward):
                alike = [case for case in ward if case.organism.recipe.id == recipe_id]
                aurocs = compare(before, after, alike, exam.detectors)
                results |= {case: replace(case, detectors=aurocs) for case in alike}
    return [results[case] for case in cases]


def bench_patients(
    models: Sequence[Organism],
    thresholds: Sequence[Organism],
    course: Course | None,
    base: OpenBase,
    room: Room,
    exam: Exam,
    *,
    watch: Watch | None = None,
) -> Benched:
    """What the detectors of the exam make of these models; `course` is the treatment that they had, None for none."""
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


def compare(before: Benched, after: Benched, alike: Sequence[Case], names: Sequence[str]) -> dict[str, Aurocs]:
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


def members(cases: Sequence[Case]) -> list[Organism]:
    """Organisms and twins as they were, each once."""
    return list({o.id: o for case in cases for o in (case.organism, case.twin)}.values())
