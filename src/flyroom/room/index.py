"""The index of a room: kind, key -> blob, in one table of SQLite. It only serves speed and order, and is made anew from
the blobs where it is lost, damaged, or not as this file makes it: a stranger's could hold anything.

It keeps a rollback journal and not a write-ahead log: that needs shared memory, which network folders lack.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from flyroom.room.files import DAMAGE, get_code, is_plain
from flyroom.room.seals import Clear, Row, Sealed

Seal = Clear | Sealed
TABLE = "CREATE TABLE entries (kind, key, blob, meta, sequence INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID"
COLUMNS = "kind, key, blob, meta, sequence"
PATIENCE = 120.0  # seconds to wait for another process's commit
NAME = re.compile(r"[0-9a-f]{64}")  # a blob's, and nothing else: a path in its place would lead out of the room
SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # how a journal ends that names a file for SQLite to delete


def list_sides(path: Path) -> list[Path]:
    """The files that SQLite keeps beside an index, whether they are there or not; the journal first."""
    return [path.with_name(path.name + suffix) for suffix in ("-journal", "-wal", "-shm")]


def is_safe(path: Path) -> bool:
    """Whether SQLite may open an index that a stranger could have made: it and what lies beside it are plain files, for
    a pipe would be waited for, and its journal names no other file, which SQLite would delete.
    """
    sides = list_sides(path)
    return is_plain(path) and all(map(_is_plain_or_gone, sides)) and not _names_super_journal(sides[0])


def connect(path: Path) -> sqlite3.Connection:
    """Opens an index that there is; sqlite3.OperationalError where there is none."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None)
    db.execute("PRAGMA secure_delete = ON")  # what was taken out is not left in free pages
    return db


def read_version(db: sqlite3.Connection) -> tuple[int, int]:
    """The format and the epoch that an index was made for."""
    (number,) = db.execute("PRAGMA user_version").fetchone()
    (epoch,) = db.execute("PRAGMA application_id").fetchone()
    return number, epoch


def fill(db: sqlite3.Connection, seal: Seal, rows: Iterable[Row]) -> None:
    """Make the rows of an index anew; the caller commits."""
    number, epoch = seal.version
    db.execute("DELETE FROM entries")
    db.execute(f"PRAGMA user_version = {number}")
    db.execute(f"PRAGMA application_id = {epoch}")
    for row in rows:
        insert(db, seal, row)


def insert(db: sqlite3.Connection, seal: Seal, row: Row) -> None:
    """Put a row in, in the place of one of its kind and key; the caller commits."""
    db.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", seal.seal_row(row))


def remove(db: sqlite3.Connection, seal: Seal, kind: str, key: str) -> None:
    """Take a row out, if it is there; the caller commits."""
    db.execute("DELETE FROM entries WHERE kind = ? AND key = ?", seal.address(kind, key))


def find_blob(db: sqlite3.Connection, seal: Seal, kind: str, key: str) -> str | None:
    """The name of the blob of an entry, None where there is no such entry."""
    row = db.execute("SELECT blob FROM entries WHERE kind = ? AND key = ?", seal.address(kind, key)).fetchone()
    return None if row is None else row[0]


def read_rows(db: sqlite3.Connection, seal: Seal) -> Sequence[Row]:
    """Every row, oldest first."""
    rows = [seal.open_row(values) for values in db.execute(f"SELECT {COLUMNS} FROM entries")]
    return sorted(rows, key=lambda row: (row.sequence, row.kind, row.key))


def list_blobs(db: sqlite3.Connection) -> set[str]:
    """The blobs that entries point at; this takes no key."""
    return {name for (name,) in db.execute("SELECT blob FROM entries")}


def salvage_blobs(path: Path) -> set[str] | None:
    """The blobs that an index names which is whole, and of another epoch or none; None where there is no such index."""
    if not is_safe(path):
        return None
    try:
        with closing(connect(path)) as db:
            return list_blobs(db) if _is_ours(db) else None
    except sqlite3.DatabaseError:
        return None


def is_sound(path: Path, seal: Seal) -> bool:
    """Whether an index is whole and as this file makes it."""
    if not is_safe(path):
        return False
    try:
        with closing(connect(path)) as db:
            return read_version(db) == seal.version and _is_ours(db) and all(map(_is_valid, read_rows(db, seal)))
    except (ValueError, TypeError, RecursionError):  # a row that the seal did not write
        return False
    except sqlite3.DatabaseError as error:
        if get_code(error) in (*DAMAGE, sqlite3.SQLITE_ERROR):
            return False
        raise


def _is_ours(db: sqlite3.Connection) -> bool:
    tables = db.execute("SELECT sql FROM sqlite_master").fetchall()
    return tables == [(TABLE,)] and db.execute("PRAGMA quick_check").fetchone() == ("ok",)


def _is_valid(row: Row) -> bool:
    is_entry = NAME.fullmatch(row.blob) is not None and isinstance(row.meta, dict)
    return is_entry and isinstance(row.sequence, int) and 0 <= row.sequence < 2**63 - 2**32


def _is_plain_or_gone(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)  # one look: others begin and end transactions meanwhile
    except FileNotFoundError:
        return True


def _names_super_journal(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            file.seek(-len(SUPER_JOURNAL), os.SEEK_END)
            return file.read() == SUPER_JOURNAL
    except OSError:  # there is none, or it is shorter
        return False
