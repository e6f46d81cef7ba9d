"""What every record shares: how it becomes JSON, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal

Provenance = Literal["grown", "imported"]
Watch = Callable[[str, int, int, str], None]  # the stage, how much is done, of how much, a word on how it goes


class NotAvailable(ValueError):
    """A world, a behaviour or a base does not have what was asked for. The message says what, and what there is."""


SETTING: Mapping[str, bool] = {"setting": True}  # metadata of a field that says how something is had, not what it is


def plain(value: Any, *, settings: bool = True) -> Any:
    """Turn records into JSON values; a dataclass becomes a mapping of its fields with its class name under "is".

    `settings` False leaves out the fields whose metadata is SETTING.
    """
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if settings or not f.metadata.get("setting")]
        return {"is": type(value).__name__} | {name: plain(getattr(value, name), settings=settings) for name in names}
    if isinstance(value, Mapping):
        return {str(k): plain(v, settings=settings) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(v, settings=settings) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name a record by its content, settings apart."""
    text = json.dumps(plain(value, settings=False), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
