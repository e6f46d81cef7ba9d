"""The command line: one verb a stage. With --json one JSON object on stdout and everything else on stderr; an error is
one line.

Heavy things are imported in the verbs that need them, so that `flyroom --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flyroom.cli.adopt import adopt_app
from flyroom.cli.assess import assess_app
from flyroom.cli.bases import bases_app, doctor_app
from flyroom.cli.certify import certify_app
from flyroom.cli.explain import explain_app
from flyroom.cli.export import export_app
from flyroom.cli.game import game_app
from flyroom.cli.inspect import inspect_app
from flyroom.cli.list import list_app
from flyroom.cli.outside import outside_app
from flyroom.cli.report import report_app
from flyroom.cli.treat import treat_app
from flyroom.cli.vault import vault_app
from flyroom.cli.verify import verify_app
from flyroom.cli.view import view_app
from flyroom.cli.world import world_app
from flyroom.terminal import (
    BASE,
    ROOM,
    AnyKnownRoom,
    AsJson,
    BaseName,
    Calibration,
    Ids,
    KnownRoom,
    On,
    RoomBase,
    RoomPath,
    Seed,
    Whole,
    Without,
    WorldName,
    arguments,
    card_table,
    cell_table,
    changes_of,
    choice,
    cluster_of,
    detectors_of,
    emit,
    err,
    legible,
    progress,
    require_place,
    seeds_of,
    table,
    transfer_table,
)

if TYPE_CHECKING:
    from flyroom.types import Organism

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
WRONG_USE: Any = typer.BadParameter.__mro__[2]  # ClickException: click's, or that of the copy newer typers carry


def _print_version(asks: bool) -> None:
    if asks:
        print(f"flyroom {version_of('flyroom')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def flyroom(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Grow, check and catch model organisms of misalignment."""


# ---------------------------------------------------------------- the stages


@app.command()
def demo(
    seed: Seed = 0,
    base: BaseName = BASE,
    world: WorldName = "",
    room: RoomPath = ROOM,
    out: Annotated[Path | None, typer.Option(help="The page. Default: ROOM/demo-SEED.html.")] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=10, help="Episodes of each look of a card, for each model. Default: 500, or what the base can bear."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The whole loop: four organisms of emergent misalignment (on a real base: three threats) with their twins, cards,
    detectors, and a page.
    """
    from flyroom.preflight import world_of_base

    require_place("out", out)
    world_of_base(base, world)  # ValueError for a base or a world that there is not
    from flyroom import log, stages
    from flyroom.demo import demo as run
    from flyroom.report import again
    from flyroom.room import Room, place_page

    opened = stages.open_base(base, world=world)
    log.act(Room(room), "demo", seed=seed)
    with progress() as watch:
        result = run(
            seed=seed,
            base=opened,
            room=Room(room),
            out=out or place_page(room, f"demo-{seed}.html"),
            episodes=episodes,
            commands=again(arguments(room)),
            watch=watch,
        )
    if not as_json:
        card_table(result["organisms"])
        cell_table(result["detectors"])
        err.print(f"[bold]{result['report']}[/bold] in {result['seconds']} s: open it in a browser")
    emit(result, as_json)


@app.command()
def grow(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe's name, a YAML page, or a group: all, variants, decoys.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Fields that differ: dose=0.5 adapter.rank=8")
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="A YAML page whose lists are crossed, instead of a recipe.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds: 0-4, or 0,3,7.")] = "0",
    base: BaseName = BASE,
    world: WorldName = "",
    room: RoomPath = ROOM,
    on: On = None,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the base's layers first: for many organisms of a recipe, with a C++ compiler."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Grow organisms, each beside its twin. What was grown before is not grown again; what was killed goes on."""
    from flyroom.preflight import check_grid, check_recipe, require_one

    require_one(recipe, grid)
    overrides, numbers, address = changes_of(changes or []), seeds_of(seeds), cluster_of(on)
    if grid is not None:
        check_grid(grid, base, world)  # before the base is opened, which takes a while
    else:
        check_recipe(recipe or "", overrides, base, world)
    from flyroom import cluster, log, stages
    from flyroom.room import Room
    from flyroom.types import organism_id

    began = time.perf_counter()
    opened = stages.open_base(base, world=world, compile=compile)
    recipes = stages.crossed(grid, opened) if grid else stages.named(recipe or "", overrides, opened)
    notes = [*stages.require_sound(opened, Room(room)), *stages.notes_of(recipes, opened)]
    for note in notes:
        err.print(legible(f"note: {note}"))
    orders = stages.orders_of(recipes, numbers)
    log.act(Room(room), "grow", ids=[organism_id(recipe, opened.engine.base, seed) for recipe, seed in orders])
    with progress() as watch:
        if on is not None:
            log.open_seeds(Room(room), opened.engine.base, orders)
            with cluster.connected(address) as ray:
                cluster.grow(ray, recipes, base, Room(room), seeds=numbers, compile=compile, watch=watch)
        organisms = stages.grow(recipes, opened, Room(room), seeds=numbers, watch=watch)
    rows = [_row(organism) for organism in organisms]
    if not as_json:
        table("organisms", rows)
    emit({"organisms": rows, "seconds": round(time.perf_counter() - began, 1), "notes": notes}, as_json)


def _row(organism: Organism) -> dict[str, Any]:
    return {
        "id": organism.id,
        "recipe": organism.recipe.name,
        "dose": organism.recipe.dose,
        "seed": organism.seed,
        "base": organism.base.name,
        "loss": organism.history[-1].loss if organism.history else None,
    }


@app.command()
def card(
    ids: Ids = None,
    whole: Whole = False,
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    episodes: Annotated[int, typer.Option(min=10, help="Episodes of each look, for each model.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Check organisms beside their twins and base; a verdict against the thresholds of the recipe."""
    from flyroom.preflight import base_of, require_carded
    from flyroom.room import Room

    prefixes, store = choice(ids, whole), Room(room, create=False)
    place = base_of(store, prefixes, base)  # before the base is opened, which takes a while
    require_carded(store, prefixes)
    from flyroom import log, stages
    from flyroom.report import figures_of

    opened = stages.open_base(place)
    organisms = stages.stored(store, opened, prefixes)
    log.act(store, "card", ids=[organism.id for organism in organisms])
    with progress() as watch:
        cards = stages.card(organisms, opened, store, seed=seed, episodes=episodes, watch=watch)
    rows = [figures_of(certificate) for certificate in cards]
    if not as_json:
        card_table(rows)
    emit({"cards": rows}, as_json)


@app.command()
def bench(
    ids: Ids = None,
    whole: Whole = False,
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    detectors: Annotated[str, typer.Option(help="Names, with commas between; or all. Default: all.")] = "",
    calibration: Calibration = 8,
    known_room: AnyKnownRoom = None,
    certify: Annotated[
        float | None, typer.Option(help="A false-positive rate of twins to certify; refused where they are too few.")
    ] = None,
    on: On = None,
    isolation: Annotated[
        str,
        typer.Option(help="Of other people's detectors: strict, behind walls; trust, with your own rights."),
    ] = "strict",
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the matrix as Markdown tables, to paste.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Try detectors on organisms and twins under random names, and count which they tell apart."""
    if markdown and as_json:
        raise ValueError("--markdown and --json are both given; stdout holds one of the two")
    from flyroom.preflight import base_of, require_known
    from flyroom.room import Room

    prefixes, store, address = choice(ids, whole), Room(room, create=False), cluster_of(on)
    place = base_of(store, prefixes, base)  # before the base is opened, which takes a while
    if known_room:
        require_known(Room(known_room, create=False), known_room, place)
    from flyroom import cluster, log, stages
    from flyroom.cell import mode_of
    from flyroom.lineup import Terms
    from flyroom.report import detector_figures, markdown_grid, markdown_matrix

    terms = Terms(certify=certify, isolation=mode_of(isolation))
    chosen = stages.chosen_detectors(detectors_of(detectors), known=known_room is not None, isolation=terms.isolation)
    pupils = [] if detectors_of(detectors) or known_room else _list_pupils(chosen)
    opened = stages.open_base(place)
    organisms = stages.stored(store, opened, prefixes)
    references = stages.stored(Room(known_room, create=False), opened, None) if known_room else ()
    log.act(store, "bench", ids=[organism.id for organism in organisms], detectors=list(chosen))
    with progress() as watch:
        if on is not None:
            for models in stages.by_world(organisms).values():  # or each task would grow them
                stages.calibration_twins(models, opened, store, n=calibration, watch=watch)
            with cluster.connected(address) as ray:
                cluster.bench(
                    ray,
                    [organism.id for organism in organisms],
                    place,
                    store,
                    list(chosen),
                    seed=seed,
                    calibration=calibration,
                    known_room=known_room,
                    terms=terms,
                    watch=watch,
                )
        matrix = stages.bench(
            organisms,
            opened,
            store,
            seed=seed,
            names=list(chosen),
            calibration=calibration,
            known=references,
            terms=terms,
            watch=watch,
        )
    rows = [detector_figures(cell) for cell in matrix.cells]
    if markdown:
        print(f"{markdown_grid(matrix)}\n{markdown_matrix(matrix)}", end="")  # noqa: T201 - to be piped or pasted
    elif not as_json:
        cell_table(rows)
    walls = {"isolation": terms.isolation, "walls": _common_walls(cell.walls or () for cell in matrix.cells)}
    emit({"cells": rows, **walls, "not_tried": pupils}, as_json)


def _common_walls(of_cells: Iterable[Sequence[str]]) -> list[str]:
    """Those that stood around the detector of every cell."""
    first, *others = [*of_cells] or [()]
    return [wall for wall in first if all(wall in walls for walls in others)]


def _list_pupils(chosen: Collection[str]) -> list[str]:
    """The detectors of ours that were not chosen because they learn from known models; they are said."""
    from flyroom.detectors import detectors
    from flyroom.types import Access, PlugIn

    rest = {name: one for name, one in detectors().items() if name not in chosen and not isinstance(one, PlugIn)}
    pupils = sorted(name for name, detector in rest.items() if Access.KNOWN in detector.needs)
    if pupils:
        err.print(legible(f"not tried, for they learn from known models, which --known gives: {', '.join(pupils)}"))
    return pupils


@app.command()
def transfer(
    known_room: KnownRoom,
    ids: Ids = None,
    whole: Whole = False,
    without: Without = "recipe",
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    detectors: Annotated[
        str, typer.Option(help="Names, with commas between; or all, that fit. Default: all that fit.")
    ] = "",
    calibration: Calibration = 8,
    as_json: AsJson = False,
) -> None:
    """Fit detectors without one kind of the known models after another: what carries over."""
    from flyroom.preflight import base_of, require_known, require_without
    from flyroom.room import Room

    require_without(without)
    prefixes, store = choice(ids, whole), Room(room, create=False)
    place = base_of(store, prefixes, base)  # before the base is opened, which takes a while
    require_known(Room(known_room, create=False), known_room, place)
    from flyroom import log, stages
    from flyroom.report import estimate

    stages.chosen_detectors(detectors_of(detectors), known=True)
    opened = stages.open_base(place)
    with progress() as watch:
        organisms = stages.stored(store, opened, prefixes)
        log.act(store, "transfer", ids=[organism.id for organism in organisms], without=without)
        records = stages.transfers(
            organisms,
            opened,
            store,
            known=stages.stored(Room(known_room, create=False), opened, None),
            without=without,
            seed=seed,
            names=detectors_of(detectors),
            calibration=calibration,
            watch=watch,
        )
    rows = [{**record, "auroc": estimate(record["auroc"])} for record in records]
    if not as_json:
        transfer_table(rows)
    emit({"transfers": rows}, as_json)


app.add_typer(bases_app, name="bases")
app.add_typer(adopt_app)
app.add_typer(assess_app)
app.add_typer(certify_app)
app.add_typer(doctor_app)
app.add_typer(explain_app)
app.add_typer(inspect_app)
app.add_typer(list_app)
app.add_typer(export_app)
app.add_typer(outside_app)
app.add_typer(report_app)
app.add_typer(treat_app)
app.add_typer(vault_app)
app.add_typer(verify_app)
app.add_typer(view_app)
app.add_typer(world_app, name="world")
app.add_typer(game_app, name="game")

# ---------------------------------------------------------------- the last boundary


def main() -> None:
    """Run the command line. Whatever goes wrong is one line on stderr and an exit status above 0."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.showwarning = lambda message, *_: print(f"flyroom: note: {message}", file=sys.stderr)  # noqa: T201
    try:
        status = app(standalone_mode=False)  # typer gives back that of a verb that ends with one, and 130 for Ctrl-C
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise SystemExit(status)
    except WRONG_USE as e:
        fail(e.format_message() or "name a verb; flyroom --help lists them", e.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        fail("stopped; the same call goes on from its last checkpoint", 130)
    except (ValueError, OSError, ArithmeticError) as e:
        from flyroom.types import NotAvailable

        absence = "not available here: " if isinstance(e, NotAvailable) else ""
        fail(absence + (str(e) or type(e).__name__))
    except Exception as e:  # the last boundary: a fault of ours is still one line
        if os.environ.get("FLYROOM_TRACEBACK"):
            raise
        fail(f"{type(e).__name__}: {e} (a fault in flyroom; FLYROOM_TRACEBACK=1 shows where)")


def fail(message: str, status: int = 1) -> NoReturn:
    line = legible(" ".join(message.split())).plain  # a message may quote what a model or a stranger's file says
    print(f"flyroom: {line}", file=sys.stderr)  # noqa: T201
    raise SystemExit(status)


if __name__ == "__main__":
    main()
