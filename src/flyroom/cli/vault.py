"""The verbs of the vault: `flyroom vault`, who may read a room; `check`, whether its files are whole; `rm` and `retain`
take entries out for good. A passphrase is asked for on the terminal, and never stands on a command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flyroom.terminal import ROOM, AsJson, RoomPath, emit, err, legible, table

if TYPE_CHECKING:
    from flyroom.room import Report, Room, Signature
    from flyroom.stages.removing import Removal
    from flyroom.vault import Identity
    from flyroom.vault.keyring import Keyring

vault_app = typer.Typer()
vault = typer.Typer(no_args_is_help=True, help="Who may read a room: encryption to recipients, and their identities.")
recipients = typer.Typer(no_args_is_help=True, help="Who may read the room, and whose signatures it trusts.")
vault.add_typer(recipients, name="recipients")
vault_app.add_typer(vault, name="vault")
IdentityFile = Annotated[
    Path | None,
    typer.Option("--identity", help="An identity file. Default: FLYROOM_IDENTITY, or that of `vault init`."),
]
Words = Annotated[
    list[str], typer.Argument(metavar="RECIPIENT ...", help="age1…, who may read; ed25519:…, who is trusted to sign.")
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]
Purpose = Annotated[str, typer.Option(help="What for; it goes into the log.")]
NEVER = (
    "copies of the room made before, with their own vault.json, for whoever has an identity of that time",
    "blocks that the disk has freed and not yet overwritten, and snapshots of the file system",
)

# ---------------------------------------------------------------- vault


@vault.command()
def init(
    identity: Annotated[Path, typer.Option("--identity", help="The identity file; made where there is none.")],
    room: RoomPath = ROOM,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Protect a new identity file; the passphrase is asked for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt a room to an identity, a new room or one that exists; and every new room from now on.

    Whatever is killed goes on when it is called again. Keep the identity file elsewhere too: without it nobody reads
    the room.
    """
    from flyroom.room import Room, vaults
    from flyroom.vault import Identity
    from flyroom.vault.identity import IdentityError, save_settings, settings

    is_new = not identity.expanduser().exists()
    if identity.expanduser().resolve().is_relative_to(room.resolve()):
        raise ValueError(f"identity is {identity}; it lies in the room {room}, which it opens: give a file elsewhere")
    if is_new and vaults.is_encrypted(room.absolute()):
        raise ValueError(
            f"identity is {identity}; there is no such file, and {room} is encrypted: give one that opens it"
        )
    key = Identity.create(identity, _ask_twice() if passphrase else None) if is_new else _read(identity)
    ring = vaults.encrypt(room.absolute(), key)
    default = None
    with suppress(IdentityError):  # damaged settings are what this verb mends
        default = settings().get("identity")
    save_settings(identity, key.recipient)
    _record(room, key, "encrypted")
    strays = [str(path) for path in vaults.list_strays(room.absolute())]
    pages = vaults.list_pages(room.absolute())
    damaged = [str(path) for path in Room(room, create=False, identity=key).check().corrupt]
    record = {"identity": str(identity), "recipient": key.recipient, "signer": key.signer, "created": is_new}
    files = {"moved": [str(path) for path in pages], "clear": strays, "damaged": damaged}
    emit(record | _describe(room, ring) | files, as_json)
    if not as_json:
        _print_names((key.recipient, key.signer))
    if default not in (None, str(identity.expanduser().absolute())):
        err.print(legible(f"new rooms are for {identity} from now on; before, they were for {default}"))
    if is_new:
        err.print(legible(f"{identity} is the only key to {room}: keep a copy of it elsewhere"))
    for path in damaged:
        err.print(legible(f"{path} is damaged, and stays so"))
    for path in pages:
        err.print(legible(f"{path} is no part of the room and in clear; it was moved beside it"))
    for path in strays:
        err.print(legible(f"{path} is no part of the room and stays in clear"))


@vault.command()
def lock(identity: IdentityFile = None, as_json: AsJson = False) -> None:
    """Remove the open copy of an identity that a passphrase protects."""
    from flyroom.vault.identity import is_locked
    from flyroom.vault.identity import lock as close

    path = _locate(identity)
    if not is_locked(path):
        raise ValueError(
            f"{path} has no passphrase, so it cannot be locked; take the file away, or make one with age -p"
        )
    was_open = close(path)
    emit({"identity": str(path), "was_open": was_open, "locked": True}, as_json)
    if not as_json:
        err.print(legible(f"{path} is locked"))


@vault.command()
def unlock(identity: IdentityFile = None, as_json: AsJson = False) -> None:
    """Ask for the passphrase of an identity, and keep an open copy in memory until `flyroom vault lock`."""
    from flyroom.vault.identity import unlock as open_file

    path = _locate(identity)
    key = open_file(path, _ask)
    emit({"identity": str(path), "recipient": key.recipient, "signer": key.signer, "locked": False}, as_json)
    if not as_json:
        err.print(legible(f"{path} is open until `flyroom vault lock`"))


@vault.command()
def rotate(
    room: RoomPath = ROOM,
    shred: Annotated[
        bool, typer.Option("--shred", help="Encrypt everything anew, and destroy the keys to what was deleted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new epoch: what is written from now on has a key of its own."""
    from flyroom.room import vaults

    key = _find()
    did = "shredded" if shred else "rotated"
    ring = vaults.rotate(room.absolute(), key, shred=shred, before=lambda: _record(room, key, did))
    _report(room, ring, as_json, {"shredded": shred, "remains": list(NEVER) if shred else []})


@recipients.command()
def add(words: Words, room: RoomPath = ROOM, as_json: AsJson = False) -> None:
    """Let others read the room, all of it, and trust their signatures."""
    from flyroom.room import vaults

    key = _find()
    lid = vaults.read_lid(room.absolute())
    fresh = [word for word in words if word not in (*lid.recipients, *lid.signers)]
    ring = vaults.add(
        room.absolute(), words, key, before=lambda: _record(room, key, "recipients added", fresh) if fresh else None
    )
    _report(room, ring, as_json, {})


@recipients.command()
def remove(words: Words, room: RoomPath = ROOM, as_json: AsJson = False) -> None:
    """Take recipients out: a new epoch begins, which they have no key to. They may keep what they could read."""
    from flyroom.room import vaults

    key = _find()
    ring = vaults.remove(room.absolute(), words, key, before=lambda: _record(room, key, "recipients removed", words))
    _report(room, ring, as_json, {})


@recipients.command(name="list")
def list_recipients(room: RoomPath = ROOM, as_json: AsJson = False) -> None:
    """Who may read the room, and whose signatures it trusts. This takes no key."""
    from flyroom.room import vaults

    lid = vaults.read_lid(room.absolute())
    if not as_json:
        _print_names((*lid.recipients, *lid.signers))
    emit({"room": str(room), "recipients": list(lid.recipients), "signers": list(lid.signers)}, as_json)


# ---------------------------------------------------------------- a room's files


@vault_app.command()
def check(room: RoomPath = ROOM, as_json: AsJson = False) -> None:
    """Whether every file of the room is whole: by hashes, and with a key to an encrypted room also by content and by
    signature. Ends with status 1 where something is lost, damaged, misfiled, or badly signed.
    """
    from flyroom.room import Room

    store = Room(room, create=False)
    report = store.check()
    signatures = store.verify() if report.is_read else []
    record = _sum_up(room, report, signatures)
    emit(record, as_json)
    if not as_json:
        table(
            str(room), [{"what": name, "how many": _count(value)} for name, value in record.items() if name != "room"]
        )
    if report.misfiled:
        err.print(legible(f"{room / 'index.sqlite3'} is not what the blobs say; remove that one file: it is rebuilt"))
    if not record["whole"]:
        raise typer.Exit(1)


@vault_app.command()
def rm(
    ids: Annotated[list[str], typer.Argument(metavar="ID ...", help="Starts of ids, of organisms or other entries.")],
    room: RoomPath = ROOM,
    purpose: Purpose = "",
    dry: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Take organisms out for good, with their cards, cells and episodes. In an encrypted room all that stays is then
    encrypted anew, and the keys to what went are destroyed. The log keeps that it was removed.
    """
    from flyroom.room import Room, RoomError

    store = Room(room, create=False).require()  # before what takes long to import
    from flyroom.stages import removing

    try:
        removal = removing.plan_removal(store, ids)
    except RoomError:
        if dry or not all(removing.was_removed(store, prefix) for prefix in ids):
            raise
        removal = removing.Removal(listings=(), remains=())  # a call that was killed before it shredded
    _remove(store, removal, purpose, dry=dry, as_json=as_json)


@vault_app.command()
def retain(
    days: Annotated[float, typer.Option(min=0, help="What is older goes.")],
    room: RoomPath = ROOM,
    purpose: Purpose = "",
    dry: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Take out for good what is older than so many days, as `rm` does. The log stays."""
    from flyroom.room import Room

    store = Room(room, create=False).require()
    from flyroom.stages import removing

    _remove(store, removing.plan_retention(store, days), purpose or f"retain {days:g} days", dry=dry, as_json=as_json)


def _remove(store: Room, removal: Removal, purpose: str, *, dry: bool, as_json: bool) -> None:
    from flyroom.room import vaults
    from flyroom.stages import removing

    is_sealed = vaults.is_encrypted(store.root)
    if not dry:
        removing.remove(store, removal, purpose=purpose)
        if is_sealed:
            vaults.rotate(store.root, _find(), shred=True)
    shreds = "" if is_sealed else "every copy of the room's files: it is not encrypted, so nothing was shredded"
    rows = [{"kind": item.kind, "id": item.key} for item in removal.listings]
    remains = [*removal.remains, *([shreds] if shreds else []), *NEVER]
    emit({"removed": rows, "dry_run": dry, "shredded": is_sealed and not dry, "remains": remains}, as_json)
    if not as_json:
        table("would go" if dry else "removed", rows)
        for line in remains:
            err.print(legible(f"what remains: {line}"))


# ---------------------------------------------------------------- what the verbs share


def _locate(path: Path | None) -> Path:
    from flyroom.vault.identity import explain, locate

    path = path or locate()
    if path is None:
        raise ValueError(explain())
    return path.expanduser().absolute()


def _read(path: Path) -> Identity:
    from flyroom.vault import Identity
    from flyroom.vault.identity import read_open

    return read_open(path.expanduser()) or Identity.read(path, _ask)


def _find() -> Identity:
    """The identity in use; where its file needs a passphrase and is locked, it is asked for."""
    from flyroom.vault import current

    return current() or _read(_locate(None))


def _ask(question: str) -> str:
    from getpass import getpass

    if not err.is_terminal:
        raise ValueError(f"{question.rstrip(': ')} must be typed on a terminal; run `flyroom vault unlock` there first")
    return getpass(question)


def _ask_twice() -> str:
    text = _ask("A passphrase for the new identity: ")
    if len(text) < 8 or text != _ask("Again: "):
        raise ValueError("the passphrase is shorter than 8 characters, or was typed differently the second time")
    return text


def _record(room: Path, key: Identity, what: str, words: Sequence[str] = ()) -> None:
    from flyroom import log
    from flyroom.room import Room

    log.act(Room(room, create=False, identity=key), "vault", did=what, whom=list(words))


def _describe(room: Path, ring: Keyring) -> dict[str, Any]:
    epochs = {"epoch": ring.now.number, "epochs": len(ring.epochs)}
    return {"room": str(room), "encrypted": True, "recipients": ring.recipients, "signers": ring.signers} | epochs


def _report(room: Path, ring: Keyring, as_json: bool, more: dict[str, Any]) -> None:
    emit(_describe(room, ring) | more, as_json)
    if not as_json:
        _print_names((*ring.recipients, *ring.signers))
        for line in more.get("remains", ()):
            err.print(legible(f"what remains: {line}"))


def _print_names(names: Sequence[str]) -> None:
    for name in names:  # whole and one a line, so that they can be copied
        print(name)  # noqa: T201


def _sum_up(room: Path, report: Report, signatures: Sequence[Signature]) -> dict[str, Any]:
    bad = [{"kind": item.kind, "id": item.key} for item in signatures if item.state == "bad"]
    lost = [{"kind": item.kind, "id": item.key} for item in report.lost]
    states = [item.state for item in signatures]
    return {
        "room": str(room),
        "encrypted": report.is_encrypted,
        "read": report.is_read,
        "entries": report.entries,
        "lost": lost,
        "corrupt": [str(path) for path in report.corrupt],
        "orphans": [str(path) for path in report.orphans],
        "misfiled": [str(path) for path in report.misfiled],
        "signed": states.count("signed"),
        "unsigned": states.count("unsigned"),
        "badly_signed": bad,
        "whole": not (lost or report.corrupt or report.misfiled or bad),
    }


def _count(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return len(value) if isinstance(value, list) else value
