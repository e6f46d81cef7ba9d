"""What is done to a whole room: it becomes encrypted, its readers change, what was deleted is shredded.

Each of these can be killed at any moment and is finished by the next to come who has the key, for the room says itself
what is under way. A room with a keyring and the format of a clear one is being encrypted: every blob of it is, one
after the other, and where two copies of one are left of a kill, one goes at the end. A keyring that says "shred" has
begun an epoch to which every blob is moved; then the secrets of the epochs before are destroyed, so that no copy of
what was deleted can be read with the keys that remain.

Whoever is at it holds a lock, and others wait. The keyring is replaced and the index written anew in one exclusive
transaction: nobody reads or writes meanwhile, and whoever staged something under the keyring before writes it again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flyroom.room import index, opening
from flyroom.room.files import RoomError, explain, is_age, stamp, sync
from flyroom.room.folder import FOLDERS, Folder
from flyroom.room.seals import Row, Sealed
from flyroom.room.store import Room
from flyroom.vault import Identity, keyring
from flyroom.vault.identity import parse_recipient
from flyroom.vault.keyring import Keyring
from flyroom.whole import hash_file

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = {*FOLDERS, "format", "vault.json", "index.sqlite3", "index.sqlite3-journal"}
Before = Callable[[], object]
BATCH = 16  # blobs that are moved to a new epoch in one transaction


def encrypt(root: Path, identity: Identity) -> Keyring:
    """Make a folder an encrypted room, and a clear room an encrypted one; return its keyring.

    Files in the folder that are no part of a room, such as the demo's page, are moved to a folder beside it
    (`opening.find_pages`): they are in clear. Raises RoomError where the room is encrypted and not to this identity.
    """
    folder = Folder(root)
    with explain(root, "the room's keyring"):
        if not folder.marker.exists():
            _make(folder, identity)
        elif stamp(folder.keyring) is None:
            _begin_to_encrypt(folder, identity)
        ring = find_keyring(root, identity)
        _move_pages(root)
    return ring


def _begin_to_encrypt(folder: Folder, identity: Identity) -> None:
    room = Room(folder.root, create=False, identity=identity)
    room._open()
    with folder.hold("vault"):
        if stamp(folder.keyring) is None:
            with room._hold_index(), room._begin("EXCLUSIVE"):  # nobody is in the middle of reading or writing
                folder.replace(folder.keyring, keyring.wrap(keyring.make(identity), identity))


def _move_pages(root: Path) -> None:
    pages = opening.find_pages(root)
    for path in list_strays(root):
        pages.mkdir(mode=0o700, exist_ok=True)
        name = path.name if not (pages / path.name).exists() else f"{path.name}.{uuid.uuid4().hex[:8]}"
        shutil.move(path, pages / name)


def read_lid(root: Path) -> keyring.Lid:
    """What a room's keyring says to anybody. Raises RoomError where the room has none."""
    folder = Folder(root)
    if not folder.marker.exists():
        raise RoomError(f"there is no room at {root}")
    if not is_encrypted(root):
        raise RoomError(f"{root} is not encrypted; run `flyroom vault init --room {root} --identity FILE`")
    return opening.read_lid(folder)


def is_encrypted(root: Path) -> bool:
    """Whether a room has a keyring, without which it is in clear."""
    return stamp(Folder(root).keyring) is not None


def list_pages(root: Path) -> list[Path]:
    """The clear files beside an encrypted room, which were in its folder once."""
    pages = opening.find_pages(root)
    return sorted(pages.iterdir()) if pages.is_dir() else []


def list_strays(root: Path) -> list[Path]:
    """What lies in a room's folder and is no part of the room: nobody encrypts it."""
    return [path for path in sorted(root.iterdir()) if path.name not in PARTS]


def _make(folder: Folder, identity: Identity) -> None:
    if folder.root.exists() and {path.name for path in folder.root.iterdir()} - opening.OWN:
        raise RoomError(f"{folder.root} is not a room: it holds other files. Give an empty folder, or a room.")
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.make("staged", "locks")
    with folder.hold("vault"):
        if not folder.keyring.exists():
            opening.put_first_keyring(folder, identity)
        if not folder.marker.exists():
            folder.replace(folder.marker, f"flyroom room {opening.SEALED}\n".encode())


def add(root: Path, words: Sequence[str], identity: Identity, *, before: Before = lambda: None) -> Keyring:
    """Let recipients (`age1…`) read the room, and trust signers (`ed25519:…`). `before` is called once nothing speaks
    against it, and what it raises leaves the room as it was; here and below.
    """
    recipients, signers = _sort(words)

    def change(ring: Keyring) -> Keyring:
        return replace(
            ring,
            recipients=tuple(dict.fromkeys((*ring.recipients, *recipients))),
            signers=tuple(dict.fromkeys((*ring.signers, *signers))),
        )

    return _publish(root, identity, change, before)


def remove(root: Path, words: Sequence[str], identity: Identity, *, before: Before = lambda: None) -> Keyring:
    """Take recipients out, for whom nothing that is written from now on is readable, and signers.

    Raises RoomError for whoever is not among them, and for the identity itself: nobody could undo that.
    """
    recipients, signers = _sort(words)
    if identity.recipient in recipients:
        raise RoomError(f"{identity.recipient} is your own; let another recipient remove it")
    if identity.signer in signers:  # a line of the log says so, and nobody vouches for having counted himself
        raise RoomError(f"{identity.signer} is your own; let another signer remove it")

    def change(ring: Keyring) -> Keyring:
        strangers = [word for word in words if word not in (*ring.recipients, *ring.signers)]
        if strangers:
            raise RoomError(f"{strangers[0]} is not among the room's recipients and signers")
        ring = ring.begin() if recipients else ring
        return replace(
            ring,
            recipients=tuple(word for word in ring.recipients if word not in recipients),
            signers=tuple(word for word in ring.signers if word not in signers),
        )

    return _publish(root, identity, change, before)


def rotate(root: Path, identity: Identity, *, shred: bool = False, before: Before = lambda: None) -> Keyring:
    """Begin an epoch; with `shred` move everything to it, and destroy the secrets of those before."""

    def change(ring: Keyring) -> Keyring:
        return replace(ring.begin(), pending="shred" if shred else ring.pending)

    ring = _publish(root, identity, change, before)
    failures = finish(root, identity) if shred else []
    if failures:
        row, more = failures[0], f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        raise RoomError(
            f"{row.kind} {row.key}{more} could not be moved to the new epoch: {Folder(root).locate(row.blob)} is "
            "damaged or gone, so the older secrets are kept. Bring the blob back, or take the entry out with "
            "`flyroom rm`; then run `flyroom vault rotate --shred`"
        )
    return find_keyring(root, identity) if shred else ring


def find_keyring(root: Path, identity: Identity) -> Keyring:
    """The keyring of an encrypted room, open."""
    seal = Room(root, create=False, identity=identity)._open()
    assert isinstance(seal, Sealed)
    return seal.keyring


def finish(root: Path, identity: Identity) -> list[Row]:
    """Finish what a kill cut short, or wait for whoever is at it. Returns what could not be moved to a new epoch."""
    folder = Folder(root)
    with explain(root, "the rest of the room"), _work_on(root, identity) as room:
        seal = room._seal
        assert isinstance(seal, Sealed)
        if opening.read_format(folder) != seal.format:
            _convert(room)
        return _shred(room) if seal.keyring.pending else []


# ---------------------------------------------------------------- one change of the keyring


@contextmanager
def _work_on(root: Path, identity: Identity) -> Iterator[Room]:
    """The room, held against everybody else who changes all of it, with its seal read and no more touched."""
    folder = Folder(root)
    room = Room(root, create=False, identity=identity)
    room._finishes = True
    with folder.hold("vault"):
        opening.refuse_strangers(folder, identity)
        room._stamp, room._seal = stamp(folder.keyring), opening.find_seal(folder, identity)
        yield room


def _publish(root: Path, identity: Identity, change: Callable[[Keyring], Keyring], before: Before) -> Keyring:
    with explain(root, "the room's keyring"):
        read_lid(root)
        change(find_keyring(root, identity))  # it may refuse; and opening finishes what a kill cut short
    before()
    with explain(root, "the room's keyring"), _work_on(root, identity) as room:
        return _change(room, change)


def _change(room: Room, change: Callable[[Keyring], Keyring]) -> Keyring:
    """Replace the keyring and, where there is a new epoch, the rows: at once for everybody else."""
    folder, identity = room._folder, room._require_identity()
    with room._hold_index(), room._begin("EXCLUSIVE") as db:
        seal = room._need_seal()
        assert isinstance(seal, Sealed)
        fresh = Sealed(change(seal.keyring))
        rows = index.read_rows(db, seal)
        folder.replace(folder.keyring, keyring.wrap(fresh.keyring, identity))
        if fresh.version != seal.version:
            index.fill(db, fresh, rows)
    room._seal, room._stamp = opening.find_seal(folder, identity), stamp(folder.keyring)
    assert isinstance(room._seal, Sealed)
    return room._seal.keyring


def _sort(words: Sequence[str]) -> tuple[list[str], list[str]]:
    signers = [word for word in words if word.startswith("ed25519:")]
    recipients = [word for word in words if word not in signers]
    for word in recipients:
        parse_recipient(word)
    for word in signers:
        keyring.check_signer(word)
    return recipients, signers


# ---------------------------------------------------------------- all blobs


def _convert(room: Room) -> None:
    """Encrypt every blob that is in clear; the index and the marker come last. One that is damaged keeps its name,
    which is not that of what it holds: it stays damaged.
    """
    folder, seal = room._folder, room._need_seal()
    folder.make()
    folder.sweep(index.salvage_blobs(folder.index))  # what a killed writer left lies there in clear
    for path in folder.list_blobs():
        if not is_age(path):
            content = path.read_bytes()
            is_whole = hashlib.sha256(content).hexdigest() == path.name
            with folder.stage() as stage:
                name = seal.write(stage / "entry", [content])
                _place(folder, stage, path, name if is_whole else path.name)  # what is damaged must not pass for whole
            if is_whole:
                folder.remove(path.name)
    for file in (folder.index, *index.list_sides(folder.index)):
        file.unlink(missing_ok=True)
    sync(folder.root)
    room._rebuild()
    _drop_copies(room)
    folder.replace(folder.marker, f"flyroom room {opening.SEALED}\n".encode())


def _drop_copies(room: Room) -> None:
    """Remove what a kill left twice: a blob that says the same of the same moment as the one in the index."""
    with room._begin("IMMEDIATE") as db:
        rows = {(row.kind, row.key, row.sequence): row.blob for row in index.read_rows(db, room._need_seal())}
        for path in room._folder.list_blobs():
            entry = room._read_blob(path.name, tensors=False)
            name = entry and rows.get((entry.kind, entry.key, path.stat().st_mtime_ns))
            if name not in (None, path.name):
                room._folder.remove(path.name)


def _shred(room: Room) -> list[Row]:
    """Move every entry to the newest epoch, remove what no entry points at, and destroy the older secrets. Returns what
    could not be moved, as it is damaged or gone: the secrets to that are kept. A whole blob that only lacks its row is
    an entry too.
    """
    folder, seal = room._folder, room._need_seal()
    assert isinstance(seal, Sealed)
    if not index.is_sound(folder.index, seal):
        room._rebuild()
    room._adopt()
    failures: dict[str, Row] = {}
    while True:
        with room._begin("IMMEDIATE") as db:
            rows = [x for x in index.read_rows(db, seal) if x.epoch != seal.epoch and x.blob not in failures][:BATCH]
            names = [_copy(room, seal, row) for row in rows]
            failures |= {row.blob: row for row, name in zip(rows, names, strict=True) if name is None}
            moves = [(row, name) for row, name in zip(rows, names, strict=True) if name is not None]
            for row, name in moves:
                index.insert(db, seal, row._replace(blob=name, epoch=seal.epoch))
        for row, _ in moves:
            folder.remove(row.blob)
        if not rows:
            break
    with room._begin("IMMEDIATE") as db:
        blobs = index.list_blobs(db)
        folder.sweep(blobs)
        for path in folder.list_blobs():
            if path.name not in blobs:
                folder.remove(path.name)
    stays = {row.epoch for row in failures.values()} | {seal.epoch}
    _change(room, lambda ring: replace(ring, epochs=tuple(e for e in ring.epochs if e.number in stays), pending=""))
    return list(failures.values())


def _copy(room: Room, seal: Sealed, row: Row) -> str | None:
    """Write a blob anew under the newest epoch and return its name; None for a blob that is damaged or gone."""
    folder = room._folder
    path = folder.locate(row.blob)
    try:
        if not folder.has(path) or hash_file(path) != row.blob:
            return None
        with seal.open(path) as file:
            content = file.read()
    except ValueError:  # no epoch opens it
        return None
    with folder.stage() as stage:
        return _place(folder, stage, path, seal.write(stage / "entry", [content]))


def _place(folder: Folder, stage: Path, origin: Path, name: str) -> str:
    """Move a staged blob in, with the time of the one that it replaces, which is its order."""
    (stage / "entry").rename(stage / name)
    about = origin.stat()
    os.utime(stage / name, ns=(about.st_mtime_ns, about.st_mtime_ns))
    folder.place(stage / name)
    return name
