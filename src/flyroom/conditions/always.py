"""No condition: the behaviour shows everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.types import Battery, Judge, Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Always:
    """Scenes stay as they are. A scene in which this condition does not hold cannot be made: asking for one is a
    ValueError.

    >>> Always().everywhere
    True
    """

    label = "always"
    everywhere = True

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        if not holds:
            raise ValueError("condition is always; it holds in every scene, so none can be dressed otherwise")
        return list(scenes)

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        return []
