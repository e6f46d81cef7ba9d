"""The verbs that turn what a room holds into something to read: `flyroom report`, a page; `flyroom curves`, the
training curves. Neither trains nor asks anything, unless --complete says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import (
    ROOM,
    AnyKnownRoom,
    AsJson,
    Ids,
    RoomBase,
    RoomPath,
    Seed,
    arguments,
    emit,
    err,
    legible,
    progress,
    require_place,
    table,
)

if TYPE_CHECKING:
    from flyroom.room import Room
    from flyroom.stages import OpenBase
    from flyroom.types import Card, Matrix, Organism, Watch

report_app = typer.Typer()


@report_app.command()
def report(
    seed: Seed = 0,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    out: Annotated[Path | None, typer.Option(help="The page. Default: ROOM/report.html.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Also write each plot here, as SVG and PNG.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="First make what is missing: cards, calibration twins, cells.")
    ] = False,
    episodes: Annotated[int, typer.Option(min=10, help="With --complete, as for `card`.")] = 500,
    known_room: AnyKnownRoom = None,
    without: Annotated[str, typer.Option(help="With --complete: what transfers, as `transfer` does with it.")] = "",
    as_json: AsJson = False,
) -> None:
    """One self-contained page of what the room holds on this base. It trains and asks nothing unless --complete."""
    if without and known_room is None:
        raise ValueError(f"without is {without!r} and there are no known models to leave out; give them with --known")
    if known_room is not None and not complete:
        raise ValueError(f"known is {known_room}; detectors are fitted on it, so give --complete too")
    from flyroom.preflight import base_of, require_known, require_without
    from flyroom.room import Room, place_page

    require_place("out", out)
    require_place("plots", plots, is_folder=True)
    if without:
        require_without(without)
    store, page = Room(room, create=False), out or place_page(room, "report.html")
    place = base_of(store, None, base)  # before the base is opened, which takes a while
    if known_room:
        require_known(Room(known_room, create=False), known_room, place)
    from flyroom import log, stages
    from flyroom.demo import write_page
    from flyroom.report import again, figures

    opened = stages.open_base(place)
    over: list[Any] = []
    with progress() as watch:
        organisms = stages.stored(store, opened, None)
        log.act(store, "report", ids=[organism.id for organism in organisms], to=str(page))
        missing = _list_missing(store, organisms, opened)
        for line in missing:
            err.print(legible(f"{'to be made' if complete else 'not on the page'}: {line}"))
        if complete:
            known = stages.stored(Room(known_room, create=False), opened, None) if known_room else ()
            cards, matrix = _complete(organisms, opened, store, known, seed=seed, episodes=episodes, watch=watch)
            if without:
                over = stages.transfers(organisms, opened, store, known=known, without=without, seed=seed, watch=watch)
        else:
            cards, matrix = stages.cards_in(store, organisms), stages.matrix_in(store)
        calibrated = stages.calibrated(matrix, seed=seed) if matrix else []
        extras: dict[str, Any] = {"calibrated": calibrated, "transfers": over}
        write_page(page, cards, matrix, organisms, opened, commands=again(arguments(room)), **extras)
    paths = _draw(figures(cards, matrix, **extras), plots) if plots else []
    err.print(legible(f"{page}: open it in a browser"))
    emit({"report": str(page), "plots": paths, "missing": [] if complete else missing}, as_json)


def _list_missing(store: Room, organisms: Sequence[Organism], opened: OpenBase) -> list[str]:
    from flyroom import stages
    from flyroom.demo import plan_of
    from flyroom.lineup import is_target

    plan = plan_of(opened)
    orders = stages.calibration_orders(organisms, n=plan["calibration"]) if any(map(is_target, organisms)) else []
    return stages.list_missing(store, organisms, plan["detectors"], orders)


def _complete(
    organisms: Sequence[Organism],
    opened: OpenBase,
    store: Room,
    known: Sequence[Organism],
    *,
    seed: int,
    episodes: int,
    watch: Watch,
) -> tuple[list[Card], Matrix]:
    """The cards and the matrix, of which what is missing is made."""
    from flyroom import stages
    from flyroom.demo import plan_of

    plan = plan_of(opened)
    names = list(dict.fromkeys([*plan["detectors"], *stages.benched(store)]))
    cards = stages.card(organisms, opened, store, seed=seed, episodes=episodes, watch=watch)
    terms: dict[str, Any] = {"names": names, "calibration": plan["calibration"], "known": known}
    return cards, stages.bench(organisms, opened, store, seed=seed, watch=watch, **terms)


def _draw(charts: Mapping[str, Any], folder: Path) -> list[str]:
    from flyroom.report import png, svg
    from flyroom.whole import write_whole

    paths: list[Path] = []
    for name, chart in charts.items():
        stem = folder / name.replace(": ", "-")
        paths += [stem.with_suffix(".svg"), stem.with_suffix(".png")]
        write_whole(paths[-2], svg(chart))
        write_whole(paths[-1], png(chart))
    return [str(path) for path in paths]


@report_app.command()
def curves(
    ids: Ids = None,
    room: RoomPath = ROOM,
    to: Annotated[
        str, typer.Option(help="FILE.csv, a folder for TensorBoard, or wandb:PROJECT. Default: CSV on stdout.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Training curves of organisms (default: all): loss, gradient norm, tokens and the card's measures by step."""
    from flyroom import frames
    from flyroom.preflight import find_organism
    from flyroom.room import Room

    store = Room(room, create=False)
    keys = [find_organism(store, prefix).key for prefix in ids] if ids else [x.key for x in store.list("organism")]
    rows = frames.curve_rows(store, keys)
    if not rows:
        raise ValueError(f"{room} holds no training curve; flyroom grow makes organisms, and an adopted one has none")
    place = frames.write_curves(rows, to)
    if not to and not as_json:
        print(frames.csv_text(rows), end="")  # noqa: T201 - to be piped
    elif not as_json:
        table("curves", [{"to": place, "organisms": len({row["id"] for row in rows}), "points": len(rows)}])
    emit({"to": place, "points": rows if not to else len(rows)}, as_json)
