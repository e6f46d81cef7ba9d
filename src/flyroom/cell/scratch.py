"""The folder of a process in a cell: made for it, and removed with it whatever the process left there.

A folder is held by a lock for as long as the process that made it lives; what a killed one left is removed by the next.
Folders may lie in one another deeper than a path or Python's stack is long: whatever lies deep is moved up first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import uuid
from pathlib import Path

PREFIX = "flyroom-cell-"
YOUNG = 60.0  # seconds in which a folder may not be locked yet


class Scratch:
    """A new folder, mode 0700, until `close`."""

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._handle = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        remove(self.path)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def sweep() -> None:
    """Remove the folders of this user whose process was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another's, or its process has just ended
            about = folder.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < YOUNG:
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(folder)
            finally:
                os.close(handle)


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it. What cannot be removed stays, and nothing is raised."""
    waiting = [str(folder)]
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                waiting += _empty(path, folder)
                os.rmdir(path)
            else:
                os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _empty(path: str, top: Path) -> list[str]:
    """Move what is in a folder up, and return where it is now. A folder moves only where it may be written to."""
    os.chmod(path, 0o700)
    moved = list[str]()
    for entry in [*os.scandir(path)]:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                os.chmod(entry.path, 0o700)
            goal = f"{top}/{uuid.uuid4().hex}"
            os.rename(entry.path, goal)
            moved.append(goal)
    return moved
