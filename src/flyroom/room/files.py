"""Files of a room: written whole and synced, hashed, never through a link; and what an error of the system means."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SMALL = 2**20  # bytes
AGE = b"age-encryption.org/v1\n"  # how an age file begins


class RoomError(ValueError):
    """A room cannot be used as asked: the message names the file and says what to do."""


class DamagedError(RoomError):
    """The blob of an entry is gone, or is not what its name says; reading it again gives nothing else."""


def is_plain(path: Path) -> bool:
    """Whether it is a file itself, and no link to one."""
    return path.is_file() and not path.is_symlink()


def read_small(path: Path) -> str:
    """The text of a small file of the room's. Raises RoomError for a link, a device or a pipe, and for a large file:
    what a stranger put there could have no end.
    """
    if path.is_symlink():
        raise RoomError(f"{path} is a link; a room keeps its files in folders of its own")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with open(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size > SMALL:
            raise RoomError(
                f"{path} is not a file that flyroom wrote: it must be a plain file of at most {SMALL} bytes"
            )
        return file.read(SMALL).decode(errors="replace")


def is_at(handle: int, path: Path) -> bool:
    """Whether an open file still lies at a path, which another process may take away at any moment."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def is_age(path: Path) -> bool:
    """Whether a file is encrypted by age."""
    with path.open("rb") as file:
        return file.read(len(AGE)) == AGE


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a replaced file from the one before; None where there is none."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


def create(path: Path) -> IO[bytes]:
    """A new file that its owner alone can read. FileExistsError where there is one."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write(path: Path, content: bytes) -> None:
    """A new file, on the disk when the call returns. FileExistsError where there is one."""
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Put the names in a folder on the disk, so that a renamed file is found after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- errors of the system


@contextmanager
def explain(root: Path, unwritten: str = "the index") -> Iterator[None]:
    """Say what an error of the system means for the room. All that it may ever advise to remove is the index."""
    index = root / "index.sqlite3"
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, NotADirectoryError):
            raise RoomError(f"room is {root}; it must be a folder, and a file is in its place") from error
        is_of_index = isinstance(error, sqlite3.Error)
        path = index if is_of_index else error.filename2 or error.filename or root
        why = str(error) if is_of_index else error.strerror or str(error)
        if _means_full(error, root):
            raise RoomError(
                f"{path}: the disk is full ({why}): {unwritten} was not written, and nothing that was stored is lost. "
                "Free some space, and run it again."
            ) from error
        if is_of_index and get_code(error) in DAMAGE:
            raise RoomError(f"{index} is damaged ({why}). Remove that one file: it is rebuilt.") from error
        raise RoomError(f"{path}: {why}; flyroom must read and write there") from error


def _means_full(error: sqlite3.Error | OSError, root: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    if get_code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):  # SQLite does not always say which
        return root.exists() and shutil.disk_usage(root).free < 2**16
    return get_code(error) == sqlite3.SQLITE_FULL


def get_code(error: sqlite3.Error) -> int:
    """The kind of an error; one of Python's own, as for text that is not UTF-8, has none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
