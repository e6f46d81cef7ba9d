"""The folder of a room: blobs under their hashes, what is being written, and locks. It knows nothing of entries.

A room may come from a stranger. Whatever names a blob must be a hash, and no link is followed for writing or deletion.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flyroom.room.files import RoomError, is_at, is_plain, read_small, sync, write
from flyroom.room.index import NAME

FOLDERS = ("blobs", "staged", "locks")
GROUP = "placing"  # the file that names a group of blobs


@dataclass(frozen=True)
class Folder:
    """A room's files."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / "format"

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite3"

    @property
    def keyring(self) -> Path:
        return self.root / "vault.json"

    # ------------------------------------------------------------ blobs

    def locate(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise RoomError(f"{self.index} is damaged: it names a blob {name!r}. Remove that one file: it is rebuilt.")
        return self.root / "blobs" / name[:2] / name

    def list_blobs(self) -> Sequence[Path]:
        paths = (path for path in (self.root / "blobs").glob("*/*") if NAME.fullmatch(path.name))
        return sorted(path for path in paths if path == self.locate(path.name) and self.has(path))

    def has(self, blob: Path) -> bool:
        """Whether a blob is a file of the room, and no link to one that may lie outside."""
        return is_plain(blob) and not blob.parent.is_symlink()

    def place(self, draft: Path) -> None:
        """Move a staged blob to where its name says."""
        path = self.locate(draft.name)
        if path.parent.is_symlink():
            raise RoomError(f"{path.parent} is a link; a room keeps its blobs in folders of its own")
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync(path.parent.parent)
        os.replace(draft, path)
        sync(path.parent)

    def remove(self, name: str) -> None:
        path = self.locate(name)
        if not path.parent.is_symlink():  # what a link leads to is not the room's
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------ staging and locks

    def make(self, *names: str) -> None:
        """Make the folders that are missing, of these names or all. Raises RoomError where a link stands in a place."""
        self.refuse_links()
        for name in names or FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)

    def refuse_links(self) -> None:
        for name in FOLDERS:
            if (self.root / name).is_symlink():
                raise RoomError(f"{self.root / name} is a link; a room keeps its files in folders of its own")

    def replace(self, path: Path, content: bytes) -> None:
        """Write a file beside the blobs, whole or not at all."""
        with self.stage() as folder:
            write(folder / path.name, content)
            os.replace(folder / path.name, path)
            sync(self.root)

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A folder to write in, locked while this process lives. A group placed in part is left to the next sweep."""
        folder = self.root / "staged" / uuid.uuid4().hex
        with self.hold("staged"):  # or a sweep could take the folder before its lock is held
            folder.mkdir(mode=0o700)
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield folder
            shutil.rmtree(folder)
        except BaseException:
            if not (folder / GROUP).exists():  # a full disk needs the space at once
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            os.close(handle)

    def sweep(self, names: Set[str] | None) -> set[str]:
        """Clear away what killed processes had staged, and those blobs of the groups which they placed or took out that
        no row names. Returns the blobs of the groups that living ones are placing or taking out.

        `names` are the blobs of the index, whose write lock the caller holds; None where there is no index, and nobody
        knows what was committed: then a group stays where all of it is there, and goes where a part is missing.
        """
        busy = set[str]()
        with self.hold("staged"):
            for folder in (self.root / "staged").iterdir():
                if folder.is_symlink() or not folder.is_dir():  # not ours: a file manager's, or a trap
                    continue
                try:
                    handle = os.open(folder, os.O_RDONLY)
                except FileNotFoundError:  # its writer has just ended
                    continue
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    group = _read_group(folder)
                    if names is not None or not all(self.has(self.locate(name)) for name in group):
                        for name in group - (names or set()):
                            self.remove(name)
                    shutil.rmtree(folder)
                except BlockingIOError:  # its writer lives
                    busy |= _read_group(folder)
                except FileNotFoundError:  # its writer has just ended
                    continue
                finally:
                    os.close(handle)
        return busy

    def note_group(self, folder: Path, names: Sequence[str]) -> None:
        """Say in a staged folder which blobs stand or fall together, so that a sweep can finish what a kill cut short:
        those that are being placed, or those whose rows are being taken out.
        """
        if names:
            write(folder / GROUP, "\n".join(names).encode())
            sync(folder)

    def hold(self, key: str) -> AbstractContextManager[None]:
        """Hold one of the room's own locks."""
        return self.hold_file(hashlib.sha256(key.encode()).hexdigest()[:32])

    @contextmanager
    def hold_file(self, name: str) -> Iterator[None]:
        """Hold a lock, one process and thread at a time; the next one waits."""
        path = self.root / "locks" / name
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if is_at(handle, path):
                break
            os.close(handle)  # whoever held it took the file away: start again on the new one
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)


def _read_group(folder: Path) -> set[str]:
    """The blobs that stand or fall together. Whatever else is named is left alone: it could be a path to anything."""
    path = folder / GROUP
    try:
        words = read_small(path).split() if is_plain(path) else []
    except RoomError:  # too large for one of ours
        words = []
    return {word for word in words if NAME.fullmatch(word)}
