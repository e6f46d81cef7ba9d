"""Treatments times recipes times seeds as one ledger: docs/ledger.json, docs/ledger.html and a page beside them.

python scripts/ledger_matrix.py [--base 1M] [--room ROOM] [--recipes all] [--seeds 0-2] [--treatments usual]
    [--episodes 200] [--detectors usual] [--follow all] [--compile 0] [--minutes 0] [--plan 0] [--out docs/ledger.md]

At least 14 treatments x 10 recipes x 3 seeds on the 1M base:

    python scripts/ledger_matrix.py --room ROOM
    python scripts/ledger_matrix.py --room ROOM --base smollm2-135m --seeds 0-1 --treatments six --recipes A,B,C,D
        --out docs/ledger_real.md

Organisms and twins that the room holds are taken from it, others are grown; work on a copy of a room that must stay as
it is. All organisms of all recipes go through a treatment, and then through re-training, in one batch; the untreated
ones are asked and trained again once, before. A treatment is done when its rows are in the JSON, which is written
after each; within one the room keeps what was trained, asked and detected, so a run that was killed goes on. Where
`--minutes` of processor time are over, no further treatment begins. `--follow fallen` trains nothing again where more
than half of the behaviour is left. `--plan 1` says what all of it will take (`ledger_costs.py`), and writes nothing.
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
from tempfile import TemporaryDirectory
from typing import Any

from ledger_costs import plan
from pages import options, table

from flyroom import stages
from flyroom.ledger import Retraining
from flyroom.report.ledger import ledger_page, row_figures
from flyroom.room import Room
from flyroom.stages import treating
from flyroom.stages.patients import untreated
from flyroom.terminal import names_of, seeds_of
from flyroom.treat import Course
from flyroom.types import LedgerRow, NotAvailable, Organism
from flyroom.whole import write_whole

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

    @property
    def ids(self) -> list[str]:
        return [organism.id for organism in untreated(self.organisms)]

    def share(self, course: Course) -> dict[str, Any]:
        """What all treatments have in common, of the cases of any of them; and what each stage took."""
        meter, inputs = Meter(self.base.engine), (self.base, self.room, self.exam)
        try:
            treating.treat_all(self.organisms, [course], self.base, self.room, watch=say)
        except NotAvailable:
            return {}  # the next treatment then
        cases = treating.cases_in(self.room, self.base, [course.name], self.ids)
        meter.time("train again", lambda: treating.train_cases(cases, *inputs, shared=True))
        meter.time("ask", lambda: treating.ask_cases(cases, *inputs, shared=True))
        meter.time("detect", lambda: treating.detect_untreated(cases, *inputs))
        return dict(meter.spent)

    def write(self, course: Course) -> tuple[list[LedgerRow], dict[str, Any]]:
        """The rows of one treatment, and what each stage took."""
        meter, inputs = Meter(self.base.engine), (self.base, self.room, self.exam)
        try:
            meter.time("treat", lambda: treating.treat_all(self.organisms, [course], self.base, self.room, watch=say))
        except NotAvailable as absence:
            return [], {"absent": str(absence)}
        cases = treating.cases_in(self.room, self.base, [course.name], self.ids)
        meter.time("train again", lambda: treating.train_cases(cases, *inputs))
        meter.time("ask", lambda: treating.ask_cases(cases, *inputs))
        rows = meter.time("detect", lambda: treating.write_ledger(cases, *inputs, watch=say))
        return rows, dict(meter.spent)


def seconds_of(spent: dict[str, Any]) -> dict[str, float]:
    """Of processor time, by stage."""
    return {stage: part["cpu"] for stage, part in spent.items() if stage != "absent"}


def say(stage: str, count: int, total: int, note: str) -> None:
    print(f"\r{stage}: {count} of {total} {note[:60]:60}", end="\n" if count == total else "", file=sys.stderr)


def grow(base: stages.OpenBase, room: Room, recipes: Sequence[str], seeds: Sequence[int]) -> list[Organism]:
    made = [recipe for name in recipes for recipe in stages.named(name, {}, base)]  # "all" are the named ten
    return stages.grow(made, base, room, seeds=seeds, watch=say)


def store(out: Path, about: dict[str, Any], content: dict[str, Any]) -> None:
    """Everything so far, written whole."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {"about": about | {"peak_memory_mib": round(peak, 1)}, **content}
    draft = out.with_suffix(".part")
    draft.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out.with_suffix(".json"))
    out.write_text(page_of(record), encoding="utf-8")


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
    shared = sum(seconds_of(record["once"]).values()) / 60
    total = sum(sum(seconds_of(spent).values()) for spent in record["spent"].values()) / 60 + shared
    return (
        "\n".join(
            [
                f"# The ledger on {about['base']}",
                "",
                f"Made by `{about['command']}`: {len(rows)} rows, {total:.0f} minutes of processor time, "
                f"{shared:.0f} of them for what treatments share, {about['peak_memory_mib'] / 1024:.1f} GiB at most.",
                "What the words mean stands in [treatments.md](treatments.md); the JSON beside this page has every",
                "figure with its interval.",
                "",
                *table(["treatment", "rows", *words, "minutes of processor time"], lines),
                *table(["recipe", *words], kinds),
            ]
        ).rstrip()
        + "\n"
    )


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
        follow="all",
        compile=0,
        minutes=0,
        plan=0,
        out=Path("docs/ledger.md"),
    )
    base = stages.open_base(given.base, compile=bool(given.compile))
    recipes, seeds = names_of(given.recipes), seeds_of(given.seeds)
    detectors = treating.chosen_for_ledger([] if given.detectors == "usual" else names_of(given.detectors))
    courses = treating.courses_of(SETS.get(given.treatments) or names_of(given.treatments))
    exam = treating.Exam(episodes=given.episodes, how=Retraining(follow=given.follow), detectors=tuple(detectors))
    if given.plan:
        whole = [recipe for name in recipes for recipe in stages.named(name, {}, base)]
        with TemporaryDirectory() as folder:  # what a room holds takes no time
            print("\n".join(plan(base, Room(Path(folder)), exam, whole, len(seeds), courses)))
        return
    room = Room(given.room)
    matrix = Matrix(base=base, room=room, exam=exam, organisms=grow(base, room, recipes, seeds))
    about = {"base": given.base, "command": " ".join(["python", "scripts/ledger_matrix.py", *sys.argv[1:]])}
    old = given.out.with_suffix(".json")
    content: dict[str, Any] = {"rows": [], "spent": {}, "once": {}}
    if old.exists() and (record := json.loads(old.read_text(encoding="utf-8")))["about"]["command"] == about["command"]:
        content = {key: record[key] for key in content}
    every: dict[str, list[LedgerRow]] = {}
    for course in courses:
        if course.name in content["spent"] or (given.minutes and time.process_time() > 60 * given.minutes):
            continue
        content["once"] = content["once"] or matrix.share(course)
        every[course.name], content["spent"][course.name] = matrix.write(course)
        content["rows"] += [row_figures(row) for row in every[course.name]]
        store(given.out, about, content)
    for course in courses:  # what another process wrote is read from the room again, for the page
        if course.name in content["spent"] and course.name not in every:
            every[course.name], _ = matrix.write(course)
    rows = [row for group in every.values() for row in group]
    write_whole(given.out.with_suffix(".html"), ledger_page(rows, commands=[about["command"]]))
    print(given.out)


if __name__ == "__main__":
    main()
