"""Write a file or a folder whole or not at all: into a draft beside it, which then takes its name. A reader never meets
a part, and what stood there stays until the whole is written. Files of secrets are written by `vault.private`. And what
a whole file is known by, its hash.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, and make the folders above it. OSError where it cannot be written; then nothing has changed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "pages" / "one.txt", "all of it")
    ...     [(file.name, file.read_text()) for file in (Path(folder) / "pages").iterdir()]
    [('one.txt', 'all of it')]
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a machine that fails must not leave an empty file under its name
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def replace_folder(draft: Path, folder: Path) -> None:
    """Give a draft on the same disk the name of a folder. What stood there goes last, and comes back where the draft
    cannot have the name.
    """
    former = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.former")
    if folder.exists():
        os.rename(folder, former)
    try:
        os.rename(draft, folder)
    except BaseException:
        if former.exists():
            os.rename(former, folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
