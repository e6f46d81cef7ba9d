"""Write a file whole or not at all: into a draft beside it, which then takes its name. A reader never meets a part, and
what stood there stays until the whole is written. Files of secrets are written by `vault.private`.
"""

from __future__ import annotations

import os
import secrets
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
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
