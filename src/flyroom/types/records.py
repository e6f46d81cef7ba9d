"""What every record shares: how it becomes JSON, and the hash that names it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from flyroom.types.sources import code_of_class

P = ParamSpec("P")
T = TypeVar("T")
Provenance = Literal["grown", "imported"]
Watch = Callable[[str, int, int, str], None]  # the stage, how much is done, of how much, a word on how it goes


class NotAvailable(ValueError):
    """A world, a behaviour or a base does not have what was asked for. The message says what, and what there is."""


def if_any(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | tuple[()]:
    """What a world gives; nothing where it says that it has none, or raises NotAvailable. For what is optional.

    >>> def cues(kind):
    ...     raise NotAvailable(f"no cues of kind {kind}")
    >>> if_any(cues, "marks")
    ()
    """
    try:
        return ask(*args, **kwargs)
    except NotAvailable:
        return ()


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
    """Twelve hexadecimal digits that name a record by its content, settings apart.

    A record whose class is not flyroom's is named by its source, too. Whole numbers in a field of floats are floats, as
    a room gives them back.
    """
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    """As `plain`, of what counts for a name."""
    if is_dataclass(value) and not isinstance(value, (type, Enum)):
        kinds = _numbers(type(value))
        values = {name: _canonical(_cast(getattr(value, name), kind)) for name, kind in kinds.items()}
        code = code_of_class(type(value))
        return {"is": type(value).__name__} | values | ({"code of": code} if code else {})
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    return [_canonical(v) for v in value] if isinstance(value, (list, tuple)) else plain(value)


@lru_cache(maxsize=1024)
def _numbers(kind: type) -> dict[str, type | None]:
    """Of each field that counts for a name, the one kind of number that it is declared to hold."""
    kinds: dict[str, type | None] = {}
    for field in fields(kind):
        words = {*re.findall(r"\w+", field.type if isinstance(field.type, str) else str(field.type))}
        names = words & {"int", "float"}
        if not field.metadata.get("setting"):
            kinds[field.name] = {"int": int, "float": float}[names.pop()] if len(names) == 1 else None
    return kinds


def _cast(value: Any, kind: type | None) -> Any:
    """Numbers as numbers of that kind, where that changes nothing but how they are written."""
    if kind is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Mapping):
        return {key: _cast(item, kind) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cast(item, kind) for item in value]
    return kind(value) if isinstance(value, (int, float)) and value == value // 1 else value
