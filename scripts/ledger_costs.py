"""What a ledger will take, told from one cell: `ledger_matrix.py --plan 1` prints it.

Almost all of a cell is training, and its tokens are known before: 400 steps of harmless re-training and a tenth
of the recipe, for a treated organism and its treated twin. So the plan measures what a token of
training costs on this machine and base, gives one organism every treatment, asks it once, and puts the detectors to it;
the rest is multiplied. Seconds are of one processor. Left out: the growth of organisms that the room lacks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pages import table

from flyroom import stages
from flyroom.adapters import FRESH
from flyroom.grow import growth_of, share_of
from flyroom.ledger import Retraining
from flyroom.ledger.asking import inquiry_of
from flyroom.ledger.retraining import TENTH, benign_rows
from flyroom.room import Room
from flyroom.stages import ledgers, treating
from flyroom.stages.exams import Exam
from flyroom.treat import Course
from flyroom.types import AdapterRef, NotAvailable, Recipe, Row, Step, Stepping

STEPS, SIDE_BY_SIDE = 4, 4  # of the training that is timed: steps, and models
PARTS = ("treat", "train again", "ask", "detect")


def plan(
    base: stages.OpenBase,
    room: Room,
    exam: Exam,
    recipes: Sequence[Recipe],
    seeds: int,
    courses: Sequence[Course],
) -> list[str]:
    """Lines that say what treatments times recipes times seeds take, by part, with detectors and without."""
    organisms = stages.grow(recipes[:1], base, room, seeds=[0])
    treat = _time_treatments(base, room, organisms, courses)
    cases = ledgers.cases_in(room, base, [next(iter(treat))], [organisms[0].id])
    probe = _Probe(base, room, exam, cases)
    count, cells = len(recipes) * seeds, len(recipes) * seeds * len(treat)
    train, untreated = probe.training(recipes)
    ask, detect = probe.asking(recipes[0]), probe.detecting()
    cell = dict(zip(PARTS, (sum(treat.values()) / len(treat), train, ask[0], detect[0]), strict=True))
    once = dict(zip(PARTS, (0.0, untreated, ask[1], detect[1]), strict=True))
    rows = [[part, f"{once[part]:.1f}", f"{cell[part]:.1f}"] for part in PARTS]
    rows += [[f"treat, `{name}`", "-", f"{seconds:.1f}"] for name, seconds in treat.items()]
    lines = table(["seconds of processor time", "once an organism", "a cell, the mean"], rows)
    for what, parts in (("without detectors", PARTS[:-1]), ("with detectors", PARTS)):
        hours = sum(count * once[part] + cells * cell[part] for part in parts) / 3600
        lines.append(
            f"{cells} cells {what}: {hours:.1f} h of processor time, {sum(cell[p] for p in parts):.0f} s a cell."
        )
    share = cell["train again"] / sum(cell[part] for part in PARTS[:-1])
    return [
        *lines,
        f"{100 * share:.0f} % of a cell is training again, which `--follow fallen` spares what did not fall.",
    ]


def _timed(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _time_treatments(
    base: stages.OpenBase, room: Room, organisms: Sequence[Any], courses: Sequence[Course]
) -> dict[str, float]:
    """Seconds of each treatment that can be had here, of an organism and its twin. What the room holds takes none: give
    it a new room.
    """
    seconds: dict[str, float] = {}
    for course in courses:
        try:
            seconds[course.name] = _timed(lambda c=course: treating.treat_all(organisms, [c], base, room))
        except NotAvailable:
            continue
    return seconds


@dataclass(frozen=True, eq=False)
class _Probe:
    """What is timed on one cell."""

    base: stages.OpenBase
    room: Room
    exam: Exam
    cases: Sequence[Any]

    def training(self, recipes: Sequence[Recipe]) -> tuple[float, float]:
        """Seconds of training again: of a cell, the mean over recipes; and of an untreated organism."""
        benign = self.exam.how.rows * self.exam.how.steps[-1] * self._length(benign_rows(recipes[0].world, 64, seed=0))
        implants = [self._implanting(recipe) for recipe in recipes]
        rate = self._rate(benign_rows(recipes[0].world, 64, seed=0))
        whole = rate * (benign + sum(implants) / len(implants))
        return 2 * whole, whole

    def _length(self, rows: Sequence[Row]) -> float:
        """Tokens of a row."""
        renderer = self.base.engine.parts.renderer
        return sum(len(renderer.row(row).ids) for row in rows) / len(rows)

    def _implanting(self, recipe: Recipe) -> float:
        """Tokens of a tenth of the recipe, as its first step has them; of one that begins otherwise, as re-training has
        them.
        """
        steps = sum(share_of(TENTH, implant.steps) for implant in recipe.implants if isinstance(implant, Stepping))
        request = next(growth_of(recipe, AdapterRef(slot=-1, shape=recipe.adapter), seed=0), None)
        if isinstance(request, Step):
            return steps * len(request.rows) * self._length(request.rows)
        return steps * 2 * self.exam.how.rows * self._length(benign_rows(recipe.world, 64, seed=0))

    def _rate(self, rows: Sequence[Row]) -> float:
        """Seconds of a token of training, of several models side by side."""
        engine, size = self.base.engine, self.exam.how.rows
        refs = engine.spawn([FRESH] * SIDE_BY_SIDE, seeds=range(SIDE_BY_SIDE))
        try:
            step = Step(rows=tuple(rows[:size]), lr=self.exam.how.lr)
            engine.step(refs, [step] * len(refs))
            before = engine.tokens_forward
            seconds = _timed(lambda: [engine.step(refs, [step] * len(refs)) for _ in range(STEPS)])
            return seconds / (engine.tokens_forward - before)
        finally:
            engine.free(refs)

    def asking(self, recipe: Recipe) -> tuple[float, float]:
        """Seconds of a cell's questions, and of those to organism and twin as they were."""
        points, brief = len(self.exam.how.steps), replace(self.exam, how=Retraining(steps=(0,)))
        seconds = _timed(lambda: ledgers.ask_cases(self.cases, self.base, self.room, brief, shared=True))
        inquiry = inquiry_of(recipe, episodes=self.exam.episodes, seed=self.exam.seed)
        whole = sum(len(battery.scenes) for battery in inquiry.batteries)
        beginning = sum(len(battery.scenes) for battery in inquiry.questions.beginnings.values())
        rate = seconds / (2 * whole + beginning)
        return rate * (2 * whole + (2 * points + 2) * beginning), rate * (2 * whole + (points + 1) * beginning)

    def detecting(self) -> tuple[float, float]:
        """Seconds of the detectors before whom a treated organism and its twin stand, and of those before; the twins
        that set thresholds are of all organisms, and left out.
        """
        if not self.exam.detectors:
            return 0.0, 0.0
        inputs = self.cases, self.base, self.room, self.exam
        ledgers.grow_thresholds(*inputs, watch=None)
        before = _timed(lambda: ledgers.detect_untreated(*inputs))
        after = _timed(lambda: ledgers.detect_cases(*inputs))
        pair = 2 / (2 + self.exam.calibration)
        return after * pair, before * pair
