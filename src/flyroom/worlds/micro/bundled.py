"""The bases that come with the package: ordinary Hugging Face folders with a manifest of how each was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT = "1M"


def bundled() -> dict[str, Path]:
    """Name -> folder, smallest first. They are of world 0, but for one whose name says another: no recipe was chosen
    on it.

    >>> all((folder / "model.safetensors").is_file() for folder in bundled().values())
    True
    """
    folders = [folder for folder in WEIGHTS.iterdir() if (folder / "config.json").is_file()] if WEIGHTS.is_dir() else []
    return {f.name: f for f in sorted(folders, key=lambda f: ((f / "model.safetensors").stat().st_size, f.name))}


def manifest(folder: str | Path) -> dict[str, Any] | None:
    """What is known of how a base was made: None for a base that is not of a world."""
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as e:
        raise ValueError(f"{path} is not JSON: {e}") from e
    if not isinstance(values.get("world"), int):
        raise ValueError(f'{path} has no "world"; it must give the seed of the world that the base was made in')
    return values
