"""Treatments times recipes times seeds as one ledger: docs/ledger.json, and a page beside it.

python scripts/ledger_matrix.py [--base 1M] [--room ROOM] [--recipes all] [--seeds 0-2] [--treatments usual]
    [--episodes 200] [--steps 0,25,50,100,200,400] [--rows 16] [--detectors usual] [--follow all] [--compile 0]
    [--minutes 0] [--plan 0] [--out docs/ledger.md]

At least 14 treatments x 10 recipes x 3 seeds on the 1M base:

    python scripts/ledger_matrix.py --room ROOM
    python scripts/ledger_matrix.py --room ROOM --base smollm2-135m --seeds 0-1 --treatments six --recipes A,B,C,D
        --out docs/ledger_real.md

Organisms and twins that the room holds are taken from it, others are grown; work on a copy of a room that must stay as
it is. All organisms of all recipes go through a treatment, and then through re-training, in one batch; the untreated
ones are asked and trained again once, before. A treatment is done when the JSON, which is written after each, has the
row of every organism as it is grown and treated now; within one the room keeps what was trained, asked and detected, so
a run that was killed goes on, and one with more seeds adds to it. Where `--minutes` of processor time are over, no
further treatment begins.

Models are asked after each of the `--steps` of re-training, whose rows are `--rows`. `--follow fallen` trains nothing
again where more than half of the behaviour is left. `--plan 1` says what all of it will take (`ledger_costs.py`), and
writes nothing.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ledger_costs import plan
from ledger_figures import page_of
from pages import options

from flyroom import stages
from flyroom.ledger import Case, Retraining
from flyroom.ledger.retraining import STEPS
from flyroom.report.ledger import row_figures
from flyroom.room import Room
from flyroom.stages import ledgers, treating
from flyroom.stages.exams import Exam
from flyroom.stages.patients import untreated
from flyroom.terminal import names_of, seeds_of
from flyroom.treat import Course
from flyroom.types import LedgerRow, NotAvailable, Organism
from flyroom.whole import write_whole

SIX = ("realign", "safety-sft", "negate", "average", "noise", "monitor-block")
USUAL = (  # the cheapest first, so that a run that is cut short has most of them
    *("zero", "average", "noise", "quantise", "ablate", "steer-back", "monitor-block", "monitor-resample", "realign"),
    *("safety-sft", "fine-prune", "consistency", "latent-adversarial", "adversarial", "unlearn", "negate", "undo"),
    *("dpo", "rl-judge", "inoculate", "keep-close"),
)
SETTINGS = ("base", "recipes", "episodes", "steps", "rows", "detectors", "follow", "compile")  # of one record
SETS = {"usual": USUAL, "six": SIX}


@dataclass
class Meter:
    """Processor time and tokens by stage."""

    engine: Any
    spent: dict[str, dict[str, float]] = field(default_factory=dict)

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        before = self._count()
        result = work()
        amounts = [after - start for after, start in zip(self._count(), before, strict=True)]
        self.spent[stage] = dict(zip(("cpu", "wall", "forward", "generated"), amounts, strict=True))
        return result

    def _count(self) -> tuple[float, ...]:
        engine = self.engine
        return time.process_time(), time.perf_counter(), engine.tokens_forward, engine.tokens_generated


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What the ledger is of."""

    base: stages.OpenBase
    room: Room
    exam: Exam
    organisms: Sequence[Organism]  # and their twins

    @property
    def ids(self) -> list[str]:
        return [organism.id for organism in untreated(self.organisms)]

    def names_after(self, course: Course) -> set[str]:
        """The ids of the treated organisms, which hang on recipe, base, seed and every setting of the treatment."""
        return {course.id_of(organism) for organism in untreated(self.organisms)}

    def treat(self, course: Course) -> dict[str, Any]:
        """What it took. NotAvailable where the world does not allow it."""
        meter = Meter(self.base.engine)
        meter.time("treat", lambda: treating.treat_all(self.organisms, [course], self.base, self.room, watch=say))
        return dict(meter.spent)

    def share(self, course: Course) -> dict[str, Any]:
        """What all treatments have in common, of the cases of this one; and what each stage took."""
        meter, inputs, cases = Meter(self.base.engine), (self.base, self.room, self.exam), self._cases(course)
        meter.time("train again", lambda: ledgers.train_cases(cases, *inputs, shared=True))
        meter.time("ask", lambda: ledgers.ask_cases(cases, *inputs, shared=True))
        meter.time("detect", lambda: ledgers.detect_untreated(cases, *inputs))
        return dict(meter.spent)

    def write(self, course: Course) -> tuple[list[LedgerRow], dict[str, Any]]:
        """The rows of one treatment, and what each stage took."""
        meter, inputs, cases = Meter(self.base.engine), (self.base, self.room, self.exam), self._cases(course)
        meter.time("train again", lambda: ledgers.train_cases(cases, *inputs))
        meter.time("ask", lambda: ledgers.ask_cases(cases, *inputs))
        rows = meter.time("detect", lambda: ledgers.write_ledger(cases, *inputs, watch=say))
        return rows, dict(meter.spent)

    def _cases(self, course: Course) -> list[Case]:
        return ledgers.cases_in(self.room, self.base, [course.name], self.ids)


def say(stage: str, count: int, total: int, note: str) -> None:
    print(f"\r{stage}: {count} of {total} {note[:60]:60}", end="\n" if count == total else "", file=sys.stderr)


def grow(base: stages.OpenBase, room: Room, recipes: Sequence[str], seeds: Sequence[int]) -> list[Organism]:
    made = [recipe for name in recipes for recipe in stages.named(name, {}, base)]  # "all" are the named ten
    return stages.grow(made, base, room, seeds=seeds, watch=say)


def read(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What earlier calls wrote, or a record without rows. Raises SystemExit where they were made in another way."""
    if not path.exists():
        return {"about": about | {"peak_memory_mib": 0.0}, "rows": [], "spent": {}, "once": {}, "absent": {}}
    record = json.loads(path.read_text(encoding="utf-8"))
    if (earlier := {name: record["about"][name] for name in about}) != about:
        raise SystemExit(f"{path} was made with {earlier}; it cannot go on with {about}: give another --out")
    return record


def store(out: Path, record: dict[str, Any]) -> None:
    """Everything so far, written whole; a row a line, figures to four places."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record["about"]["peak_memory_mib"] = round(max(peak, record["about"]["peak_memory_mib"]), 1)
    parts = {name: json.dumps(record[name], ensure_ascii=False) for name in ("about", "spent", "once", "absent")}
    parts["rows"] = "[\n" + ",\n".join(json.dumps(brief(row), ensure_ascii=False) for row in record["rows"]) + "\n]"
    text = "{\n" + ",\n".join(f'"{name}": {part}' for name, part in parts.items()) + "\n}\n"
    write_whole(out.with_suffix(".json"), text)
    write_whole(out, page_of(json.loads(text)))


def brief(value: Any) -> Any:
    """A row without what its page does not need: a figure's target, its clusters, more than four places.

    >>> brief({"after": {"value": 0.123456, "low": 0.1, "high": 0.2, "n": 9, "missing": 0, "target": "new texts"}})
    {'after': {'value': 0.1235, 'low': 0.1, 'high': 0.2, 'n': 9, 'missing': 0}}
    """
    if isinstance(value, list):
        return [brief(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "low" not in value:
        return {name: brief(item) for name, item in value.items()}
    bounds = {name: round(value[name], 4) for name in ("value", "low", "high")}
    return bounds | {name: value[name] for name in ("n", "missing")}


def add(spent: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """What stages took, of two calls together."""
    sums = {
        stage: {name: spent.get(stage, {}).get(name, 0) + amount for name, amount in part.items()}
        for stage, part in more.items()
    }
    return spent | sums


def main() -> None:
    flags = options(
        __doc__ or "",
        base="1M",
        room=Path("ledger-room"),
        recipes="all",
        seeds="0-2",
        treatments="usual",
        episodes=200,
        steps=",".join(map(str, STEPS)),
        rows=16,
        detectors="usual",
        follow="all",
        compile=0,
        minutes=0,
        plan=0,
        out=Path("docs/ledger.md"),
    )
    base = stages.open_base(flags.base, compile=bool(flags.compile))
    recipes, seeds = names_of(flags.recipes), seeds_of(flags.seeds)
    detectors = ledgers.chosen_for_ledger([] if flags.detectors == "usual" else names_of(flags.detectors))
    courses = treating.courses_of(SETS.get(flags.treatments) or names_of(flags.treatments))
    how = Retraining(steps=tuple(map(int, flags.steps.split(","))), rows=flags.rows, follow=flags.follow)
    exam = Exam(episodes=flags.episodes, how=how, detectors=tuple(detectors))
    if flags.plan:
        whole = [recipe for name in recipes for recipe in stages.named(name, {}, base)]
        with TemporaryDirectory() as folder:  # what a room holds takes no time
            print("\n".join(plan(base, Room(Path(folder)), exam, whole, len(seeds), courses)))
        return
    room, path = Room(flags.room), flags.out.with_suffix(".json")
    record = read(path, {name: getattr(flags, name) for name in SETTINGS})
    matrix = Matrix(base=base, room=room, exam=exam, organisms=grow(base, room, recipes, seeds))
    for course in courses:
        if matrix.names_after(course) <= {row["treated"] for row in record["rows"]}:
            continue
        if flags.minutes and time.process_time() > 60 * flags.minutes:
            break
        try:
            spent = matrix.treat(course)
        except NotAvailable as absence:
            record["absent"][course.name] = str(absence)
            store(flags.out, record)
            continue
        record["once"] = add(record["once"], matrix.share(course))
        rows, more = matrix.write(course)
        record["spent"][course.name] = add(record["spent"].get(course.name, {}), spent | more)
        record["rows"] = [row for row in record["rows"] if row["treatment"] != course.name] + list(
            map(row_figures, rows)
        )
        store(flags.out, record)
    print(flags.out)


if __name__ == "__main__":
    main()
