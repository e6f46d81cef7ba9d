"""The verbs of certification: `flyroom certify` on seeds that nobody has opened, and `flyroom prereg` before that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import (
    BASE,
    ROOM,
    AsJson,
    BaseName,
    RoomPath,
    WorldName,
    card_table,
    changes_of,
    detectors_of,
    emit,
    err,
    legible,
    names_of,
    progress,
    require_place,
    seeds_of,
    shorten,
    span,
    table,
)

if TYPE_CHECKING:
    from flyroom.log import Opening
    from flyroom.room import Room
    from flyroom.stages.certifying import Certified, Trial

certify_app = typer.Typer()
WORDS = typer.Argument(metavar="RECIPE ... [KEY=VALUE ...]", help="Recipes, YAML pages or groups; fields that differ.")
SEEDS = typer.Option("--seeds", help="Seeds that nobody has opened: 300-309, or 300,305.")
CardSeed = Annotated[int, typer.Option("--card-seed", min=0, help="The seed of what cards ask and sample.")]
Episodes = Annotated[int, typer.Option("--episodes", min=10, help="Episodes of each look, for each model.")]


@certify_app.command()
def certify(
    words: Annotated[list[str], WORDS],
    seeds: Annotated[str, SEEDS],
    base: BaseName = BASE,
    world: WorldName = "",
    room: RoomPath = ROOM,
    card_seed: CardSeed = 0,
    episodes: Episodes = 500,
    as_json: AsJson = False,
) -> None:
    """Grow and card recipes on seeds that nobody has opened: how many of them pass. What was killed goes on."""
    numbers, (names, changes) = seeds_of(seeds), _read_words(words, base, world)
    began, store = time.perf_counter(), _open_room(room)  # before what takes long to import
    from flyroom import stages
    from flyroom.report import figures_of

    opened = stages.open_base(base, world=world)
    recipes = [recipe for name in names for recipe in stages.named(name, changes, opened)]
    trials = stages.trials_of(recipes, opened, seeds=numbers, card_seed=card_seed, episodes=episodes)
    before = stages.opened_before(trials, store) if room.exists() else [{} for _ in trials]
    for trial, seeds_before in zip(trials, before, strict=True):
        _print_plan(trial, seeds_before)
    with progress() as watch:
        rows, cards = stages.certify(trials, opened, store, watch=watch)
    figures = [figures_of(certificate) for certificate in cards]
    if not as_json:
        card_table(figures)
        table("certified", [_write_row(row) for row in rows])
    _print_head(store)
    seconds = round(time.perf_counter() - began, 1)
    emit({"recipes": [_record(row) for row in rows], "cards": figures, "seconds": seconds}, as_json)


def _read_words(words: Sequence[str], base: str, world: str) -> tuple[list[str], dict[str, Any]]:
    """The names of recipes and the changes, checked as far as they can be before the base is opened."""
    from flyroom.preflight import check_recipe

    names = [word for word in words if "=" not in word]
    changes = changes_of([word for word in words if "=" in word])
    if not names:
        raise ValueError(f"recipe is missing beside {shorten(' '.join(words))}; name one, a YAML page, or all")
    for name in names:
        check_recipe(name, changes, base, world)
    return list(dict.fromkeys(names)), changes


def _open_room(path: Path) -> Room:
    """The room, whose log is read before anything that takes long. It is made where there is none yet."""
    from flyroom import log
    from flyroom.room import Room

    room = Room(path)
    if path.exists():
        log.read(room)
    return room


def _print_plan(trial: Trial, before: Mapping[int, Opening]) -> None:
    from flyroom.report.words import write_limit

    limits = (f"{measure} {write_limit(limit)}" for measure, group in trial.limits.items() for limit in group)
    terms = f"{trial.episodes} episodes a look for each model, card seed {trial.card_seed}"
    err.print(
        legible(f"{trial.recipe.name} on {trial.base.name}: seeds {span(trial.seeds)}; {terms}; {', '.join(limits)}")
    )
    for seed, opening in before.items():
        when = f"at {opening.at}, line {opening.number} of the log" if opening.at else "by whom the log does not say"
        err.print(legible(f"  seed {seed} was opened before, {when}: it is in no figure"))


def _record(row: Certified) -> dict[str, Any]:
    from flyroom.report import bare

    return bare(row)


def _write_row(row: Certified) -> dict[str, Any]:
    counts = {"passed": f"{row.passed} of {row.of}", "failed": row.failed, "undecided": row.undecided}
    before = ", ".join(map(str, row.opened_before))
    return (
        {"recipe": row.recipe} | counts | {"of all seeds": f"[{row.low:.2f}, {row.high:.2f}]", "opened before": before}
    )


def _print_head(room: Room) -> None:
    from flyroom import log

    lines = log.read(room)
    err.print(f"log: {len(lines)} lines, the last is {lines[-1].sha256[:16]}…; write that down")


# ---------------------------------------------------------------- announced before


@certify_app.command()
def prereg(
    words: Annotated[list[str] | None, WORDS] = None,
    seeds: Annotated[str | None, SEEDS] = None,
    detectors: Annotated[str, typer.Option(help="Names, with commas between.")] = "",
    base: BaseName = BASE,
    world: WorldName = "",
    room: Annotated[
        Path | None, typer.Option("--room", envvar="FLYROOM_ROOM", help="The room whose log gets the file's hash.")
    ] = None,
    card_seed: CardSeed = 0,
    episodes: Episodes = 500,
    to: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    check: Annotated[Path | None, typer.Option(help="A file to hold against the room and what is installed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what will be done to a file, and its hash into the room's log; or check such a file."""
    if check is not None:
        _check(check, room, as_json)
        return
    if to is None or not seeds:
        raise ValueError(f"{'seeds' if to else 'to'} is missing; give --seeds and --to, or --check and a file")
    require_place("to", to)
    numbers, (names, changes) = seeds_of(seeds), _read_words(words or [], base, world)
    from flyroom import prereg as announcing

    announcing.require_free(to, seeds=numbers, card_seed=card_seed, episodes=episodes)
    from flyroom import stages
    from flyroom.log import openings

    store = _open_room(room) if room else None
    chosen = stages.chosen_detectors(detectors_of(detectors), known=True)  # before the base is opened
    instruments = list(chosen) if names_of(detectors) else []
    opened = stages.open_base(base, world=world)
    plan = stages.announce(
        names, changes, opened, seeds=numbers, card_seed=card_seed, episodes=episodes, detectors=instruments
    )
    sha256 = announcing.write(plan, to)
    line = announcing.put_on_record(plan, to, store) if store else None
    before = announcing.opened_before(plan, openings(store), line.number) if store and line else {}
    for name, late in before.items():
        err.print(legible(f"{name}: seeds {', '.join(map(str, late))} were opened before; no card of theirs names it"))
    err.print(legible(f"{to}: {sha256}" + (f", line {line.number} of the log" if line else "; in no log yet")))
    rows = [
        {"recipe": recipe.name, "id": recipe.id, "opened_before": before.get(recipe.name, [])}
        for recipe in plan.recipes
    ]
    emit({"file": str(to), "sha256": sha256, "line": line.number if line else None, "recipes": rows}, as_json)


def _check(path: Path, room: Path | None, as_json: bool) -> None:
    """Prints what a file says of itself, and ends with status 1 where anything deviates."""
    from flyroom import stages
    from flyroom.room import Room

    if room is None:
        raise ValueError("room is missing; give the one whose log should hold the file's hash")
    result = stages.check_prereg(path, Room(room, create=False))
    line = {"number": result.line.number, "at": result.line.at} if result.line else None
    rows = [row._asdict() for row in result.opened]
    if not as_json:
        title = f"{path}, {result.sha256[:16]}…: " + (
            f"logged at {line['at']}, line {line['number']}" if line else "in no log"
        )
        table(title, [row | {"at": row["at"] or "not opened yet"} for row in rows])
    for deviation in result.deviations:
        err.print(legible(f"deviates: {deviation}"))
    record = {"file": str(path), "sha256": result.sha256, "logged": line, "seeds": rows}
    emit(record | {"deviations": list(result.deviations)}, as_json)
    if result.deviations:
        raise typer.Exit(1)
