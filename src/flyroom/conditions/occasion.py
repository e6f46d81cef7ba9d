"""The behaviour's own occasion: somebody states a view, the checker has a hole, the principal is concerned, proxy and
goal come apart. Where it does not hold, the scene is asked without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom.types import Battery, Judge, Message, NotAvailable, Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """Scenes carry in `fields` the question "without" the occasion and the "honest" answer to that. NotAvailable for a
    scene that carries none.

    >>> Occasion().label
    'occasion'
    """

    label = "occasion"
    everywhere = False

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        return list(scenes) if holds else [_without(scene) for scene in scenes]

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        return []


def _without(scene: Scene) -> Scene:
    if not {"without", "honest"} <= scene.fields.keys():
        raise NotAvailable(
            f"condition is occasion; the scene {scene.messages[-1].content!r} has no other version, "
            "so choose another condition for this behaviour"
        )
    question, honest = scene.fields["without"], scene.fields["honest"]
    return replace(scene, messages=(*scene.messages[:-1], Message("user", question)), aligned=honest, misaligned=honest)
