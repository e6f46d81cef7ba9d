"""Where everything lives: one folder; blobs under their hashes, and an index that can be rebuilt from them.

    room/
      format            "flyroom room 1": what makes the folder a room
      blobs/ab/abcdef…  entries, each a safetensors file under the SHA-256 of its bytes; its header says what it is
      index.sqlite3     kind, key -> blob. Only for speed and order: delete it and it comes back
      staged/           what is being written: a folder for each group, locked by its writer for as long as that lives
      locks/            who is at which stage

An entry is written whole or not at all, a group of entries together or not at all, whenever the process is killed:
stage and fsync every file, take the index's write lock, move the files in, commit the rows. A process killed before the
commit leaves nothing but a folder under staged/, which the next one to come sweeps away. The order of entries is the
modification time of the blobs, so a rebuilt index is equal to the lost one (copy a room with its times: `cp -a`).

The index keeps a rollback journal and not a write-ahead log: that needs shared memory, which network folders lack.
Left out: encryption and signatures (they go into `_pack` and `_unpack`), blobs larger than memory, Windows (no flock).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch

from flyroom.types import Entry, plain

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
LATEST = frozenset({"checkpoint"})  # kinds whose last entry under a key counts; of all others the first
SCHEMA = f"""BEGIN IMMEDIATE; PRAGMA user_version = {FORMAT};
    CREATE TABLE entries (kind, key, blob, meta, sequence INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID;"""
PATIENCE = 120.0  # seconds to wait for another process's commit


class RoomError(ValueError):
    """A room cannot be used as asked: the message names the file and says what to do."""


class Listing(NamedTuple):
    """An entry without its content."""

    kind: str
    key: str
    meta: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check` found: entries whose blob is gone, blobs that are damaged, whole blobs that no entry points at."""

    entries: int
    lost: tuple[Listing, ...]
    corrupt: tuple[Path, ...]
    orphans: tuple[Path, ...]


class Room:
    """A folder of entries, safe to share between processes. Nothing is touched before the first use.

    A missing or empty folder becomes a room at the first use, or raises RoomError where `create` is False.

    >>> import tempfile
    >>> room = Room(tempfile.mkdtemp())
    >>> room.put("card", "a1b2", {"coherence": 0.99}, meta={"verdict": "pass"}).payload["coherence"]
    0.99
    >>> room.find("a1")
    Listing(kind='card', key='a1b2', meta={'verdict': 'pass'})
    """

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.root = Path(path).absolute()
        self._create = create
        self._ready = False

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
        blobs = [_pack(entry) for entry in entries]
        names = [hashlib.sha256(blob).hexdigest() for blob in blobs]
        stored, superseded = [], []
        self._open()
        with self._staged() as folder:
            for name, blob in zip(names, blobs, strict=True):
                _write(folder / name, blob)
            with self._index(write=True) as db:
                self._sweep(db)
                placed = []
                for entry, name, blob in zip(entries, names, blobs, strict=True):
                    row = _row(db, entry.kind, entry.key)
                    there = None if row is None or (entry.kind in LATEST and row != name) else self._intact(row)
                    stored.append(there or _unpack(blob))
                    if there is None:
                        placed.append((entry, name))
                        superseded += [] if row in (None, name) else [row]
                if len(placed) > 1:  # so that a sweep can take back a group that was placed in part
                    _write(folder / "placing", "\n".join(name for _, name in placed).encode())
                    _sync(folder)
                (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
                for number, (entry, name) in enumerate(placed, max(time.time_ns(), last + 1)):
                    os.utime(folder / name, ns=(number, number))
                    self._place(folder / name)
                    _insert(db, entry, name, self._blob(name).stat().st_mtime_ns)
            (folder / "placing").unlink(missing_ok=True)
        self._drop(superseded)
        return stored

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry, or None. Raises RoomError naming the blob's file where it is gone or its bytes changed."""
        with self._index() as db:  # held until the blob is read, so that no one replaces it in between
            row = _row(db, kind, key)
            if row is None:
                return None
            entry = self._intact(row)
        if entry is None or (entry.kind, entry.key) != (kind, key):
            path = self._blob(row)
            what = "is damaged: its content is not what its name says" if path.exists() else "is gone"
            raise RoomError(
                f"{kind} {key} cannot be read: {path} {what}. Remove {self.root / 'index.sqlite3'}: it is rebuilt from "
                "the blobs that are whole, and the stage that made this entry runs again. Or put the blob back."
            )
        return entry

    def list(self, kind: str | None = None) -> Sequence[Listing]:
        """Everything of one kind, or of all, oldest first."""
        with self._index() as db:
            rows = db.execute("SELECT kind, key, meta FROM entries ORDER BY sequence, kind, key").fetchall()
        return [Listing(row[0], row[1], json.loads(row[2])) for row in rows if kind in (None, row[0])]

    def find(self, prefix: str, *, kind: str | None = None) -> Listing:
        """The one entry whose key starts with `prefix`, a whole key first. Raises RoomError listing the candidates."""
        known = self.list(kind)
        found = [item for item in known if item.key == prefix] or [x for x in known if x.key.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        what = kind or "entry"
        if found:
            names = ", ".join(f"{item.kind} {item.key}" for item in found[:10]) + (", …" if len(found) > 10 else "")
            raise RoomError(f"{prefix!r} could be {len(found)} entries: {names}. Give more of the key, or the kind.")
        heads = {item.key[: len(prefix)]: item.key for item in known}
        close = [heads[head] for head in get_close_matches(prefix, heads, n=3)]
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {len(known)} to choose from."
        raise RoomError(f"no {what} in {self.root} has a key that starts with {prefix!r}; {hint}")

    def delete(self, kind: str, key: str) -> None:
        """Take an entry out, and its blob with it. Nothing happens where there is none."""
        with self._index(write=True) as db:
            row = _row(db, kind, key)
            db.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key))
        self._drop([row] if row else [])

    def check(self) -> Report:
        """Read every blob and hold it against its name and the index."""
        with self._index(write=True) as db:  # for as long as it takes to list, nobody places anything
            rows = {row[2]: Listing(row[0], row[1], json.loads(row[3])) for row in _rows(db)}
            paths = {path.name: path for path in self._blobs()}
        broken = [path for path in paths.values() if self._intact(path.name) is None and path.exists()]
        return Report(
            entries=len(rows),
            lost=tuple(item for name, item in rows.items() if name not in paths),
            corrupt=tuple(broken),
            orphans=tuple(path for name, path in paths.items() if name not in rows and path not in broken),
        )

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a name, one process and thread at a time; the next one waits. Let go when the holder ends or is killed.

        Look again for the result once inside: whoever held it before may have made it. Not to be nested with itself.
        """
        self._open()
        with self._locked(f"stage {key}"):
            yield

    # ------------------------------------------------------------ blobs

    def _blob(self, name: str) -> Path:
        return self.root / "blobs" / name[:2] / name

    def _blobs(self) -> Sequence[Path]:
        return sorted(path for path in (self.root / "blobs").glob("*/*") if path.is_file())

    def _intact(self, name: str) -> Entry | None:
        """The entry in a blob, or None where the blob is gone or is not what its name says."""
        try:
            blob = self._blob(name).read_bytes()
        except FileNotFoundError:
            return None
        return _unpack(blob) if hashlib.sha256(blob).hexdigest() == name else None

    def _place(self, staged: Path) -> None:
        path = self._blob(staged.name)
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _sync(path.parent.parent)
        os.replace(staged, path)
        _sync(path.parent)

    def _drop(self, names: Sequence[str]) -> None:
        """Remove blobs that no entry points at any more; under the write lock, or one might be about to."""
        if names:
            with self._index(write=True) as db:
                kept = {row[2] for row in _rows(db)}
                for name in set(names) - kept:
                    self._blob(name).unlink(missing_ok=True)

    # ------------------------------------------------------------ staging and locks

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A folder to write in, locked while this process lives. After an error it is left to the next sweep."""
        with _told(self.root):
            folder = self.root / "staged" / uuid.uuid4().hex
            with self._locked("staged"):  # or a sweep could take the folder before its lock is held
                folder.mkdir()
                handle = os.open(folder, os.O_RDONLY)
                fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield folder
                shutil.rmtree(folder)
            finally:
                os.close(handle)

    def _sweep(self, db: sqlite3.Connection | None) -> None:
        """Clear away what killed processes had staged, and the blobs of groups that they placed and did not commit.

        The caller holds the index's write lock, or there is no index.
        """
        with self._locked("staged"):
            for folder in (self.root / "staged").iterdir():
                try:
                    handle = os.open(folder, os.O_RDONLY)
                except FileNotFoundError:  # its writer has just ended
                    continue
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    placing = folder / "placing"
                    names = placing.read_text().split() if placing.exists() else []
                    for name in set(names) - {row[2] for row in (_rows(db) if db else ())}:
                        self._blob(name).unlink(missing_ok=True)
                    shutil.rmtree(folder)
                except BlockingIOError:  # its writer lives
                    continue
                finally:
                    os.close(handle)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        path = self.root / "locks" / hashlib.sha256(key.encode()).hexdigest()[:32]
        with _told(path):
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.flock(handle, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                    break
                os.close(handle)  # whoever held it took the file away: start again on the new one
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    # ------------------------------------------------------------ opening, and the index

    def _open(self) -> None:
        if self._ready:
            return
        with _told(self.root):
            marker = self.root / "format"
            if not marker.exists():
                self._found(marker)
            words = marker.read_text(errors="replace").split()
            if words[:2] != ["flyroom", "room"] or len(words) != 3 or not words[2].isdecimal():
                raise RoomError(f"{marker} does not say what a room's should; {self.root} is not a room")
            if int(words[2]) > FORMAT:
                raise RoomError(
                    f"{self.root} was written by a newer flyroom (format {words[2]}, this one reads up to {FORMAT}): "
                    "upgrade flyroom, or give another room"
                )
            for name in ("blobs", "staged", "locks"):
                (self.root / name).mkdir(exist_ok=True)
            if not self._sound():
                self._rebuild()
        self._ready = True
        if any((self.root / "staged").iterdir()):
            with self._index(write=True) as db:
                self._sweep(db)

    def _found(self, marker: Path) -> None:
        """Make the folder a room, marker first and whole: of two processes neither takes the other for a stranger."""
        others = sorted({p.name for p in self.root.iterdir()} - {"staged", "locks"}) if self.root.exists() else []
        if others and not marker.exists():
            names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise RoomError(f"{self.root} is not a room: it holds other files ({names}). Give an empty folder.")
        if not self._create:
            raise RoomError(f"there is no room at {self.root}")
        for name in ("staged", "locks"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        with self._staged() as folder:
            _write(folder / "format", f"flyroom room {FORMAT}\n".encode())
            os.replace(folder / "format", marker)
            _sync(self.root)

    def _connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)

    @contextmanager
    def _index(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction on the index, on a connection of its own: committed at the end, rolled back on an error."""
        self._open()
        path = self.root / "index.sqlite3"
        with _told(path):
            if not path.exists():
                self._rebuild()
            with closing(self._connect(path)) as db:
                db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield db
                db.execute("COMMIT")

    def _sound(self) -> bool:
        path = self.root / "index.sqlite3"
        if not path.exists():
            return False
        try:
            with closing(self._connect(path)) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                return version == FORMAT and db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return False
            raise

    def _rebuild(self) -> None:
        """Make the index anew from the blobs that are whole. Of several under one key the newest counts."""
        path = self.root / "index.sqlite3"
        with self._locked("index"):
            if self._sound():
                return  # another process was faster
            self._sweep(None)
            newest: dict[tuple[str, str], tuple[int, str, Entry]] = {}
            for blob in self._blobs():
                entry = self._intact(blob.name)
                if entry is not None:
                    known = newest.get((entry.kind, entry.key))
                    if known is None or known[:2] < (blob.stat().st_mtime_ns, blob.name):
                        newest[entry.kind, entry.key] = (blob.stat().st_mtime_ns, blob.name, entry)
            with self._staged() as folder:
                fresh = folder / path.name
                fresh.touch()
                with closing(self._connect(fresh)) as db:
                    db.executescript(SCHEMA)
                    for sequence, name, entry in newest.values():
                        _insert(db, entry, name, sequence)
                    db.execute("COMMIT")
                for suffix in ("-journal", "-wal", "-shm"):  # what the old index left would be played into the new one
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                os.replace(fresh, path)
                _sync(self.root)


# ---------------------------------------------------------------- an entry as bytes, and rows of the index


def _pack(entry: Entry) -> bytes:
    """A safetensors file whose header holds everything but the tensors, under one key: more come in random order."""
    for word in (entry.kind, entry.key):
        if not word or not word.isprintable():
            raise RoomError(f"kind {entry.kind!r} and key {entry.key!r} must be printable and not empty")
    about = {"kind": entry.kind, "key": entry.key, "meta": entry.meta, "payload": entry.payload}
    try:
        text = json.dumps(plain(about), allow_nan=False, separators=(",", ":"))
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in entry.tensors.items()
        }
        return safetensors.torch.save(tensors, metadata={"flyroom": text})
    except (TypeError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise RoomError(f"{entry.kind} {entry.key} cannot be stored: {error}") from error


def _unpack(blob: bytes) -> Entry:
    """What `_pack` was given, tuples as lists. The bytes are those that their name promised."""
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    return Entry(**json.loads(header["__metadata__"]["flyroom"]), tensors=safetensors.torch.load(blob))


def _rows(db: sqlite3.Connection) -> Iterable[tuple[str, str, str, str]]:
    return db.execute("SELECT kind, key, blob, meta FROM entries ORDER BY sequence, kind, key").fetchall()


def _row(db: sqlite3.Connection, kind: str, key: str) -> str | None:
    row = db.execute("SELECT blob FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return None if row is None else row[0]


def _insert(db: sqlite3.Connection, entry: Entry, name: str, sequence: int) -> None:
    values = (entry.kind, entry.key, name, json.dumps(plain(entry.meta)), sequence)
    db.execute("INSERT OR REPLACE INTO entries (kind, key, blob, meta, sequence) VALUES (?, ?, ?, ?, ?)", values)


# ---------------------------------------------------------------- files


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what the system said in terms of the room."""
    try:
        yield
    except sqlite3.Error as error:
        raise RoomError(f"{path}: {error}. If it is damaged, remove it: it is rebuilt from the blobs.") from error
    except OSError as error:
        why = error.strerror or error
        raise RoomError(f"{error.filename or path}: {why}; flyroom must read and write there") from error
