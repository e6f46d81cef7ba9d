"""What installed packages bring: objects under an entry-point group.

A package that cannot be imported is named in a warning and left out: one broken plug-in stops nobody's work. So is one
whose name another package has, which comes first on the path, or flyroom itself.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any


def load(group: str) -> dict[str, Any]:
    """The objects of a group by name, those of broken packages left out.

    >>> load("flyroom.nothing")
    {}
    """
    objects: dict[str, Any] = {}
    for name, point in _by_name(group).items():
        try:
            objects[name] = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # other people's code: whatever it raises at import is theirs, SystemExit, too
            warnings.warn(
                f"the plug-in {name} ({point.value}) of {group} is left out; importing it raised "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
    return objects


def points(group: str, ours: Collection[str] = ()) -> dict[str, str]:
    """Where the objects of a group are made, as module:name, by name; a name of `ours` stays ours. Nothing is imported.

    >>> points("flyroom.nothing")
    {}
    """
    return {name: point.value for name, point in _by_name(group).items() if not _is_taken(name, group, ours)}


def classes(group: str, builtin: Mapping[str, type]) -> dict[str, type]:
    """Our classes of records and those of a group, by name; a name of ours stays ours. A room names a record by its
    class alone: one that is called as another is, or that is no frozen dataclass, is left out with a warning.
    """
    names = {cls.__name__ for cls in builtin.values()}
    plug_ins: dict[str, type] = {}
    for name, cls in load(group).items():
        if _is_taken(name, group, builtin):
            continue
        if fault := _fault(cls, names):
            warnings.warn(f"the plug-in {name} of {group} is left out; {fault}", stacklevel=3)
            continue
        names.add(cls.__name__)
        plug_ins[name] = cls
    return {**plug_ins, **builtin}


def _is_taken(name: str, group: str, ours: Collection[str]) -> bool:
    if name in ours:
        warnings.warn(f"the plug-in {name} of {group} is left out; flyroom has one of that name", stacklevel=4)
    return name in ours


def _by_name(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; of two of one name, the first on the path."""
    first_of: dict[str, EntryPoint] = {}
    for point in _points(group, tuple(sys.path)):
        first = first_of.setdefault(point.name, point)
        if first.value != point.value:
            warnings.warn(
                f"the plug-in {point.name} of {group} is brought by {_bringer(first)} and by {_bringer(point)}; "
                "the latter is left out",
                stacklevel=3,
            )
    return first_of


def _bringer(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _fault(cls: Any, names: set[str]) -> str:
    """Why a record of this class could not be read back from a room; "" where it could."""
    if not (isinstance(cls, type) and is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        return f"{cls!r} is no frozen dataclass"
    return f"another class is called {cls.__name__} too" if cls.__name__ in names else ""


@lru_cache(maxsize=64)
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group. To look for them takes 10 ms, and every recipe that is made asks."""
    return tuple(entry_points(group=group))
