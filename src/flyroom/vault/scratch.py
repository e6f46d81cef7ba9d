"""The one folder where clear text may lie for a while: `scratch` in the runtime folder, mode 0700, in memory where the
machine has such a folder.

A process gets a folder of its own in it, which it holds by a lock for as long as it lives. The folder is wiped when the
process ends; what a killed one left is wiped by the next that opens an encrypted room or asks for scratch.
Left out: swap. A machine that swaps should encrypt that too.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import uuid
from functools import cache
from pathlib import Path

from flyroom.vault.identity import runtime


@cache
def scratch() -> Path:
    """This process's own folder for files that must be in clear; removed at its end."""
    wipe()
    folder = _locate() / uuid.uuid4().hex
    folder.mkdir(mode=0o700, parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)  # held until the process ends, however it does
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def wipe() -> int:
    """Remove what killed processes left; how many folders that were."""
    count = 0
    for folder in _locate().glob("*"):
        if folder.is_symlink() or not folder.is_dir():
            continue
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # its process has just ended
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
        except BlockingIOError:  # its process lives
            continue
        finally:
            os.close(handle)
    return count


def _locate() -> Path:
    folder = runtime() / "scratch"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
