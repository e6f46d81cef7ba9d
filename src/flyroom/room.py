"""Where everything lives: one folder; blobs under their hashes, and an index that can be rebuilt from them.

    room/
      format            "flyroom room 2": what makes the folder a room
      blobs/ab/abcdef…  entries, each a safetensors file under the SHA-256 of its bytes; its header says what it is
      index.sqlite3     kind, key -> blob. Only for speed and order: delete it and it comes back
      staged/           what is being written: a folder for each group, locked by its writer for as long as that lives
      locks/            who is at which stage

An entry is written whole or not at all, a group of entries together or not at all, whenever the process is killed:
stage and fsync every file, take the index's write lock, move the files in, commit the rows. A process killed before the
commit leaves nothing but a folder under staged/, which the next one to come sweeps away. The order of entries is the
modification time of the blobs, so a rebuilt index is equal to the lost one (copy a room with its times: `cp -a`).

A room may come from a stranger. Whatever names a blob must be a hash, no link is followed for writing or deletion, an
index that is not as this file makes it is made anew, and a blob that does not read as an entry is left out.

Tensors are written one at a time, and those that are read are mapped from their file: they take memory once looked at.
The index keeps a rollback journal and not a write-ahead log: that needs shared memory, which network folders lack.
Left out: encryption and signatures (they go into `_write_entry` and `_read_entry`), Windows (no flock).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from flyroom.types import Entry, plain

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
WRITERS = {1: "flyroom 0.1"}  # of the formats that this version no longer reads
LATEST = frozenset({"checkpoint"})  # kinds whose last entry under a key counts; of all others the first
TABLE = "CREATE TABLE entries (kind, key, blob, meta, sequence INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID"
PATIENCE = 120.0  # seconds to wait for another process's commit
NAME = re.compile(r"[0-9a-f]{64}")  # a blob's, and nothing else: a path in its place would lead out of the room
SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # how a journal ends that names a file for SQLite to delete
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
DTYPES = {  # as the format of safetensors spells them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


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
        with _explain(self.root, _name_group(entries)):
            return self._put(entries)

    def _put(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        results: list[Entry] = []
        superseded: list[str] = []
        self._open()
        with self._stage() as folder:
            copies = [_stage_entry(folder, entry) for entry in entries]
            with self._begin(write=True) as db:
                self._sweep(db)
                arrivals: list[tuple[Entry, str]] = []
                for entry, (name, copy) in zip(entries, copies, strict=True):
                    row = _find_blob(db, entry.kind, entry.key)
                    is_newer = entry.kind in LATEST and row != name
                    resident = None if row is None or is_newer else self._read_blob(row)
                    results.append(resident or copy)
                    if resident is None:
                        arrivals.append((entry, name))
                        superseded += [] if row in (None, name) else [row]
                if len(arrivals) > 1:  # so that a sweep can take back a group that was placed in part
                    _write(folder / "placing", "\n".join(name for _, name in arrivals).encode())
                    _sync(folder)
                (last,) = db.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
                for number, (entry, name) in enumerate(arrivals, max(time.time_ns(), last + 1)):
                    os.utime(folder / name, ns=(number, number))
                    self._place(folder / name)
                    _insert(db, entry, name, self._locate(name).stat().st_mtime_ns)
            (folder / "placing").unlink(missing_ok=True)
        self._drop(superseded)
        return results

    def get(self, kind: str, key: str) -> Entry | None:
        """Read an entry, or None. Raises RoomError naming the blob's file where it is gone or its bytes changed."""
        with _explain(self.root), self._begin() as db:  # held, so that no one replaces the blob while it is read
            name = _find_blob(db, kind, key)
            if name is None:
                return None
            entry = self._read_blob(name)
        if entry is None or (entry.kind, entry.key) != (kind, key):
            path = self._locate(name)
            state = "is damaged: its content is not what its name says" if path.exists() else "is gone"
            raise RoomError(
                f"{kind} {key} cannot be read: {path} {state}. Remove {self.root / 'index.sqlite3'}: it is rebuilt "
                "from the blobs that are whole, and the stage that made this entry runs again. Or put the blob back."
            )
        return entry

    def list(self, kind: str | None = None) -> Sequence[Listing]:
        """Everything of one kind, or of all, oldest first."""
        with _explain(self.root), self._begin() as db:
            rows = _read_rows(db)
        return [Listing(row.kind, row.key, json.loads(row.meta)) for row in rows if kind in (None, row.kind)]

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
        with _explain(self.root, f"that {kind} {key} is taken out"):
            with self._begin(write=True) as db:
                name = _find_blob(db, kind, key)
                db.execute("DELETE FROM entries WHERE kind = ? AND key = ?", (kind, key))
            self._drop([] if name is None else [name])

    def check(self) -> Report:
        """Read every blob and hold it against its name and the index."""
        with _explain(self.root):
            with self._begin(write=True) as db:  # for as long as it takes to list, nobody places anything
                items = {row.blob: Listing(row.kind, row.key, json.loads(row.meta)) for row in _read_rows(db)}
                paths = {path.name: path for path in self._list_blobs()}
            corrupt = [p for p in paths.values() if self._read_blob(p.name, tensors=False) is None and p.exists()]
        return Report(
            entries=len(items),
            lost=tuple(item for name, item in items.items() if name not in paths),
            corrupt=tuple(corrupt),
            orphans=tuple(path for name, path in paths.items() if name not in items and path not in corrupt),
        )

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a name, one process and thread at a time; the next one waits. Let go when the holder ends or is killed.

        Look again for the result once inside: whoever held it before may have made it. Not to be nested with itself.
        """
        with ExitStack() as stack:
            with _explain(self.root, "a lock"):  # and not around the caller's own work, whose errors are its own
                self._open()
                stack.enter_context(self._hold(f"stage {key}"))
            yield

    # ------------------------------------------------------------ blobs

    def _locate(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            index = self.root / "index.sqlite3"
            raise RoomError(f"{index} is damaged: it names a blob {name!r}. Remove that one file: it is rebuilt.")
        return self.root / "blobs" / name[:2] / name

    def _list_blobs(self) -> Sequence[Path]:
        paths = (path for path in (self.root / "blobs").glob("*/*") if NAME.fullmatch(path.name))
        return sorted(path for path in paths if path == self._locate(path.name) and self._has(path))

    def _has(self, blob: Path) -> bool:
        """Whether a blob is a file of the room, and no link to one that may lie outside."""
        return _is_plain(blob) and not blob.parent.is_symlink()

    def _read_blob(self, name: str, *, tensors: bool = True) -> Entry | None:
        """The entry in a blob, or None where the blob is gone, is not what its name says, or is no entry."""
        path = self._locate(name)
        try:
            if not self._has(path) or _hash(path) != name:
                return None
            return _read_entry(path, tensors=tensors)
        except (FileNotFoundError, *UNREADABLE):
            return None

    def _place(self, staged: Path) -> None:
        path = self._locate(staged.name)
        if path.parent.is_symlink():
            raise RoomError(f"{path.parent} is a link; a room keeps its blobs in folders of its own")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _sync(path.parent.parent)
        os.replace(staged, path)
        _sync(path.parent)

    def _remove(self, name: str) -> None:
        path = self._locate(name)
        if not path.parent.is_symlink():  # what a link leads to is not the room's
            path.unlink(missing_ok=True)

    def _drop(self, names: Sequence[str]) -> None:
        """Remove blobs that no entry points at any more; under the write lock, or one might be about to."""
        if names:
            with self._begin(write=True) as db:
                for name in set(names) - {row.blob for row in _read_rows(db)}:
                    self._remove(name)

    # ------------------------------------------------------------ staging and locks

    @contextmanager
    def _stage(self) -> Iterator[Path]:
        """A folder to write in, locked while this process lives. A group placed in part is left to the next sweep."""
        folder = self.root / "staged" / uuid.uuid4().hex
        with self._hold("staged"):  # or a sweep could take the folder before its lock is held
            folder.mkdir(mode=0o700)
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield folder
            shutil.rmtree(folder)
        except BaseException:
            if not (folder / "placing").exists():  # a full disk needs the space at once
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(handle)

    def _sweep(self, db: sqlite3.Connection | None) -> None:
        """Clear away what killed processes had staged, and the blobs of groups that they placed and did not commit.

        The caller holds the index's write lock, or there is no index.
        """
        with self._hold("staged"):
            for folder in (self.root / "staged").iterdir():
                if folder.is_symlink() or not folder.is_dir():  # not ours: a file manager's, or a trap
                    continue
                try:
                    handle = os.open(folder, os.O_RDONLY)
                except FileNotFoundError:  # its writer has just ended
                    continue
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    for name in _read_placing(folder) - {row.blob for row in (_read_rows(db) if db else ())}:
                        self._remove(name)
                    shutil.rmtree(folder)
                except (BlockingIOError, FileNotFoundError):  # its writer lives, or has just ended
                    continue
                finally:
                    os.close(handle)

    @contextmanager
    def _hold(self, key: str) -> Iterator[None]:
        path = self.root / "locks" / hashlib.sha256(key.encode()).hexdigest()[:32]
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, path):
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
        for name in ("blobs", "staged", "locks"):
            if (self.root / name).is_symlink():
                raise RoomError(f"{self.root / name} is a link; a room keeps its files in folders of its own")
        marker = self.root / "format"
        if not marker.exists():
            self._make(marker)
        self._check_format(marker)
        for name in ("blobs", "staged", "locks"):
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        if not self._is_sound():
            self._rebuild()
        self._ready = True
        if any((self.root / "staged").iterdir()):
            with self._begin(write=True) as db:
                self._sweep(db)

    def _check_format(self, marker: Path) -> None:
        words = marker.read_text(errors="replace").split()
        if words[:2] != ["flyroom", "room"] or len(words) != 3 or not re.fullmatch("[1-9][0-9]{0,8}", words[2]):
            raise RoomError(f"{marker} does not say what a room's should; {self.root} is not a room")
        number = int(words[2])
        if number > FORMAT:
            raise RoomError(
                f"{self.root} was written by a newer flyroom (format {number}, this one reads format {FORMAT}): "
                "upgrade flyroom, or give another room"
            )
        if number < FORMAT:
            raise RoomError(
                f"{self.root} was written by {WRITERS[number]} (format {number}), and this version reads format "
                f"{FORMAT}: grow again into a new room, or keep {WRITERS[number]} for this one"
            )

    def _make(self, marker: Path) -> None:
        """Make the folder a room, marker first and whole: of two processes neither takes the other for a stranger."""
        others = sorted({p.name for p in self.root.iterdir()} - {"staged", "locks"}) if self.root.exists() else []
        if others and not marker.exists():
            names = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise RoomError(f"{self.root} is not a room: it holds other files ({names}). Give an empty folder.")
        if not self._create:
            raise RoomError(f"there is no room at {self.root}")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("staged", "locks"):
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        with self._stage() as folder:
            _write(folder / "format", f"flyroom room {FORMAT}\n".encode())
            os.replace(folder / "format", marker)
            _sync(self.root)

    def _connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)

    @contextmanager
    def _begin(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction on the index, on a connection of its own: committed at the end, rolled back on an error."""
        self._open()
        path = self.root / "index.sqlite3"
        if not path.exists():
            self._rebuild()
        with closing(self._connect(path)) as db:
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield db
            db.execute("COMMIT")

    def _is_sound(self) -> bool:
        """Whether the index is whole and as this file makes it: a stranger's could hold anything."""
        path = self.root / "index.sqlite3"
        if not _is_plain(path) or _names_super_journal(path.with_name(f"{path.name}-journal")):
            return False
        try:
            with closing(self._connect(path)) as db:
                return (
                    db.execute("PRAGMA user_version").fetchone() == (FORMAT,)
                    and db.execute("SELECT sql FROM sqlite_master").fetchall() == [(TABLE,)]
                    and db.execute("PRAGMA quick_check").fetchone() == ("ok",)
                    and all(_is_valid(row) for row in _read_rows(db))
                )
        except sqlite3.DatabaseError as error:
            if _get_code(error) in (*DAMAGE, sqlite3.SQLITE_ERROR):
                return False
            raise

    def _rebuild(self) -> None:
        """Make the index anew from the blobs that are whole. Of several under one key the newest counts."""
        path = self.root / "index.sqlite3"
        with self._hold("index"):
            if self._is_sound():
                return  # another process was faster
            self._sweep(None)
            newest: dict[tuple[str, str], tuple[int, str, Mapping[str, Any]]] = {}
            for blob in self._list_blobs():
                entry = self._read_blob(blob.name, tensors=False)
                if entry is not None:
                    item = (min(blob.stat().st_mtime_ns, 2**62), blob.name, entry.meta)  # SQLite counts to 2**63
                    rival = newest.get((entry.kind, entry.key))
                    if rival is None or rival[:2] < item[:2]:
                        newest[entry.kind, entry.key] = item
            with self._stage() as folder:
                fresh = folder / path.name
                fresh.touch(mode=0o600)
                with closing(self._connect(fresh)) as db:
                    db.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {FORMAT}; {TABLE};")
                    for (kind, key), (sequence, name, meta) in newest.items():
                        _insert(db, Listing(kind, key, meta), name, sequence)
                    db.execute("COMMIT")
                for suffix in ("-journal", "-wal", "-shm"):  # what the old index left would be played into the new one
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                os.replace(fresh, path)
                _sync(self.root)


# ---------------------------------------------------------------- an entry as a file

# A file that is not an entry fails in one of these ways: no safetensors, no JSON, JSON of another shape or too deep.
UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError, RecursionError)


def _stage_entry(folder: Path, entry: Entry) -> tuple[str, Entry]:
    """Write an entry under its hash, and read it again: what cannot be read must not be stored."""
    if not _is_word(entry.kind) or not _is_word(entry.key):
        raise RoomError(f"kind {entry.kind!r} and key {entry.key!r} must be printable and not empty")
    path = folder / "entry"
    try:
        name = _write_entry(path, entry)
        copy = _read_entry(path)
    except (RuntimeError, *UNREADABLE) as error:
        raise RoomError(f"{entry.kind} {entry.key} cannot be stored: {error}") from error
    path.rename(folder / name)
    return name, copy


def _write_entry(path: Path, entry: Entry) -> str:
    """Write a safetensors file, one tensor at a time, and return the SHA-256 of its bytes."""
    sha = hashlib.sha256()
    with _create(path) as file:
        for part in _serialize(entry):
            sha.update(part)
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    return sha.hexdigest()


def _serialize(entry: Entry) -> Iterator[bytes | memoryview]:
    """A safetensors file: the header's length, the header, the tensors. All but the tensors stands under one key of
    the header's metadata: a file with several keys would not have the same bytes each time."""
    about = {"kind": entry.kind, "key": entry.key, "meta": entry.meta, "payload": entry.payload}
    text = json.dumps(plain(about), allow_nan=False, separators=(",", ":"))
    # Wide types first, as safetensors does: every tensor then lies where its type may be mapped.
    tensors = sorted(entry.tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {"__metadata__": {"flyroom": text}}
    start = 0
    for name, tensor in tensors:
        if tensor.dtype not in DTYPES or tensor.layout is not torch.strided or name in header:
            raise ValueError(f"tensor {name!r} is {tensor.dtype}, {tensor.layout}; no safetensors file takes that")
        stop = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    yield len(raw).to_bytes(8, "little") + raw
    for _, tensor in tensors:
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _read_entry(path: Path, *, tensors: bool = True) -> Entry:
    """What `_write_entry` was given, tuples as lists; without its tensors where only its header is asked for."""
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {})["flyroom"])
        values = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118 - no mapping
    if not isinstance(about, dict) or about.keys() != {"kind", "key", "meta", "payload"}:
        raise ValueError(f"{path} is not an entry of a room")
    kind, key, meta, payload = about["kind"], about["key"], about["meta"], about["payload"]
    if not _is_word(kind) or not _is_word(key) or not isinstance(meta, dict) or not isinstance(payload, dict):
        raise ValueError(f"{path} is not an entry of a room")
    return Entry(kind=kind, key=key, meta=plain(meta), payload=payload, tensors=values)  # plain: not too deep to index


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _name_group(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return f"{entries[0].kind} {entries[0].key}{more}" if entries else "nothing"


# ---------------------------------------------------------------- rows of the index


class _Row(NamedTuple):
    kind: str
    key: str
    blob: str
    meta: str
    sequence: int


def _read_rows(db: sqlite3.Connection) -> Sequence[_Row]:
    rows = db.execute("SELECT kind, key, blob, meta, sequence FROM entries ORDER BY sequence, kind, key")
    return [_Row(*row) for row in rows]


def _is_valid(row: _Row) -> bool:
    texts = all(isinstance(value, str) for value in row[:4]) and NAME.fullmatch(row.blob)
    try:
        return bool(texts) and isinstance(json.loads(row.meta), dict) and 0 <= row.sequence < 2**63 - 2**32
    except (ValueError, TypeError, RecursionError):
        return False


def _find_blob(db: sqlite3.Connection, kind: str, key: str) -> str | None:
    row = db.execute("SELECT blob FROM entries WHERE kind = ? AND key = ?", (kind, key)).fetchone()
    return None if row is None else row[0]


def _insert(db: sqlite3.Connection, entry: Entry | Listing, name: str, sequence: int) -> None:
    values = (entry.kind, entry.key, name, json.dumps(plain(entry.meta)), sequence)
    db.execute("INSERT OR REPLACE INTO entries (kind, key, blob, meta, sequence) VALUES (?, ?, ?, ?, ?)", values)


def _names_super_journal(journal: Path) -> bool:
    """Whether SQLite would delete a file that this journal names. No journal of ours names one."""
    try:
        with journal.open("rb") as file:
            file.seek(-len(SUPER_JOURNAL), os.SEEK_END)
            return file.read() == SUPER_JOURNAL
    except OSError:  # there is none, or it is shorter
        return False


# ---------------------------------------------------------------- files


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still lies at a path, which another process may take away at any moment."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _write(path: Path, content: bytes) -> None:
    with _create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_placing(folder: Path) -> set[str]:
    """The blobs that a group was placing. Whatever else stands there is left alone: it could be a path to anything."""
    path = folder / "placing"
    words = path.read_text(errors="replace").split() if _is_plain(path) else []
    return {word for word in words if NAME.fullmatch(word)}


# ---------------------------------------------------------------- errors of the system


@contextmanager
def _explain(root: Path, unwritten: str = "the index") -> Iterator[None]:
    """Say what an error of the system means for the room. All that it may ever advise to remove is the index."""
    index = root / "index.sqlite3"
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        is_of_index = isinstance(error, sqlite3.Error)
        path = index if is_of_index else error.filename2 or error.filename or root
        why = str(error) if is_of_index else error.strerror or str(error)
        if _means_full(error, root):
            raise RoomError(
                f"{path}: the disk is full ({why}): {unwritten} was not written, and nothing that was stored is lost. "
                "Free some space, and run it again."
            ) from error
        if is_of_index and _get_code(error) in DAMAGE:
            raise RoomError(f"{index} is damaged ({why}). Remove that one file: it is rebuilt.") from error
        raise RoomError(f"{path}: {why}; flyroom must read and write there") from error


def _means_full(error: sqlite3.Error | OSError, root: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if _get_code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):  # SQLite does not always say which
        return root.exists() and shutil.disk_usage(root).free < 2**16
    return _get_code(error) == sqlite3.SQLITE_FULL


def _get_code(error: sqlite3.Error) -> int:
    """The kind of an error; one of Python's own, as for text that is not UTF-8, has none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
