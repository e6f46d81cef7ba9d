"""What installed packages bring: objects under an entry-point group.

A package that cannot be imported is named in a warning and left out: one broken plug-in stops nobody's work.
"""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points
from typing import Any


def load(group: str) -> dict[str, Any]:
    """The objects of a group by name, those of broken packages left out.

    >>> load("flyroom.nothing")
    {}
    """
    objects: dict[str, Any] = {}
    for point in entry_points(group=group):
        try:
            objects[point.name] = point.load()
        except Exception as error:  # other people's code: whatever it raises at import is theirs
            warnings.warn(
                f"the plug-in {point.name} ({point.value}) of {group} is left out; importing it raised "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
    return objects
