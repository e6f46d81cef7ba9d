"""The folder where fetched bases lie, and what their manifests say.

It is FLYROOM_HOME where that is set, else `flyroom` in the user's cache, which is where the hub's own client keeps its
downloads on every platform.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyroom.whole import replace_folder

MANIFEST = "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def home() -> Path:
    """The folder of fetched bases, which need not be there yet."""
    chosen = os.environ.get("FLYROOM_HOME")
    if chosen:
        return Path(chosen).expanduser() / "bases"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flyroom" / "bases"


def list_bases() -> dict[str, Path]:
    """Name -> folder of every base that was fetched, by name."""
    if not home().is_dir():
        return {}
    folders = (folder for folder in sorted(home().iterdir()) if NAME.fullmatch(folder.name))  # no draft of a kill
    return {folder.name: folder for folder in folders if (folder / MANIFEST).is_file()}


def locate(base: str) -> str:
    """The folder of a fetched base by its name; any other base as it was given."""
    folder = home() / base
    return str(folder) if NAME.fullmatch(base) and (folder / MANIFEST).is_file() else base


def manifest(folder: str | Path) -> dict[str, Any] | None:
    """What is written of how a base was made or fetched: None where nothing is. ValueError where it is not JSON, or
    `world` is neither the number of a world nor a name.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file() or path.is_symlink():  # a stranger's link would lead to a file of yours
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("world"), (int, str)):
        raise ValueError(f'{path} has no "world"; it must give the world that the base speaks: a number or a name')
    return values


def write_folder(name: str, fill: Callable[[Path], dict[str, Any]]) -> Path:
    """Make the folder of a base: `fill` writes the files into a draft and returns the manifest. A base that is there
    already under this name gives way once the new one is whole.
    """
    folder = home() / require_name(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        values = fill(draft)
        (draft / MANIFEST).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o755)  # mkdtemp makes a folder that only its owner can read, and safetensors such files
        for file in draft.iterdir():
            if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:
                file.chmod(0o644)
        replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def require_name(name: str) -> str:
    """The name, if a folder may be called so. ValueError where it may not."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"name is {name!r}; it must be letters, digits, dots, dashes and underscores, 100 at most")
    return name
