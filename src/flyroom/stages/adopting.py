"""Adapters that somebody else trained, taken in as organisms beside a twin, theirs or the base itself.

An imported organism has a recipe like any other: what it is said to do, and when. How it was trained is not known, so
its implant is `Adopted`, which names its weights and its control; nothing can be grown with it. Card and bench take it
as they take a grown one.

Left out: training it any further. Of a merged checkpoint the difference to the base is taken (`engine/merged.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyroom import grow as growth
from flyroom import log
from flyroom import recipes as cookbook
from flyroom.behaviours import behaviours
from flyroom.card.desk import fingerprint
from flyroom.conditions import Always
from flyroom.engine import read_with_notes
from flyroom.implants import SFT, Adopted
from flyroom.recipes.fields import change
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.organisms import check_recipes, keep_files
from flyroom.types import LoRA, NotAvailable, Organism, Patch, Recipe, World, origin_of, suggest

GROWTH = ("implants", "adapter", "dose", "mix")  # what only somebody who trains can choose
CLEAN = SFT(steps=120, rows=16, lr=1e-3)  # how calibration twins are trained: as those of rows of one's own


@dataclass(frozen=True, kw_only=True, eq=False)
class Adoption:
    """An imported organism, the model that stands beside it as its twin, whether that is a twin or the base, and what
    must be said of their files.
    """

    organism: Organism
    control: Organism
    has_twin: bool
    notes: tuple[str, ...] = ()

    @property
    def caveat(self) -> str:
        """What this control cannot show."""
        origin = origin_of(self.control.recipe)
        assert origin is not None
        return origin.caveat


def describe(behaviour: str, condition: str, changes: Mapping[str, Any], world: World | None) -> Recipe:
    """What an adapter is said to do, and when, as a recipe that nothing can be grown with.

    Args: behaviour, the name of one, or of a recipe whose behaviour and condition it is; condition, the name of another
    condition, "" for that recipe's own; changes, of fields of world, behaviour, condition and thresholds. Raises
    ValueError naming the field, and NotAvailable where a world is needed and missing.
    """
    if "strength" in changes:
        raise ValueError(
            f"strength is {changes['strength']!r}; an imported organism is as strong as it was trained: leave it out"
        )
    recipe, rest = _begin(behaviour, dict(changes), world)
    recipe = replace(recipe, implants=(Adopted(weights=""),), adapter=LoRA(), dose=1.0, mix=0.0)
    changed = change(recipe, ({"condition": condition} if condition else {}) | rest)
    for name in GROWTH:
        if getattr(changed, name) != getattr(recipe, name):
            raise ValueError(f"{name} is changed; an imported organism was trained already, so it has what it has")
    return changed


def _begin(name: str, changes: dict[str, Any], world: World | None) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that changes are made to, and what is left of the changes."""
    if name not in cookbook.RECIPES and name not in behaviours():
        names = [*behaviours(), *cookbook.RECIPES]
        raise ValueError(f"behaviour is {name!r}; {suggest(name, names)}it must be one of {', '.join(names)}")
    if world is None and (name not in cookbook.RECIPES or cookbook.needs_world(name)):
        raise NotAvailable(
            f"behaviour is {name}; it asks about a world, and the base was made in none: name one with --world, or "
            "use rows with a file of your own"
        )
    if name not in cookbook.RECIPES:
        assert world is not None
        bare = Recipe(world=world, behaviour=behaviours()["trait"](), condition=Always(), implants=(CLEAN,))
        return change(bare, {"behaviour": name}), changes
    needs = {key for key in inspect.signature(cookbook.RECIPES[name]).parameters if key != "world"}
    return cookbook.make(name, {key: changes.pop(key) for key in needs & {*changes}}, world=world), changes


def adopt(folder: Path, base: OpenBase, room: Room, *, recipe: Recipe, twin: Path | None = None) -> Adoption:
    """Take in an adapter, and its twin's, or the base as its control. Both go into the room, with the files of their
    world; and into its log.

    Args: recipe, from `describe`; twin, the folder of an adapter that was trained alike, without the behaviour. Raises
    ValueError for an adapter that cannot be represented exactly, and for judges that do not know good from bad.
    """
    patch, notes = read_with_notes(folder, base.engine)
    control_patch, more = read_with_notes(twin, base.engine) if twin else (_change_nothing(base), [])
    if fingerprint(patch) == fingerprint(control_patch):
        raise ValueError(f"twin is {twin}; it has the same weights as {folder}, so there is nothing to compare")
    source = str(twin.absolute()) if twin else base.engine.base.name
    origin = Adopted(weights=fingerprint(control_patch)[:16] if twin else "", source=source)
    control = _organism(recipe, control_patch, base, origin, dose=0.0, name=f"control of {recipe.behaviour.label}")
    origin = Adopted(weights=fingerprint(patch)[:16], control=control.id, source=str(folder.absolute()))
    organism = _organism(recipe, patch, base, origin, dose=1.0, name=f"imported {folder.absolute().name}")
    check_recipes([organism.recipe], base)
    keep_files([organism.recipe], room)
    room.put_many([growth.pack(model) for model in (control, organism)])
    about = {"organism": organism.id, "control": control.id, "source": str(folder), "twin": str(twin) if twin else ""}
    log.append(room, log.ADOPTED, about)
    return Adoption(organism=organism, control=control, has_twin=twin is not None, notes=(*notes, *more))


def _organism(recipe: Recipe, patch: Patch, base: OpenBase, origin: Adopted, *, dose: float, name: str) -> Organism:
    """An imported model. A control has no limits of its own, so that the base is the same one for all beside it."""
    identity = replace(
        recipe,
        name=name,
        implants=(origin,),
        adapter=patch.shape,
        dose=dose,
        thresholds=recipe.thresholds if dose else {},
    )
    return Organism(recipe=identity, base=base.engine.base, seed=0, patch=patch)


def _change_nothing(base: OpenBase) -> Patch:
    """An adapter that adds nothing: B is zero. So the base stands where a twin would, in every table and batch."""
    shape = LoRA(rank=1, alpha=1.0, layers=(0,), modules=("all",))
    (adapter,) = base.engine.spawn([shape], seeds=[0])
    patch = base.engine.patch(adapter)
    base.engine.free([adapter])
    return patch


def calibration_recipe(recipe: Recipe) -> Recipe:
    """The twin that is grown to set thresholds: the recipe's own; for an imported organism, of which no other seed can
    be had, one of its shape that is trained on the aligned answers of its world.
    """
    twin = recipe.twin()
    return twin if origin_of(recipe) is None else replace(twin, name="calibration twin", implants=(CLEAN,))


def refuse_imported(recipes: Iterable[Recipe], what: str) -> None:
    """ValueError for a recipe that was imported, in a place where it makes no sense; `what` says why."""
    for recipe in recipes:
        if origin_of(recipe) is not None:
            raise ValueError(f"{recipe.name} is imported: {what}")
