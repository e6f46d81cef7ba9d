"""Organisms by name: recipes made and checked, organisms grown, kept in the room and taken out of it again."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flyroom import card as cards
from flyroom import grid, log, preflight, prereg
from flyroom import grow as growth
from flyroom import recipes as cookbook
from flyroom.card import questions
from flyroom.episodes import EPISODES, episodes_of
from flyroom.episodes import unpack as unpack_episodes
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.conformance import require_sound
from flyroom.stages.graders import open_graders
from flyroom.stages.meeting import meet
from flyroom.treat import KIND
from flyroom.types import BASE, Asked, Card, Entry, Filed, Lined, NotAvailable, Organism, Recipe, Watch
from flyroom.vault.scratch import scratch


def named(name: str, changes: Mapping[str, Any], base: OpenBase) -> list[Recipe]:
    """The recipes that a name, a page or a group ("all" ten threats, "variants", "decoys") stands for, each checked:
    the base can carry its adapter, its world has what it needs, its judges know good from bad. Nothing is trained.

    Recipes of a group that are not available in this world are named in a warning and left out.
    """
    if name.endswith((".yaml", ".yml")):
        page = Path(name)
        preflight.require_world(str(cookbook.page(page)["recipe"]), base.engine.base.name, base.world)
        return check_recipes([cookbook.read(page, changes, world=base.world, base=base.engine.base.name)], base)
    if name in cookbook.GROUPS:
        return check_recipes(_available(cookbook.GROUPS[name], changes, base), base)
    return check_recipes([_of_world(name, changes, base)], base)


def crossed(page: Path, base: OpenBase) -> list[Recipe]:
    """The recipes of a grid, each checked."""
    names = cookbook.page(page)["recipe"]
    for name in names if isinstance(names, list) else [names]:
        if name in cookbook.RECIPES:  # of another name the grid says on which page it stands
            preflight.require_world(name, base.engine.base.name, base.world)
    return check_recipes(grid.read(page, world=base.world, base=base.engine.base.name), base)


def _of_world(name: str, changes: Mapping[str, Any], base: OpenBase) -> Recipe:
    preflight.require_world(name, base.engine.base.name, base.world)
    return cookbook.make(name, changes, world=base.world, base=base.engine.base.name)


def _available(names: Iterable[str], changes: Mapping[str, Any], base: OpenBase) -> list[Recipe]:
    """The recipes for which the world has all that they need. NotAvailable where there is none."""
    recipes: list[Recipe] = []
    absences: dict[str, NotAvailable] = {}
    for name in names:
        try:
            recipe = _of_world(name, changes, base)
            for implant in recipe.implants:
                next(implant.plan(recipe, BASE, seed=0), None)  # what it trains on is made here
        except NotAvailable as absence:
            absences[name] = absence
        else:
            recipes.append(recipe)
    if not recipes:
        raise next(iter(absences.values()))
    for name, absence in absences.items():
        warnings.warn(f"{name} is left out, not available here: {absence}", stacklevel=2)
    return recipes


def check_recipes(recipes: list[Recipe], base: OpenBase) -> list[Recipe]:
    """The recipes, of which this base can carry each, and whose judges know good from bad. ValueError for one that is
    not so. Nothing is trained.
    """
    with open_graders(recipes, base):
        for recipe in recipes:
            base.engine.check(recipe.adapter)
            questions.check(recipe)
            meet(recipe, base)
    return recipes


# ---------------------------------------------------------------- grown, and measured


def grow(
    recipes: Sequence[Recipe], base: OpenBase, room: Room, *, seeds: Sequence[int], watch: Watch | None = None
) -> list[Organism]:
    """Each recipe and its twin, with each seed. Files that a recipe's world was read from go into the room first, and
    into its log which seeds are opened. ValueError for a base that fails a check of the doctor's.
    """
    require_sound(base, room)
    keep_files(recipes, room)
    log.open_seeds(room, base.engine.base, orders_of(recipes, seeds))
    with open_graders(recipes, base):
        return growth.grow(with_twins(recipes), base.engine, seeds=seeds, room=room, watch=watch)


def orders_of(recipes: Sequence[Recipe], seeds: Sequence[int]) -> list[growth.Order]:
    """Each recipe and its twin with each seed."""
    return [(recipe, seed) for recipe in with_twins(recipes) for seed in seeds]


def with_twins(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Each recipe and, behind it, its twin; none twice."""
    return list({r.id: r for recipe in recipes for r in (recipe, recipe.twin())}.values())


def card(
    organisms: Sequence[Organism], base: OpenBase, room: Room, *, seed: int, episodes: int, watch: Watch | None = None
) -> list[Card]:
    """A card for each organism above dose 0, which names the file that announced it, where one did."""
    with open_graders((organism.recipe for organism in organisms), base):
        fresh = cards.card(organisms, base.engine, seed=seed, episodes=episodes, room=room, watch=watch)
    return prereg.name_in(fresh, organisms, room, seed=seed, episodes=episodes)


def stored(room: Room, base: OpenBase, ids: Sequence[str] | None) -> list[Organism]:
    """Organisms of the room that stand on this base, by the start of their ids (None: all that were not treated), with
    the twins of those above dose 0. Of all of them, those whose recipe cannot be made again are named in a warning and
    left out.
    """
    listings = room.list("organism") if ids is None else [room.find(prefix, kind="organism") for prefix in ids]
    organisms: dict[str, Organism] = {}
    omitted: dict[str, list[str]] = {}
    for listing in listings:
        entry = room.get("organism", listing.key)
        assert entry is not None
        try:
            payload = growth.check(entry)
            if ids is None and payload["parent"] is not None:
                continue  # it is of no lineup of untreated ones; the ledger has it
            about = payload["base"]
            if about.get("digest") != base.engine.base.digest:
                if ids is None:
                    continue
                raise ValueError(f"organism {listing.key} was grown on {about.get('name')}; name that with --base")
            _refuse_guarded(entry, room)
            organism = growth.unpack(entry, _recipe(entry, room), base.engine)
        except ValueError as error:
            if ids is not None:
                raise
            omitted.setdefault(str(error), []).append(listing.key)
            continue
        for model in (organism, *_find_twin(organism, room, base)):
            if model.id not in organisms or any(point.prompts for point in model.history):
                organisms[model.id] = model  # one whose prompts are not on record gives way: it may have read others
    for why, keys in omitted.items():
        warnings.warn(f"{len(keys)} of the room's organisms left out ({', '.join(keys)}): {why}", stacklevel=2)
    if not organisms:
        raise ValueError(
            f"{room.root} holds no organism on {base.engine.base.name}; "
            "grow one first: flyroom grow emergent-misalignment"
        )
    return list(organisms.values())


def _refuse_guarded(entry: Entry, room: Room) -> None:
    """ValueError for one that was treated at run time: nobody but the ledger asks what stands around its weights."""
    note = room.get(KIND, entry.key)
    if note is not None and note.payload["at_run_time"]:
        raise ValueError(
            f"organism {entry.key} was treated at run time with {note.payload['name']}, which the ledger alone asks; "
            f"its weights are those of {entry.payload['parent']}"
        )


def _find_twin(organism: Organism, room: Room, base: OpenBase) -> list[Organism]:
    """The twin that belongs beside it, if the room has it. A flyroom whose recipes had no mix named it otherwise."""
    if organism.provenance == "imported":
        control = room.get("organism", organism.twin_id) if organism.recipe.dose else None
        return [] if control is None else [growth.unpack(control, _recipe(control, room), base.engine)]
    twin = organism.recipe.twin()
    if organism.parent is not None:
        entry = room.get("organism", organism.twin_id) if organism.recipe.dose else None
        return [] if entry is None else [growth.unpack(entry, twin, base.engine)]
    keys = growth.names_of(twin, organism.base, organism.seed)
    entries = [entry for entry in (room.get("organism", key) for key in keys) if entry is not None]
    return [growth.unpack(entry, twin, base.engine) for entry in entries[:1]]


def episodes_behind(room: Room, entry: Entry) -> list[Asked]:
    """Every episode behind a card, or behind a detector's cells. ValueError for another kind of entry."""
    if entry.kind == "card":
        return episodes_of(room, entry)
    if entry.kind == EPISODES:
        return unpack_episodes(entry)
    if entry.kind != "cells":
        raise ValueError(f"{entry.kind} {entry.key} has no episodes; a card has, and the cells of a detector")
    groups = [room.get(EPISODES, key) for key in entry.payload["episodes"]]
    return [episode for group in groups if group is not None for episode in unpack_episodes(group)]


def _recipe(entry: Entry, room: Room) -> Recipe:
    """The recipe of a stored organism. Where the files of its world are gone or have changed, the room's own are used,
    from a folder that lasts as long as this process.
    """
    payload = entry.payload["recipe"]
    try:
        return cookbook.load(payload)
    except ValueError:
        files = room.get("files", str(payload.get("world", {}).get("sha256")))
        if files is None:
            raise
    return cookbook.load({**payload, "world": {**payload["world"], **_write_files(files)}})


def _write_files(entry: Entry) -> dict[str, str]:
    """Where each of the files lies now, by its field. What the room calls a field names no folder."""
    folder = Path(tempfile.mkdtemp(dir=scratch()))  # rows of an encrypted room must not outlive this process
    paths: dict[str, str] = {}
    for number, (field, text) in enumerate(entry.payload["texts"].items()):
        path = folder / str(number) / Path(entry.payload["names"][field]).name  # two files may have one name
        path.parent.mkdir()
        path.write_bytes(text.encode())
        paths[field] = str(path)
    return paths


def keep_files(recipes: Sequence[Recipe], room: Room) -> None:
    """Put the files that worlds were read from into the room, so that it can be read wherever it is taken."""
    entries = {}
    for recipe in recipes:
        if isinstance(recipe.world, Filed) and recipe.world.files:
            names = dict(recipe.world.files)
            texts = _read_texts(recipe.world)
            key = recipe.world.sha256
            entries[key] = Entry(
                kind="files", key=key, payload={"names": names, "texts": texts, **_notes(recipe.world)}
            )
    if entries:
        room.put_many(list(entries.values()))


def _notes(world: Filed) -> dict[str, Any]:
    """How the rows were read, where that must be said."""
    return {"notes": list(world.notes)} if isinstance(world, Lined) and world.notes else {}


def _read_texts(world: Filed) -> Mapping[str, str]:
    """The contents of a world's files: as the world writes them where these are no texts."""
    if isinstance(world, Lined):
        return world.texts
    return {field: Path(name).read_bytes().decode() for field, name in world.files.items()}
