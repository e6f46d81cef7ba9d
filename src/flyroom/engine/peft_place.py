"""Where an export may be written: a new folder, an empty one, or an earlier export of ours, which it replaces.

An earlier export has our header in the tensors and no file that an export does not write. PEFT drops that header when
it saves, so a folder in which somebody trained on is not taken for ours, nor one with checkpoints or notes beside.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError, safe_open

from flyroom.engine.peft_config import CONFIG
from flyroom.engine.peft_tensors import WEIGHTS

HEADER = "flyroom.shape"  # in the metadata of the tensors


def require_place(folder: Path, beside: Collection[str] = ()) -> None:
    """Raises ValueError where nothing of that name may be written or replaced; `beside` are the patterns of the files
    that stand in an export beside the adapter.
    """
    if folder.name in ("", ".."):
        raise ValueError(f"folder is {folder}; it must have a name of its own, such as exports/organism-1")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        kind = "a link" if folder.is_symlink() else "a file"
        raise ValueError(f"folder is {folder}; it is {kind}, give a folder that is new, empty or an earlier export")
    if folder.exists():
        _require_ours(folder, (WEIGHTS, CONFIG, *beside))
    above = next(path for path in folder.absolute().parents if path.exists() or path.is_symlink())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ValueError(f"folder is {folder}; {above} is no folder that you may write in, give another place")


def _require_ours(folder: Path, names: Collection[str]) -> None:
    paths = sorted(folder.iterdir())
    strange = next((path for path in paths if not _is_written(path, names)), None)
    if strange is not None:
        raise ValueError(
            f"folder is {folder}; it holds {strange.name}, which no export writes and which would be lost: give a "
            "folder that is new, empty or an earlier export"
        )
    if paths and not _is_marked(folder / WEIGHTS):
        raise ValueError(
            f"folder is {folder}; the files in it are not of an export of flyroom and would be lost: give a folder "
            "that is new, empty or an earlier export"
        )


def _is_written(path: Path, names: Collection[str]) -> bool:
    return path.is_file() and not path.is_symlink() and any(fnmatch(path.name, name) for name in names)


def _is_marked(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt") as tensors:
            return HEADER in (tensors.metadata() or {})
    except (OSError, SafetensorError):
        return False
