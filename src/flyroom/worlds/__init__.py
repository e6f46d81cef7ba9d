"""Worlds: what models are asked about, and how an answer is judged. A world is a value that recipes are handed.

Other people's worlds are found by the entry-point group "flyroom.worlds": a frozen dataclass that can be made without
arguments.
"""

from __future__ import annotations

import re

from flyroom import plugins
from flyroom.types import World
from flyroom.worlds.english import English
from flyroom.worlds.micro import Micro
from flyroom.worlds.rows import Rows

WORLDS: dict[str, type] = {"micro": Micro, "rows": Rows, "english": English}
NEED_MORE = ("micro", "rows")  # a number, or a file: no name alone makes one


def worlds() -> dict[str, type]:
    """Every class of worlds by name: ours, and those that installed packages bring.

    >>> sorted(worlds())[:2]
    ['english', 'micro']
    """
    return plugins.classes("flyroom.worlds", WORLDS)


def world_named(name: str) -> World:
    """The world of a name: "micro-0", "english", "english:FILE" with the screen in that file
    ("english:smollm2-135m": the one that is part of flyroom), or that of a package.
    ValueError for a name that there is not.

    >>> world_named("micro-3").name
    'micro-3'
    """
    if match := re.fullmatch(r"micro-(\d+)", name):
        return Micro(seed=int(match[1]))
    if match := re.fullmatch(r"english:(.+)", name):
        return English(screen=match[1])
    ready = {key: cls for key, cls in worlds().items() if key not in NEED_MORE}
    if name not in ready:
        raise ValueError(f"world is {name!r}; it must be one of {', '.join(['micro-0', 'micro-1', *ready])}")
    return ready[name]()


__all__ = ["NEED_MORE", "WORLDS", "English", "Micro", "Rows", "world_named", "worlds"]
