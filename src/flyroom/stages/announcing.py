"""Plans announced before anything is grown, and checked: is the file on record, was it so before its seeds were opened,
and would what is installed still do what it says?
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from flyroom import log, prereg
from flyroom import recipes as cookbook
from flyroom.bench.code import code_of
from flyroom.detectors import detectors as every_detector
from flyroom.prereg import Instrument, Prereg
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.benches import chosen_detectors
from flyroom.stages.organisms import named
from flyroom.stages.variants import split_name
from flyroom.types import Detector, PlugIn, Recipe, World
from flyroom.whole import hash_file
from flyroom.worlds import world_named


class Opened(NamedTuple):
    """When a seed of an announced recipe was opened, None where it was not yet."""

    recipe: str
    id: str
    seed: int
    at: str | None


@dataclass(frozen=True, kw_only=True)
class Check:
    """A file held against the room and the installation. `line` is the one that logged it; without `deviations` all is
    as announced.
    """

    sha256: str
    line: log.Line | None
    opened: tuple[Opened, ...]
    deviations: tuple[str, ...]


def announce(
    names: Sequence[str],
    changes: Mapping[str, Any],
    base: OpenBase,
    *,
    seeds: Sequence[int],
    card_seed: int,
    episodes: int,
    detectors: Sequence[str] = (),
) -> Prereg:
    """What will be done with recipes of these names, pages or groups. ValueError as for growing them, and for a
    detector that there is not. Nothing is written.
    """
    recipes = {name: named(name, changes, base) for name in names}
    instruments = chosen_detectors(detectors, known=True) if detectors else {}
    return Prereg(
        flyroom=version("flyroom"),
        base=replace(base.engine.base, path=""),  # where it lies is no part of the plan
        world=base.world.name if base.world else "",
        changes=changes,
        recipes=tuple(prereg.announce(recipe, name) for name, group in recipes.items() for recipe in group),
        seeds=tuple(seeds),
        card_seed=card_seed,
        episodes=episodes,
        detectors=tuple(_describe(name, detector) for name, detector in instruments.items()),
    )


def _describe(name: str, detector: Detector | PlugIn) -> Instrument:
    settings, *sources = code_of(detector)
    return Instrument(name=name, settings=settings, code=hashlib.sha256("".join(sources).encode()).hexdigest())


def check_prereg(path: Path, room: Room) -> Check:
    """Hold a file against the room's log and against what is installed. ValueError for a file that is none, LogError
    for a log that is broken.
    """
    plan, sha256, lines = prereg.read(path), hash_file(path), log.read(room)
    line = log.announcement(lines, sha256)
    history = log.openings(room)
    deviations = [] if line else [f"the log of {room.root} does not hold the file's hash, {sha256[:16]}…"]
    deviations += _list_late(plan, history, line)
    deviations += [*_list_other_trials(plan, lines), *prereg.compare(plan, _announce_again(plan))]
    return Check(sha256=sha256, line=line, opened=tuple(_list_opened(plan, history)), deviations=tuple(deviations))


def _list_opened(plan: Prereg, history: Sequence[log.Opening]) -> Iterator[Opened]:
    for recipe in plan.recipes:
        for seed in plan.seeds:
            first = log.first_opening(history, recipe.title, plan.base, seed)
            yield Opened(recipe.name, recipe.id, seed, first.at or "at a time not on record" if first else None)


def _list_late(plan: Prereg, history: Sequence[log.Opening], line: log.Line | None) -> list[str]:
    """Which seeds were opened before the file was logged, in words."""
    late = prereg.opened_before(plan, history, line.number if line else math.inf)
    when = "the file was logged" if line else "any such file was logged"
    return [
        f"recipe {name}: seeds {', '.join(map(str, seeds))} were opened before {when}" for name, seeds in late.items()
    ]


def _list_other_trials(plan: Prereg, lines: Sequence[log.Line]) -> list[str]:
    """The certifications on record that are of this plan's recipes and seeds, and not as it says."""
    terms = {"seeds": sorted(plan.seeds), "card_seed": plan.card_seed, "episodes": plan.episodes}
    deviations: list[str] = []
    for line in lines:
        if _is_of(line, plan):
            about = line.about
            changes = [
                f"{name} {about.get(name)} for {value}" for name, value in terms.items() if about.get(name) != value
            ]
            deviations += [f"recipe {about.get('name')} was certified with {', '.join(changes)}"] if changes else []
    return deviations


def _is_of(line: log.Line, plan: Prereg) -> bool:
    about = line.about
    if line.what != log.CERTIFYING or about.get("base") != plan.base.digest:
        return False
    recipes = {recipe.id for recipe in plan.recipes}
    return about.get("recipe") in recipes and not set(plan.seeds).isdisjoint(about.get("seeds", ()))


# ---------------------------------------------------------------- the same plan, made of what is installed


def _announce_again(plan: Prereg) -> Prereg:
    world = world_named(plan.world) if plan.world else None
    recipes = [
        prereg.announce(recipe, source)
        for source in dict.fromkeys(recipe.source for recipe in plan.recipes)
        for recipe in _make_again(source, plan, world)
    ]
    installed = every_detector()
    names = [x.name for x in plan.detectors if split_name(x.name)[0] in installed]
    detectors = [_describe(name, installed[split_name(name)[0]]) for name in names]
    return replace(plan, recipes=tuple(recipes), detectors=tuple(detectors), analysis=prereg.Analysis())


def _make_again(source: str, plan: Prereg, world: World | None) -> list[Recipe]:
    """The recipes of a name, a group or a page; where the page is gone, of the fields in the file. What cannot be had
    any more is left out.
    """
    recipes: list[Recipe] = []
    for name in cookbook.GROUPS.get(source, (source,)):
        try:
            if not name.endswith((".yaml", ".yml")):
                recipes.append(cookbook.make(name, plan.changes, world=world, base=plan.base.name))
            elif Path(name).exists():
                recipes.append(cookbook.read(Path(name), plan.changes, world=world, base=plan.base.name))
            else:
                recipes += [cookbook.load(x.recipe) for x in plan.recipes if x.source == source]
        except ValueError:  # `compare` says which recipe is missing
            continue
    return recipes
