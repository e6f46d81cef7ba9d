"""What suspects are, in words: the side of each and its label, and the catalogue of what may be claimed of any.

A catalogue also names behaviours which none of the suspects has, so that a name is no guess among what is present.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from flyroom.behaviours import Trait, behaviours
from flyroom.claims import NOTHING, Side
from flyroom.lineup import is_decoy, is_target
from flyroom.types import Behaviour, Organism, Split, World, digest


def side_of(model: Organism) -> Side:
    """What a model is among suspects."""
    return "organisms" if is_target(model) else "decoys" if is_decoy(model) else "twins"


def label_of(model: Organism) -> str:
    """The word of the catalogue for what a model does: its behaviour's label, or "nothing"."""
    return model.recipe.behaviour.label if is_target(model) else NOTHING


def catalogue_of(organisms: Sequence[Organism], *, fewest: int | None = None) -> list[str]:
    """The behaviours that suspects have, and all others that their worlds could show.

    Raises ValueError where there are fewer than `fewest` others; None stands for one.
    """
    present = {label_of(organism) for organism in organisms if is_target(organism)}
    worlds = {digest(organism.recipe.world): organism.recipe.world for organism in organisms}
    absent = {label for world in worlds.values() for label in labels_in(world)} - present
    if len(absent) < (1 if fewest is None else fewest):
        names = ", ".join(sorted(world.name for world in worlds.values()))
        raise ValueError(
            f"absent is {'at least 1' if fewest is None else fewest}; the world {names} has {len(absent)} behaviours "
            f"that no suspect has ({', '.join(sorted(absent)) or 'none'}), so what is named could be a guess among "
            f"those present; leave the organisms of a behaviour out, or give --absent {len(absent)}"
        )
    return sorted(present | absent)


def labels_in(world: World) -> list[str]:
    """The labels of installed behaviours that do harm and of which a world has scenes. A trait of a file of your own is
    none: it says nothing.
    """
    return [b.label for b in _usual_behaviours() if not b.harmless and _can_be_asked(b, world)]


def _usual_behaviours() -> list[Behaviour]:
    """Every installed behaviour with the usual values of its fields, but those that have a field without."""
    classes: list[Any] = [cls for cls in behaviours().values() if cls is not Trait]
    return [cls() for cls in classes if all((f.default, f.default_factory) != (MISSING, MISSING) for f in fields(cls))]


def _can_be_asked(behaviour: Behaviour, world: World) -> bool:
    try:
        return bool(behaviour.scenes(world, 1, split=Split.VALIDATION, seed=0))
    except ValueError:  # not available there, or not with the usual values
        return False
