"""The verb that shows a room in a browser: `flyroom view`, as a local app or as a folder to host."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from flyroom.terminal import ROOM, AsJson, Purpose, RoomPath, emit, err, legible, progress, require_purpose

view_app = typer.Typer()
Games = Annotated[
    list[Path] | None, typer.Option("--game", help="The folder of a sealed game to play besides; repeatable.")
]
OwnBase = Annotated[str, typer.Option("--base", help="The base to ask organisms on. Default: the one they name.")]


@view_app.command()
def view(
    room: RoomPath = ROOM,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On loopback; 0 takes a free one.")] = 8100,
    bundle: Annotated[
        Path | None, typer.Option(help="Write the pages as a folder of static files instead; needs a --purpose.")
    ] = None,
    purpose: Purpose = None,
    game: Games = None,
    base: OwnBase = "",
    as_json: AsJson = False,
) -> None:
    """A room in a browser: organisms with cards and transcripts, the matrix, ledgers, what grows, chat, a blind test
    and the sealed game. Needs flyroom[view].

    What organisms said is shown once it was said what for: here with --purpose, or on the page.
    """
    if bundle is not None:
        _write(room, bundle, purpose, as_json)
        return
    from flyroom.room import Room

    store = Room(room, create=False).require()  # before what takes long to import
    from flyroom.serve import serving
    from flyroom.stages import viewing
    from flyroom.view import app

    shelf, desk, arcade, door = viewing.open_view(store, base=base, purpose=purpose or "", games=game or ())
    endpoint = app(shelf, desk, arcade, door=door)
    with serving(endpoint, port=port) as address:
        url = f"{address.removesuffix('/v1')}/" + (f"?token={door.token}" if door.token else "")
        err.print(legible(f"{url}: open it in a browser; Ctrl-C ends"))
        emit({"url": url, "room": str(room), "organisms": len(shelf.index.rows), "purpose": door.purpose}, as_json)
        threading.Event().wait()


def _write(room: Path, folder: Path, purpose: str | None, as_json: bool) -> None:
    reason = require_purpose(purpose)
    from flyroom.room import Room

    store = Room(room, create=False).require()
    from flyroom.stages import viewing

    with progress() as watch:
        show = (lambda n, total: watch("bundle", n, total, "")) if watch else None
        result = viewing.bundle(store, folder, purpose=reason, watch=show)
    for name in result["omitted"]:
        err.print(legible(f"{name} is left out: no file can be called so"))
    if not as_json:
        err.print(legible(f"{folder}: {result['files']} files; host it with any web server"))
    emit({"folder": str(folder), "purpose": " ".join(reason.split()), **result}, as_json)
