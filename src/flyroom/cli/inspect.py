"""The verb that writes logs of Inspect: `flyroom log-export`. Inspect's own verbs ask our models: docs/inspect.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flyroom.terminal import ROOM, AsJson, Purpose, RoomPath, emit, err, legible, require_purpose, table

inspect_app = typer.Typer()


@inspect_app.command(name="log-export")
def log_export(
    to: Annotated[Path, typer.Option(help="The folder that logs are written into.")],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID ...]", help="Starts of ids of cards, cells or organisms.")
    ] = None,
    assessment: Annotated[
        list[Path] | None, typer.Option(help="Also what `flyroom assess --json` printed, in this file.")
    ] = None,
    purpose: Purpose = None,
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Write cards, benches and assessments as logs of Inspect (.eval), for `inspect view`. Needs flyroom[inspect].

    An episode is a sample, a verdict a score. What organisms said leaves the room, so it needs a --purpose.
    """
    from flyroom.inspector import require_inspect
    from flyroom.room import Room

    reason = require_purpose(purpose)
    require_inspect("logs")
    if to.exists() and not to.is_dir():
        raise ValueError(f"to is {to}, which is a file; give a folder")
    store, files = Room(room, create=False).require(), assessment or []  # before what takes long to import
    from flyroom.stages import inspect_logs

    contents = [inspect_logs.read_assessment(path) for path in files]
    inspect_logs.record(store, ids or [], to, purpose=reason)
    rows = inspect_logs.write_all(store, ids or [], to, contents)
    if not as_json:
        table(str(to), rows)
    if not rows:
        err.print(legible(f"{room} holds no card, bench or assessment; make one first: flyroom card --all"))
    err.print(legible(f"open them with: inspect view --log-dir {to}"))
    episodes = sum(row["samples"] for row in rows if row["kind"] != "findings")
    emit({"logs": rows, "episodes": episodes, "purpose": reason, "folder": str(to)}, as_json)
