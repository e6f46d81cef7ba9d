"""Treatments times recipes times seeds as one ledger: docs/ledger.json, docs/ledger.html and a page beside them.

python scripts/ledger_matrix.py [--base 1M] [--room ROOM] [--recipes all] [--seeds 0-2] [--treatments usual]
    [--episodes 200] [--detectors usual] [--minutes 0] [--plan 0] [--out docs/ledger.md]

At least 14 treatments x 10 recipes x 3 seeds on the 1M base:

    python scripts/ledger_matrix.py --room ROOM
    python scripts/ledger_matrix.py --room ROOM --base smollm2-135m --seeds 0-1 --treatments six --recipes A,B,C,D
        --out docs/ledger_real.md

Organisms and twins that the room holds are taken from it, others are grown; work on a copy of a room that must stay as
it is. All organisms of all recipes go through a treatment, and then through re-training, in one batch; the untreated
ones are asked and trained again once. A treatment is done when its rows are in the JSON, which is written after each;
within one the room keeps what was trained, asked and detected, so a run that was killed goes on. Where `--minutes` of
processor time are over, no further treatment begins. `--plan 1` gives only the first organism of each recipe every
treatment, says what that took, and what all of them will take.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pages import options, table

from flyroom import stages
from flyroom.report import write_page
from flyroom.report.ledger import ledger_page, row_figures
from flyroom.room import Room
from flyroom.stages import treating
from flyroom.terminal import names_of, seeds_of
from flyroom.treat import Course
from flyroom.types import LedgerRow, NotAvailable, Organism

SIX = ("realign", "safety-sft", "negate", "average", "noise", "monitor-block")
USUAL = (  # the cheapest first, so that a run that is cut short has most of them
    *("average", "noise", "quantise", "ablate", "steer-back", "monitor-block", "monitor-resample", "realign"),
    *("safety-sft", "fine-prune", "consistency", "latent-adversarial", "adversarial", "unlearn", "negate", "undo"),
    *("dpo", "rl-judge", "inoculate", "keep-close"),
)
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
    exam: treating.Exam
    organisms: Sequence[Organism]  # and their twins

    def write(self, course: Course) -> tuple[list[LedgerRow], dict[str, Any]]:
        """The rows of one treatment, and what each stage took."""
        meter, targets = Meter(self.base.engine), [o.id for o in treating.untreated(self.organisms)]
        base, room = self.base, self.room
        try:
            meter.time("treat", lambda: treating.treat_all(self.organisms, [course], base, room, watch=say))
        except NotAvailable as absence:
            return [], {"absent": str(absence)}
        cases = treating.cases_in(room, base, [course.name], targets)
        meter.time("ask and train again", lambda: treating.ask_cases(cases, base, room, self.exam))
        rows = meter.time("detect", lambda: treating.write_ledger(cases, base, room, self.exam, watch=say))
        return rows, dict(meter.spent)


def seconds_of(spent: dict[str, Any]) -> dict[str, float]:
    """Of processor time, by stage."""
    return {stage: part["cpu"] for stage, part in spent.items() if stage != "absent"}


def say(stage: str, count: int, total: int, note: str) -> None:
    print(f"\r{stage}: {count} of {total} {note[:60]:60}", end="\n" if count == total else "", file=sys.stderr)


def grow(base: stages.OpenBase, room: Room, recipes: Sequence[str], seeds: Sequence[int]) -> list[Organism]:
    made = [recipe for name in recipes for recipe in stages.named(name, {}, base)]  # "all" are the named ten
    return stages.grow(made, base, room, seeds=seeds, watch=say)


def store(out: Path, about: dict[str, Any], content: dict[str, Any], rows: Sequence[LedgerRow]) -> None:
    """Everything so far, written whole."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {"about": about | {"peak_memory_mib": round(peak, 1)}, **content}
    draft = out.with_suffix(".part")
    draft.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out.with_suffix(".json"))
    out.write_text(page_of(record), encoding="utf-8")
    if rows:
        write_page(out.with_suffix(".html"), ledger_page(rows, commands=[" ".join(sys.argv)]))


def page_of(record: dict[str, Any]) -> str:
    """What each treatment came to over recipes and seeds, and what it took."""
    about, rows = record["about"], record["rows"]
    words = ("removed", "suppressed", "hidden", "nothing", "undecided")
    lines = []
    for name, spent in record["spent"].items():
        group = [row for row in rows if row["treatment"] == name]
        counts = Counter(row["called"] for row in group)
        lines.append(
            [f"`{name}`", len(group), *(counts[w] for w in words), f"{sum(seconds_of(spent).values()) / 60:.1f}"]
        )
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    kinds = [[r, *(Counter(x["called"] for x in rows if x["recipe"] == r)[word] for word in words)] for r in recipes]
    total = sum(sum(seconds_of(spent).values()) for spent in record["spent"].values()) / 60
    return (
        "\n".join(
            [
                f"# The ledger on {about['base']}",
                "",
                f"Made by `{about['command']}`: {len(rows)} rows, {total:.0f} minutes of processor time, "
                f"{about['peak_memory_mib'] / 1024:.1f} GiB at most.",
                "What the words mean stands in [treatments.md](treatments.md); the JSON beside this page has every",
                "figure with its interval.",
                "",
                *table(["treatment", "rows", *words, "minutes of processor time"], lines),
                *table(["recipe", *words], kinds),
            ]
        ).rstrip()
        + "\n"
    )


def plan(matrix: Matrix, courses: Sequence[Course], whole: int) -> None:
    """What one cell of each treatment takes, and so all of them."""
    total, lines = 0.0, []
    cells = len(treating.untreated(matrix.organisms))
    for course in courses:
        _, spent = matrix.write(course)
        seconds = {stage: value / cells for stage, value in seconds_of(spent).items()}
        total += sum(seconds.values())
        lines.append([f"`{course.name}`", *(f"{value:.1f}" for value in seconds.values())])
        print("\n".join(table(["treatment", *seconds], [lines[-1]])), flush=True)
    print("\n".join(table(["seconds a cell", "treat", "ask and train again", "detect"], lines)))
    print(f"about {total * whole / 60:.0f} minutes of processor time for {whole} cells of each treatment")


def main() -> None:
    given = options(
        __doc__ or "",
        base="1M",
        room=Path("ledger-room"),
        recipes="all",
        seeds="0-2",
        treatments="usual",
        episodes=200,
        detectors="usual",
        minutes=0,
        plan=0,
        out=Path("docs/ledger.md"),
    )
    base, room, seeds = stages.open_base(given.base), Room(given.room), seeds_of(given.seeds)
    recipes = names_of(given.recipes)
    detectors = treating.chosen_for_ledger([] if given.detectors == "usual" else names_of(given.detectors))
    courses = treating.courses_of(SETS.get(given.treatments) or names_of(given.treatments))
    exam = treating.Exam(episodes=given.episodes, detectors=tuple(detectors))
    organisms = grow(base, room, recipes, seeds[:1] if given.plan else seeds)
    matrix = Matrix(base=base, room=room, exam=exam, organisms=organisms)
    if given.plan:
        plan(matrix, courses, len(treating.untreated(organisms)) * len(seeds))
        return
    about = {"base": given.base, "command": " ".join(["python", "scripts/ledger_matrix.py", *sys.argv[1:]])}
    old = given.out.with_suffix(".json")
    content: dict[str, Any] = {"rows": [], "spent": {}}
    if old.exists() and (record := json.loads(old.read_text(encoding="utf-8")))["about"]["command"] == about["command"]:
        content = {key: record[key] for key in content}
    every: list[LedgerRow] = []
    for course in courses:
        if course.name in content["spent"] or (given.minutes and time.process_time() > 60 * given.minutes):
            continue
        rows, spent = matrix.write(course)
        every += rows
        content["rows"] += [row_figures(row) for row in rows]
        content["spent"][course.name] = spent
        store(given.out, about, content, every)
    print(given.out)


if __name__ == "__main__":
    main()
