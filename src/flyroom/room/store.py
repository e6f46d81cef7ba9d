"""A room, to be used: entries in, entries out, a list, a lock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flyroom.room import checks, index, opening
from flyroom.room.checks import Report
from flyroom.room.entries import UNREADABLE, Signature, is_word, serialize
from flyroom.room.files import DamagedError, RoomError, explain, stamp, sync
from flyroom.room.folder import GROUP, Folder
from flyroom.room.seals import Clear, Row, Sealed
from flyroom.types import Entry, Listing
from flyroom.types.framed import Framed
from flyroom.vault import Identity, current
from flyroom.vault.private import HIDDEN

if TYPE_CHECKING:
    import sqlite3

    from torch import Tensor

LATEST = frozenset({"checkpoint"})  # kinds whose last entry under a key counts; of all others the first


class Room(Framed):
    """A folder of entries, safe to share between processes. Nothing is touched before the first use.

    A missing or empty folder becomes a room at the first use, or raises RoomError where `create` is False. What is put
    is signed by `identity`, and an encrypted room is opened with it; None takes the one that is set up (`vault`).

    >>> import tempfile
    >>> room = Room(tempfile.mkdtemp())
    >>> room.put("card", "a1b2", {"coherence": 0.99}, meta={"verdict": "pass"}).payload["coherence"]
    0.99
    >>> room.find("a1")
    Listing(kind='card', key='a1b2', meta={'verdict': 'pass'})
    """

    def __init__(self, path: str | Path, *, create: bool = True, identity: Identity | None = None) -> None:
        self.root = Path(path).absolute()
        self._folder = Folder(self.root)
        self._create = create
        self._identity = identity
        self._seal: Clear | Sealed | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._finishes = False  # whether this one is at work on the whole room, and does not wait for whoever is
        self._holds_index = False  # see `_hold_index`

    def require(self) -> Self:
        """This room, opened: a verb asks before it does what takes long. RoomError for a room that is not there, not of
        a format that this version reads, or not to be read by whoever asks.
        """
        with explain(self.root), self._begin():
            return self

    # ------------------------------------------------------------ entries

    def put(
        self,
        kind: str,
        key: str,
        payload: Mapping[str, Any],
        tensors: Mapping[str, Tensor] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Store one entry and return what is stored under its key: see `put_many`."""
        return self.put_many([Entry(kind=kind, key=key, payload=payload, tensors=tensors or {}, meta=meta or {})])[0]

    def put_many(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Store all entries or none, and return what is then stored under their keys, in the same order.

        Where a key is taken the stored entry stays and is returned: of two processes that race to one key the first
        wins, and both go on with its result. The kinds in LATEST are replaced. A damaged blob is always replaced.
        Raises RoomError for a payload that is not JSON, a tensor that cannot be written, a key twice, a full disk.
        """
        if len({(entry.kind, entry.key) for entry in entries}) < len(entries):
            raise RoomError("the same kind and key stands twice in one group; give every entry its own key")
        with explain(self.root, _name_group(entries)):
            while (results := self._put(entries)) is None:
                continue  # the keyring was changed meanwhile, and what was written is for the readers before
        return results

    def _put(self, entries: Sequence[Entry]) -> Sequence[Entry] | None:
        results: list[Entry] = []
        superseded: list[str] = []
        seal = self._open()
        if isinstance(seal, Sealed):
            opening.refuse_strangers(self._folder, self._require_identity())
        with self._folder.stage() as folder:
            copies = [self._stage_entry(folder, entry, seal) for entry in entries]
            with self._begin("IMMEDIATE") as db:
                if self._seal is not seal:
                    return None
                blobs = index.list_blobs(db)
                self._folder.sweep(blobs)
                arrivals: list[tuple[Entry, str]] = []
                for entry, (name, copy) in zip(entries, copies, strict=True):
                    blob = index.find_blob(db, seal, entry.kind, entry.key)
                    is_newer = entry.kind in LATEST and blob != name
                    resident = None if blob is None or is_newer else self._read_blob(blob)
                    results.append(resident or copy)
                    if resident is None:
                        arrivals.append((entry, name))
                        superseded += [] if blob in (None, name) else [blob]
                self._folder.note_group(folder, [name for _, name in arrivals])
                (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
                for number, (entry, name) in enumerate(arrivals, max(time.time_ns(), last + 1)):
                    os.utime(folder / name, ns=(number, number))
                    self._place(folder / name)
                    sequence = self._folder.locate(name).stat().st_mtime_ns
                    index.insert(db, seal, Row(entry.kind, entry.key, name, entry.meta, sequence))
            (folder / GROUP).unlink(missing_ok=True)
        self._drop(superseded)
        return results

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry, or None. Raises DamagedError naming the blob's file where it is gone or its bytes changed."""
        with explain(self.root), self._begin() as db:  # held, so that no one replaces the blob while it is read
            name = index.find_blob(db, self._need_seal(), kind, key)
            if name is None:
                return None
            entry = self._read_blob(name)
        if entry is None or (entry.kind, entry.key) != (kind, key):
            path = self._folder.locate(name)
            state = "is damaged: its content is not what its name says" if path.exists() else "is gone"
            raise DamagedError(
                f"{kind} {key} cannot be read: {path} {state}. Remove {self._folder.index}: it is rebuilt "
                "from the blobs that are whole, and the stage that made this entry runs again. Or put the blob back."
            )
        return entry

    def list(self, kind: str | None = None) -> Sequence[Listing]:
        """Everything of one kind, or of all, oldest first."""
        with explain(self.root), self._begin() as db:
            rows = index.read_rows(db, self._need_seal())
        return [Listing(row.kind, row.key, row.meta) for row in rows if kind in (None, row.kind)]

    def list_before(self, moment: float) -> Sequence[Listing]:
        """What was stored before a moment, in seconds since 1970; oldest first."""
        with explain(self.root), self._begin() as db:
            rows = index.read_rows(db, self._need_seal())
        return [Listing(row.kind, row.key, row.meta) for row in rows if row.sequence < moment * 1e9]

    def find(self, prefix: str, *, kind: str | None = None) -> Listing:
        """The one entry whose key starts with `prefix`, a whole key first. Raises RoomError listing the candidates."""
        items = self.list(kind)
        matches = [item for item in items if item.key == prefix] or [x for x in items if x.key.startswith(prefix)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(f"{item.kind} {item.key}" for item in matches[:10]) + (", …" if matches[10:] else "")
            raise RoomError(f"{prefix!r} could be {len(matches)} entries: {names}. Give more of the key, or the kind.")
        heads = {item.key[: len(prefix)]: item.key for item in items}
        close = [heads[head] for head in get_close_matches(prefix, heads, n=3)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {len(items)} to choose from."
        raise RoomError(f"no {kind or 'entry'} in {self.root} has a key that starts with {prefix!r}; {hint}")

    def delete(self, kind: str, key: str) -> None:
        """Take an entry out, and its blob with it. Nothing happens where there is none."""
        self.delete_many([(kind, key)])

    def delete_many(self, addresses: Sequence[tuple[str, str]]) -> None:
        """Take entries out by kind and key, all of them or none."""
        more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        words = f"that {' '.join(addresses[0])}{more} is taken out" if addresses else "nothing"
        with explain(self.root, words):
            self._open()
            with self._folder.stage() as folder:
                with self._begin("IMMEDIATE") as db:
                    seal = self._need_seal()
                    blobs = [index.find_blob(db, seal, kind, key) for kind, key in addresses]
                    names = sorted({name for name in blobs if name is not None})
                    self._folder.note_group(folder, [x for x in names if self._folder.has(self._folder.locate(x))])
                    for kind, key in addresses:
                        index.remove(db, seal, kind, key)
                self._drop(names)

    def check(self) -> Report:
        """Hold every blob against its name and the index; without a key to an encrypted room, against its name."""
        with explain(self.root):
            return checks.check(self)

    def verify(self) -> Sequence[Signature]:
        """Who signed each entry, oldest first. Trusted are the signers that the room's keyring names (`flyroom vault
        recipients add ed25519:…`); in a room without a keyring, only the identity that is in use.
        """
        with explain(self.root):
            return checks.verify(self)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a name, one process and thread at a time; the next one waits. Let go when the holder ends or is killed.

        Look again for the result once inside: whoever held it before may have made it. Not to be nested with itself.
        """
        with ExitStack() as stack:
            with explain(self.root, "a lock"):  # and not around the caller's own work, whose errors are its own
                name = self._open().name_lock(f"stage {key}")
                stack.enter_context(self._folder.hold_file(name))
            yield

    # ------------------------------------------------------------ blobs

    def _stage_entry(self, folder: Path, entry: Entry, seal: Clear | Sealed) -> tuple[str, Entry]:
        """Write an entry under its hash, and read it again: what cannot be read must not be stored."""
        if not is_word(entry.kind) or not is_word(entry.key):
            raise RoomError(f"kind {entry.kind!r} and key {entry.key!r} must be printable and not empty")
        path = folder / "entry"
        try:
            name = seal.write(path, serialize(entry, self._find_identity()))
            copy = seal.read(path, name)
        except (RuntimeError, *UNREADABLE) as error:
            raise RoomError(f"{entry.kind} {entry.key} cannot be stored: {error}") from error
        if copy is None:
            raise RoomError(f"{entry.kind} {entry.key} cannot be stored: {path} does not hold what was written to it")
        path.rename(folder / name)
        return name, copy

    def _read_blob(self, name: str, *, tensors: bool = True) -> Entry | None:
        """The entry in a blob, or None where the blob is gone, is not what its name says, or is no entry."""
        path = self._folder.locate(name)
        try:
            if not self._folder.has(path):
                return None
            return self._need_seal().read(path, name, tensors=tensors)
        except (FileNotFoundError, *UNREADABLE):
            return None

    def _place(self, draft: Path) -> None:
        self._folder.place(draft)

    def _drop(self, names: Sequence[str]) -> None:
        """Remove blobs that no entry points at any more; under the write lock, or one might be about to."""
        if names:
            with self._begin("IMMEDIATE") as db:
                for name in set(names) - index.list_blobs(db):
                    self._folder.remove(name)

    # ------------------------------------------------------------ opening, and the index

    def _find_identity(self) -> Identity | None:
        return self._identity or current()

    def _has_key(self) -> bool:
        """Whether the identity that is in use opens the keyring."""
        identity = self._find_identity()
        return identity is not None and identity.recipient in opening.read_lid(self._folder).recipients

    def _require_identity(self) -> Identity:
        identity = self._find_identity()
        assert identity is not None, "a sealed room is not opened without one"
        return identity

    def _need_seal(self) -> Clear | Sealed:
        assert self._seal is not None, "a transaction opens the room"
        return self._seal

    def _open(self) -> Clear | Sealed:
        """The room as it is now: another process may have changed who can read it."""
        print_now = stamp(self._folder.keyring)
        if self._seal is not None and self._stamp == print_now:
            return self._seal
        self._folder.refuse_links()
        identity = self._find_identity()
        if not self._folder.marker.exists():
            opening.make(self._folder, identity, creates=self._create)
            print_now = stamp(self._folder.keyring)
        number = opening.read_format(self._folder)
        seal = opening.find_seal(self._folder, identity)
        if isinstance(self._seal, Sealed) and not isinstance(seal, Sealed):
            raise RoomError(f"{self._folder.keyring} is gone, and this room was encrypted: bring it back from a copy")
        self._folder.make()
        if isinstance(seal, Sealed) and (number != seal.format or seal.keyring.pending) and not self._finishes:
            from flyroom.room.vaults import finish  # which opens rooms itself

            finish(self.root, self._require_identity())
            return self._open()
        self._seal, self._stamp = seal, print_now
        HIDDEN.add(self.root)
        if not index.is_sound(self._folder.index, seal):
            self._rebuild()
        if any((self.root / "staged").iterdir()):
            with self._begin("IMMEDIATE") as db:
                self._folder.sweep(index.list_blobs(db))
        return seal

    @contextmanager
    def _begin(self, how: str = "DEFERRED") -> Iterator[sqlite3.Connection]:
        """A transaction on the index, on a connection of its own: committed at the end, rolled back on an error."""
        while True:
            seal = self._open()
            if not self._folder.index.exists():
                self._rebuild()
                continue
            with closing(index.connect(self._folder.index)) as db:
                db.execute(f"BEGIN {how}")
                version = index.read_version(db)  # from here on nobody changes the keyring
                if self._stamp == stamp(self._folder.keyring):
                    if version == seal.version:
                        yield db
                        db.execute("COMMIT")
                        return
                    db.execute("ROLLBACK")
                    self._rebuild()  # a process was killed between the keyring and the index

    @contextmanager
    def _hold_index(self) -> Iterator[None]:
        """Keep others from making the index anew, and from changing the keyring, with which an index must agree. For a
        room that one thread uses alone.
        """
        with self._folder.hold("index"):
            self._holds_index = True
            try:
                yield
            finally:
                self._holds_index = False

    def _rebuild(self) -> None:
        """Make the index anew from the blobs that are whole. Of several under one key the newest counts."""
        seal, path = self._need_seal(), self._folder.index
        with nullcontext() if self._holds_index else self._folder.hold("index"):
            if self._stamp != stamp(self._folder.keyring) or index.is_sound(path, seal):
                return  # the keyring is another now, or another process was faster
            self._folder.sweep(index.salvage_blobs(path))
            newest = self._survey(self._folder.list_blobs())
            with self._folder.stage() as folder:
                fresh = folder / path.name
                fresh.touch(mode=0o600)
                with closing(index.connect(fresh)) as db:
                    db.execute("BEGIN IMMEDIATE")
                    db.execute(index.TABLE)
                    index.fill(db, seal, newest.values())
                    db.execute("COMMIT")
                for side in index.list_sides(path):  # what the old index left would be played into the new one
                    side.unlink(missing_ok=True)
                os.replace(fresh, path)
                sync(self.root)

    def _survey(self, blobs: Sequence[Path]) -> dict[tuple[str, str], Row]:
        """The rows of the blobs that are whole, by kind and key. Of several under one the newest counts."""
        newest: dict[tuple[str, str], Row] = {}
        for blob in blobs:
            entry = self._read_blob(blob.name, tensors=False)
            if entry is not None:
                epoch = self._need_seal().find_epoch(blob)
                sequence = min(blob.stat().st_mtime_ns, 2**62)  # SQLite counts to 2**63
                row = Row(entry.kind, entry.key, blob.name, entry.meta, sequence, epoch)
                rival = newest.get((entry.kind, entry.key))
                if rival is None or (rival.sequence, rival.blob) < (row.sequence, row.blob):
                    newest[entry.kind, entry.key] = row
        return newest

    def _adopt(self) -> None:
        """Give whole blobs their rows that have none, unless another stands under their kind and key: somebody may have
        taken the rows away, or a blob was brought back. A blob that somebody is about to remove stays without one.
        """
        with self._begin("IMMEDIATE") as db:
            seal = self._need_seal()
            rows, names = index.read_rows(db, seal), index.list_blobs(db)
            known = names | self._folder.sweep(names)
            lone = self._survey([blob for blob in self._folder.list_blobs() if blob.name not in known])
            for address in lone.keys() - {(row.kind, row.key) for row in rows}:
                index.insert(db, seal, lone[address])


def _name_group(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return f"{entries[0].kind} {entries[0].key}{more}" if entries else "nothing"
