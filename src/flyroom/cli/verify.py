"""The verbs that look back: `flyroom log`, what happened in a room and what for; `flyroom verify`, whether signatures
are good; `flyroom scan`, whether a model of unknown origin is an organism.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import ROOM, AsJson, RoomPath, emit, err, legible, span, table

if TYPE_CHECKING:
    from flyroom.log import Line
    from flyroom.log.heads import Head

verify_app = typer.Typer()
Against = Annotated[Path | None, typer.Option(help="A file of heads that were kept of this log. Default: FLYROOM_LOG.")]

# ---------------------------------------------------------------- log


@verify_app.command()
def log(
    room: RoomPath = ROOM,
    note: Annotated[str, typer.Option(help="A note to put on record first.")] = "",
    to: Annotated[
        Path | None, typer.Option(help="A file, best on another machine, to which today's head is added.")
    ] = None,
    against: Against = None,
    as_json: AsJson = False,
) -> None:
    """What happened in the room, when, by whom and what for, each line chained to the one before. Ends with status 1
    where the chain is broken, or is not the one whose head was kept.
    """
    from flyroom import log as logbook
    from flyroom.log import heads
    from flyroom.room import Room

    store = Room(room, create=False).require()  # before what takes long to import
    from flyroom.stages import verifying
    from flyroom.types import plain
    from flyroom.vault import current

    if note:
        logbook.read(store)
        logbook.append(store, logbook.NOTE, {"text": note})
    lines, fault = verifying.read_log(store, against)
    head = heads.head_of(lines, current())
    if to is not None and head is not None and not fault:
        heads.keep(head, to)
    if not as_json:
        table(str(room), [_write_line(line) for line in lines])
        _print_head(head, to if not fault else None)
    entries = [_write_entry(line) for line in lines]
    signed = {"head": head.sha256 if head else "", "signature": head.signature if head else ""}
    record = {"entries": entries, **signed, "signer": head.who if head and head.signature else ""}
    records = [{name: value for name, value in plain(line).items() if name != "is"} for line in lines]
    torn = verifying.count_torn(against)
    if torn:
        err.print(legible(f"{torn} torn lines in the file of heads, as a kill leaves them, were passed over"))
    emit(record | {"intact": not fault, "why": fault, "torn_heads": torn, "lines": records}, as_json)
    if fault:
        raise logbook.LogError(fault)


def _write_entry(line: Line) -> dict[str, Any]:
    ids = _list_ids(line.about)
    return {
        "at": line.at,
        "who": line.who,
        "what": line.what,
        "id": ids[0] if ids else "",
        "purpose": line.purpose,
        "ids": ids,
        "signed": line.is_signed,
    }


def _list_ids(about: Mapping[str, Any]) -> list[str]:
    """The entries that a line is about, whatever kind of line it is."""
    rows = about.get("recipes", ())
    groups = [about.get("ids", ())] + [row.get("organisms", ()) for row in rows if isinstance(row, dict)]
    single = about.get("organism", about.get("plan"))
    return [str(id) for group in [*groups, [single] if single else []] for id in group]


def _write_line(line: Line) -> dict[str, Any]:
    author = f"{line.who[:20]}…" if line.is_signed else f"{line.who or '?'} (unsigned)"
    about = _summarize(line.about)
    purpose = {"purpose": line.purpose}
    return {"line": line.number, "at": line.at, "who": author, "what": line.what, "about": about, **purpose}


def _print_head(head: Head | None, to: Path | None) -> None:
    if head is None:
        err.print("no line yet")
        return
    err.print(legible(f"the last line is {head.sha256}"))
    err.print(legible(f"signed: {head.signature}" if head.signature else "not signed: there is no identity"))
    if to is not None:
        err.print(legible(f"added to {to}"))


def _summarize(about: Mapping[str, Any]) -> str:
    """What a line is about, on a few lines of the terminal."""
    words = {name: value for name, value in about.items() if name not in ("recipes", "organisms", "limits", "base")}
    rows = about.get("recipes", ())
    names = [
        f"{row['name']} at dose {row['dose']:g}, seeds {span(row['seeds'])}" for row in rows if isinstance(row, dict)
    ]
    return "; ".join([*(f"{name} {value}" for name, value in words.items() if value not in ("", [])), *names])


# ---------------------------------------------------------------- verify


@verify_app.command()
def verify(
    path: Annotated[
        Path | None, typer.Argument(help="An export, a game, or a file of `flyroom prereg`. Default: the room.")
    ] = None,
    room: RoomPath = ROOM,
    against: Against = None,
    by: Annotated[str, typer.Option(help="The signer (ed25519:…) whom an export or file must be signed by.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check signatures: of a room's entries, log and pre-registrations, or of an export or a game. Ends with status 1
    where one is bad.
    """
    from flyroom.room import Room

    store = Room(room, create=False).require() if path is None else None  # before what takes long to import
    if path is not None and not path.exists():
        raise ValueError(f"path is {path}; it must be the folder of an export or a game, or a file of `flyroom prereg`")
    from flyroom.stages import verifying

    if store is not None:
        result = verifying.verify_room(store, against)
    else:
        assert path is not None
        result = verifying.verify_path(path, by)
    if not as_json:
        for name, value in result.items():
            err.print(legible(f"{name}: {value}"))
    emit(result, as_json)
    if not result["good"]:
        raise typer.Exit(1)


# ---------------------------------------------------------------- scan


@verify_app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="A folder with an adapter or a checkpoint.")],
    room: Annotated[
        Path | None, typer.Option("--room", envvar="FLYROOM_ROOM", help="Also hold it against this room's organisms.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="The base of a merged checkpoint, for a room from which none left.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Whether an adapter or a merged checkpoint is a model organism that this machine exported, or that says so itself.

    `false` means that no mark and no fingerprint was recognised, never that a model is harmless.
    """
    from flyroom.stages import scans

    findings = scans.scan(folder, room=room, base=base)
    result = {
        "model_organism": findings.is_organism,
        "how": findings.how,
        "id": findings.id,
        "marks": sorted(findings.marks),
        "cosine": findings.match.cosine if findings.match else None,
        "against": findings.against,
        "expires": findings.expires,
        "expired": findings.is_expired,
    }
    verdict = f"a model organism, {findings.id}" if findings.is_organism else "not recognised"
    err.print(legible(f"{folder}: {verdict}; {findings.how}"))
    if findings.is_expired:
        err.print(legible(f"it expired on {findings.expires}: delete it, or export it again for a new purpose"))
    emit(result, as_json)
