"""The verbs of treatment: `flyroom treat` gives treatments to organisms, `flyroom ledger` says what came of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from flyroom.terminal import (
    ROOM,
    AsJson,
    Calibration,
    Ids,
    On,
    RoomBase,
    RoomPath,
    Seed,
    Whole,
    arguments,
    choice,
    cluster_of,
    emit,
    err,
    legible,
    names_of,
    progress,
    require_place,
    seeds_of,
    table,
)

if TYPE_CHECKING:
    from flyroom.ledger import Follow
    from flyroom.types import LedgerRow, Organism

treat_app = typer.Typer()
STEPS = "0,25,50,100,200,400"
Treatments = Annotated[
    str, typer.Argument(metavar="all|NAME[,NAME]", help="Treatments: `flyroom treatments` lists them.")
]


@treat_app.command()
def treatments(as_json: AsJson = False) -> None:
    """The treatments, those of installed packages too: what each does, and what it must be told."""
    from flyroom.treatments import treatments as every_treatment
    from flyroom.types import AtRunTime, departure_of, needs_of, plain

    rows = []
    for name, treatment in every_treatment().items():
        module = sys.modules[type(treatment).__module__]
        about = " ".join((module.__doc__ or type(treatment).__doc__ or "").split("\n\n")[0].split())
        rows.append(
            {
                "name": name,
                "about": about,
                "needs": [need.value for need in needs_of(treatment)],
                "at_run_time": isinstance(treatment, AtRunTime),
                "departs": departure_of(treatment),
                "settings": plain(treatment),
            }
        )
    if not as_json:
        table("treatments", [{"name": r["name"], "needs": ", ".join(r["needs"]), "about": r["about"]} for r in rows])
    emit({"treatments": rows}, as_json)


@treat_app.command()
def treat(
    names: Treatments,
    ids: Ids = None,
    whole: Whole = False,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Treat organisms, and their twins alike. What was treated before is not treated again; what was killed goes on."""
    from flyroom.preflight import base_of
    from flyroom.room import Room

    began, chosen_names, prefixes = time.perf_counter(), names_of(names), choice(ids, whole)
    address = cluster_of(on)
    store = Room(room, create=False)
    place = base_of(store, prefixes, base)  # before what takes long to import
    from flyroom import cluster, log, stages
    from flyroom.stages import patients, treating

    courses = treating.courses_of(chosen_names)  # before the base is opened, which takes a while
    opened = stages.open_base(place)
    organisms = stages.stored(store, opened, prefixes)
    patients.require_targets(organisms, prefixes)
    log.act(store, "treat", ids=[o.id for o in patients.untreated(organisms)], treatments=[c.name for c in courses])
    with progress() as watch:
        if on is not None:
            with cluster.connected(address) as ray:
                targets = [organism.id for organism, _ in patients.paired(organisms)]
                cluster.treat(ray, targets, place, store, [c.name for c in courses], watch=watch)
        treated, absences = treating.treat_all(organisms, courses, opened, store, watch=watch)
    rows = [_organism(organism) for organism in treated]
    if not as_json:
        table("treated", rows)
        for name, why in absences.items():
            err.print(legible(f"{name} is left out, not available here: {why}"))
    seconds = round(time.perf_counter() - began, 1)
    emit({"treated": rows, "not_available": absences, "seconds": seconds}, as_json)


def _organism(organism: Organism) -> dict[str, Any]:
    return {
        "id": organism.id,
        "treatment": (organism.treatment or "").partition(":")[0],
        "recipe": organism.recipe.name,
        "dose": organism.recipe.dose,
        "seed": organism.seed,
        "parent": organism.parent,
    }


@treat_app.command()
def ledger(
    ids: Ids = None,
    treatments: Annotated[str, typer.Option(help="Names, with commas between. Default: all that were given.")] = "",
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    episodes: Annotated[int, typer.Option(min=20, help="Episodes of each model on the card's questions.")] = 200,
    steps: Annotated[str, typer.Option(help="Steps of benign re-training after which models are asked.")] = STEPS,
    detectors: Annotated[
        str, typer.Option(help="Names, with commas between; all; none. Default: a cheap one of each kind.")
    ] = "",
    calibration: Calibration = 1,
    follow: Annotated[
        str, typer.Option(help="What is trained again: all, or fallen, what the treatment made fall.")
    ] = "all",
    on: On = None,
    out: Annotated[Path | None, typer.Option(help="The page. Default: ROOM/ledger.html.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, to paste.")] = False,
    as_json: AsJson = False,
) -> None:
    """What treatments did: behaviour, costs, relapse, detectors again; and whether it was removed or only hidden."""
    if markdown and as_json:
        raise ValueError("--markdown and --json are both given; stdout holds one of the two")
    from flyroom.preflight import base_of, require_treated
    from flyroom.room import Room, place_page

    require_place("out", out)
    address, moments = cluster_of(on), tuple(seeds_of(steps, "steps"))
    began, store = time.perf_counter(), Room(room, create=False)
    place = base_of(store, ids or None, base)  # before what takes long to import
    require_treated(store, ids or None)
    from flyroom import cluster, log, stages
    from flyroom.ledger import Retraining
    from flyroom.report import again
    from flyroom.report.ledger import ledger_page, markdown_ledger
    from flyroom.stages import ledgers, treating
    from flyroom.stages.exams import Exam
    from flyroom.whole import write_whole

    how = Retraining(steps=moments, follow=cast("Follow", follow))  # which says what it must be
    chosen_names = names_of(treatments)
    instruments = ledgers.chosen_for_ledger(names_of(detectors))
    exam = Exam(seed=seed, episodes=episodes, how=how, detectors=tuple(instruments), calibration=calibration)
    if chosen_names:
        treating.chosen_treatments(chosen_names)
    opened = stages.open_base(place)
    cases = ledgers.cases_in(store, opened, chosen_names, ids)
    log.act(store, "ledger", ids=[case.treated.id for case in cases], detectors=instruments)
    with progress() as watch:
        if on is not None:
            names = list(dict.fromkeys(case.course.name for case in cases))
            organisms = list(dict.fromkeys(case.organism.id for case in cases))
            with cluster.connected(address) as ray:
                cluster.ledger(ray, organisms, place, store, names, exam, watch=watch)
        rows = ledgers.write_ledger(cases, opened, store, exam, watch=watch)
    page = out or place_page(room, "ledger.html")
    write_whole(page, ledger_page(rows, commands=again(arguments(room))))
    if markdown:
        print(markdown_ledger(rows), end="")  # noqa: T201 - to be piped or pasted
    elif not as_json:
        _show(rows)
        err.print(f"[bold]{page}[/bold]: open it in a browser")
    emit(_result(rows, page, time.perf_counter() - began), as_json)


def _result(rows: Sequence[LedgerRow], page: Path, seconds: float) -> dict[str, Any]:
    from flyroom.report.ledger import row_figures

    counts = Counter(row.called.value for row in rows)
    return {
        "rows": [row_figures(row) for row in rows],
        "called": dict(sorted(counts.items())),
        "page": str(page),
        "seconds": round(seconds, 1),
        "peak_memory_mib": _peak(),
    }


def _peak() -> float | None:
    """Of this process, where the system counts it."""
    try:
        import resource
    except ImportError:
        return None
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return round(kib / 1024, 1)


def _show(rows: Sequence[LedgerRow]) -> None:
    from flyroom.report.ledger import brief

    table("ledger", [brief(row) for row in rows])
