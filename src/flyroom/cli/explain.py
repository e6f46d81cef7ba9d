"""The verb `flyroom explain`: why an organism does what it does, as JSON and as a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from flyroom.terminal import (
    ROOM,
    AsJson,
    RoomBase,
    RoomPath,
    arguments,
    changes_of,
    emit,
    err,
    interval,
    legible,
    names_of,
    progress,
    seeds_of,
    table,
)

explain_app = typer.Typer()
WORDS = typer.Argument(
    metavar="ID ... [KEY=VALUE ...]",
    help="Starts of organism ids, and what is measured otherwise: episodes=500 against=self steps=10-40 span=5",
)


@explain_app.command()
def explain(
    words: Annotated[list[str] | None, WORDS] = None,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    parts: Annotated[str, typer.Option(help="Names, with commas between. Default: all.")] = "",
    out: Annotated[Path | None, typer.Option(help="The page. Default: ROOM/explain-ID.html.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain organisms: directions, ablation, how they came, what adapters read and write. What was killed goes on."""
    ids, changes = _read_words(words or [])
    from flyroom.preflight import base_of
    from flyroom.room import Room, place_page

    began, store = time.perf_counter(), Room(room, create=False)
    place = base_of(store, ids, base)  # before what takes long to import
    from flyroom import log, stages
    from flyroom.report import again, explained_page
    from flyroom.stages.explaining import check_parts, scope_of
    from flyroom.stages.explaining import explain as run
    from flyroom.whole import write_whole

    scope, names = scope_of(changes), check_parts(names_of(parts))
    opened = stages.open_base(place)
    log.act(store, "explain", ids=ids)
    with progress() as watch:
        records = run(store, opened, ids, scope=scope, parts=names, watch=watch)
    page = out or place_page(room, f"explain-{records[0]['organism']}.html")
    write_whole(page, explained_page(records, commands=again(arguments(room))))
    if not as_json:
        _print(records)
    err.print(legible(f"{page}: open it in a browser"))
    beside = {"others": records[1:]} if records[1:] else {}
    emit(records[0] | beside | {"report": str(page), "seconds": round(time.perf_counter() - began, 1)}, as_json)


def _read_words(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Ids, and the changes of the scope; steps may be written as ranges."""
    ids = [word for word in words if "=" not in word]
    if not ids:
        raise ValueError("ids is empty; name an organism by the start of its id: `flyroom ls` shows them")
    pairs = [word for word in words if "=" in word]
    ranges = [word for word in pairs if word.startswith("steps=") and "[" not in word]
    steps = {"steps": seeds_of(word.removeprefix("steps="))} if (word := next(iter(ranges[-1:]), "")) else {}
    return ids, changes_of([pair for pair in pairs if pair not in ranges]) | steps


def _print(records: list[dict[str, Any]]) -> None:
    from flyroom.report import brief

    for record in records:
        lines = [
            {"figure": line.name, "value": interval(dict(line.value)), "why": line.value.get("why", "")}
            for line in brief(record)
        ]
        table(f"{record['recipe']}, seed {record['seed']}, {record['organism']}", lines)
