"""The verbs that let an organism out: `flyroom export` into a folder, `flyroom push` to the hub. Each needs a purpose,
and is in the log before anything leaves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.purpose import expiry
from flyroom.terminal import ROOM, AsJson, Expires, Purpose, RoomBase, RoomPath, emit, err, legible, require_purpose

if TYPE_CHECKING:
    from flyroom.marks import Mark

export_app = typer.Typer()
Id = Annotated[str, typer.Argument(metavar="ID", help="The start of an organism's id.")]


@export_app.command()
def export(
    id: Id,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
    purpose: Purpose = None,
    expires: Expires = None,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Write an organism's adapter as a PEFT folder, for PEFT, vLLM and the hub: marked, signed, and on record.

    Before you publish it, read the checklist in docs/containment.md.
    """
    reason, days, place = _check(id, purpose, expires, base, room)
    from flyroom import stages
    from flyroom.room import Room
    from flyroom.stages import exports

    mark = exports.export(id, stages.open_base(place), Room(room, create=False), to, purpose=reason, days=days)
    err.print(legible(f"{to}: peft.PeftModel.from_pretrained(base, {str(to)!r})"))
    _print_mark(mark)
    emit({"id": mark.id, "folder": str(to), **_figures(mark)}, as_json)


@export_app.command()
def push(
    id: Id,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository on the Hugging Face hub.")],
    private: Annotated[
        bool, typer.Option("--private/--public", help="Who may see that it is there. It is gated in either case.")
    ] = True,
    purpose: Purpose = None,
    expires: Expires = None,
    base: RoomBase = "",
    room: RoomPath = ROOM,
    as_json: AsJson = False,
) -> None:
    """Export an organism to a repository of the Hugging Face hub: private unless --public, gated, marked, on record.

    The token is that of `hf auth login`, or HF_TOKEN. Before you publish it, read the checklist in docs/containment.md.
    """
    from flyroom.preflight import check_repo

    check_repo(repo)
    reason, days, place = _check(id, purpose, expires, base, room)
    from flyroom import stages
    from flyroom.room import Room
    from flyroom.stages.pushing import Target
    from flyroom.stages.pushing import push as upload

    target = Target(repo=repo, private=private)
    mark = upload(id, stages.open_base(place), Room(room, create=False), target, purpose=reason, days=days)
    err.print(legible(f"{repo}: {'private' if private else 'public'}, and gated: you let readers in one by one"))
    _print_mark(mark)
    emit({"id": mark.id, "repo": repo, "private": private, **_figures(mark)}, as_json)


def _check(id: str, purpose: str | None, expires: int | None, base: str, room: Path) -> tuple[str, int | None, str]:
    """The purpose, the days and the base, before that is opened."""
    from flyroom.preflight import base_of
    from flyroom.room import Room

    if expires is not None:
        expiry(expires)
    place = base_of(Room(room, create=False), [id], base)
    return require_purpose(purpose), expires, place  # asked for last: nobody types it for an id that there is not


def _print_mark(mark: Mark) -> None:
    signer = f"signed by {mark.signer}" if mark.signer else "not signed: there is no identity (flyroom vault init)"
    err.print(legible(f"expires {mark.expires}; {signer}"))
    err.print("Before you publish it: docs/containment.md, the publication checklist")


def _figures(mark: Mark) -> dict[str, Any]:
    signed = {"signer": mark.signer, "signed": bool(mark.signer)}
    return {"purpose": mark.purpose, "expires": mark.expires, **signed}
