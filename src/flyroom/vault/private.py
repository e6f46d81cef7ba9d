"""Files of this account alone, written whole or not at all: mode 0600, on the disk before they have their name; and
which folders this process keeps from other people's code.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
HIDDEN = set[Path]()  # the rooms that this process has opened, which no cell may read (`cell.paths`)


def write_over(path: Path, data: bytes) -> None:
    """Write a file, in the place of the one that is there, if any."""
    with _draft(path, data) as draft:
        os.replace(draft, path)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet. Raises FileExistsError where it is."""
    with _draft(path, data) as draft:
        os.link(draft, path)  # and not a rename, which would take the place of what is there


@contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(draft, NEW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
