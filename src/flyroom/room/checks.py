"""What can be said of a room's files: whether each is whole, whether the index agrees, and who signed what."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flyroom.room import index, opening
from flyroom.room.entries import UNREADABLE, Signature, read_header, read_signature
from flyroom.room.files import RoomError, stamp
from flyroom.room.seals import Row, Sealed
from flyroom.types import Listing
from flyroom.whole import hash_file

if TYPE_CHECKING:
    from flyroom.room.store import Room


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check` found: entries whose blob is gone, blobs that are damaged, whole blobs that no entry points at.

    `misfiled` are whole blobs whose kind, key or meta is not what the index says, and those of which it says nothing
    though no other stands under their kind and key: the index is wrong, and is made anew where it is removed. `is_read`
    says whether the contents were read too. Without a key to an encrypted room they were not: an entry that is lost has
    then no kind, and its blob's name for a key.
    """

    entries: int
    lost: tuple[Listing, ...]
    corrupt: tuple[Path, ...]
    orphans: tuple[Path, ...]
    misfiled: tuple[Path, ...] = ()
    is_encrypted: bool = False
    is_read: bool = True


def check(room: Room) -> Report:
    """Hold every blob against its name and the index."""
    folder = room._folder
    is_encrypted = stamp(folder.keyring) is not None
    try:
        room._open()
    except RoomError:
        if not is_encrypted or room._has_key():
            raise
        return _check_closed(room)
    with room._begin("IMMEDIATE") as db:  # for as long as it takes to list, nobody places anything
        rows = index.read_rows(db, room._need_seal())
        paths = {path.name: path for path in folder.list_blobs()}
    items = [(row.blob, Listing(row.kind, row.key, row.meta)) for row in rows]
    headers = {name: header for name in paths if (header := _read_header(room, name)) is not None}
    corrupt = [path for name, path in paths.items() if name not in headers and path.exists()]
    report = _sum_up(items, paths, corrupt, is_encrypted=is_encrypted, is_read=True)
    return replace(report, misfiled=tuple(paths[name] for name in _list_misfiled(items, headers)))


def _read_header(room: Room, name: str) -> Listing | None:
    """What a blob says of itself; None for one that is damaged or gone."""
    entry = room._read_blob(name, tensors=False)
    return None if entry is None else Listing(entry.kind, entry.key, entry.meta)


def _list_misfiled(items: Sequence[tuple[str, Listing]], headers: Mapping[str, Listing]) -> list[str]:
    """The blobs that an index says something else of, or hides: see `Report`. `items` are its rows by blob."""
    names, addresses = {name for name, _ in items}, {(item.kind, item.key) for _, item in items}
    wrong = {name for name, item in items if headers.get(name, item) != item}
    hidden = {name for name, item in headers.items() if name not in names and (item.kind, item.key) not in addresses}
    return sorted(wrong | hidden)


def _check_closed(room: Room) -> Report:
    """The same by hashes alone: which blobs the index names stands there in clear."""
    folder = room._folder
    opening.read_format(folder)
    paths = {path.name: path for path in folder.list_blobs()}
    names = set(paths)
    if index.is_safe(folder.index):
        with closing(index.connect(folder.index)) as db:
            names = index.list_blobs(db)
            paths = {path.name: path for path in folder.list_blobs()}
    corrupt = [path for path in paths.values() if path.exists() and hash_file(path) != path.name]
    items = [(name, Listing("", name, {})) for name in sorted(names)]
    return _sum_up(items, paths, corrupt, is_encrypted=True, is_read=False)


def _sum_up(
    items: Sequence[tuple[str, Listing]],
    paths: Mapping[str, Path],
    corrupt: Sequence[Path],
    *,
    is_encrypted: bool,
    is_read: bool,
) -> Report:
    names = {name for name, _ in items}
    return Report(
        entries=len(items),
        lost=tuple(item for name, item in items if name not in paths),
        corrupt=tuple(corrupt),
        orphans=tuple(path for name, path in paths.items() if name not in names and path not in corrupt),
        is_encrypted=is_encrypted,
        is_read=is_read,
    )


def verify(room: Room) -> list[Signature]:
    """Who signed each entry, oldest first; "bad" stands too for a blob that is gone or damaged, and for one that is not
    what the index says.
    """
    with room._begin() as db:
        rows = index.read_rows(db, room._need_seal())
    trusts = find_trust(room)
    return [_verify_row(room, row, trusts) for row in rows]


def find_trust(room: Room) -> Callable[[str], bool]:
    """Whom the room trusts: the signers of its keyring; without one only the identity that is in use."""
    seal, identity = room._open(), room._find_identity()
    signers = set(seal.keyring.signers) if isinstance(seal, Sealed) else {identity.signer} if identity else set[str]()
    return signers.__contains__


def _verify_row(room: Room, row: Row, trusts: Callable[[str], bool]) -> Signature:
    path, seal = room._folder.locate(row.blob), room._need_seal()
    try:
        with seal.open(path) as file:
            about = json.loads(read_header(file)["__metadata__"]["flyroom"])
            file.seek(0)
            signature = read_signature(file, trusts)
        is_same = (about["kind"], about["key"], about["meta"]) == (row.kind, row.key, row.meta)
    except (OSError, AttributeError, *UNREADABLE):
        return Signature(row.kind, row.key, "bad")
    return signature if is_same else Signature(row.kind, row.key, "bad", signature.signer)
