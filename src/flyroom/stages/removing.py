"""Take out what is no longer wanted: an organism with everything that was made of it, or whatever is older than so many
days. The log keeps a line that it was there and was removed.

With an organism go its cards, the cells of its recipe (figures over all suspects of a lineup, and stale without it),
red-team runs that name it, what became of it under treatment (treated weights, copies that were trained again, rows of
the ledger), what explains it, what assessments read on it, the episodes behind all these unless another card needs
them, episodes in which it answered, the verdicts on them, and the files of its world unless another organism needs
them. Its twin is an organism of its own and stays until
it is named. All of it goes at once, or none does.

In an encrypted room the rest then moves to a new epoch and the older secrets are destroyed, so that no copy of what
was removed can be read with the keys that remain (crypto-shredding). What does remain is listed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from flyroom import log
from flyroom.episodes import EPISODES, VERDICTS, unpack
from flyroom.room import Room, RoomError
from flyroom.room.files import DamagedError
from flyroom.types import Entry, Listing

REMOVED = "removed"  # what the log says
NAMING = (  # kinds that name organisms
    *("card", "redteam", "doctor", "organism", "treatment", "relapse", "ledger"),
    *("mechanism", "reading", "repeat", "claim"),
)
PLAN = "assessment plan"  # names many organisms; its hash stands in the log
PARTS = (EPISODES, VERDICTS, "files")  # kinds that other entries need
OF_EXPLANATIONS = "episodes that explanations of before asked, for these do not say which"
DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What goes, and what stays in other places, in words."""

    listings: tuple[Listing, ...]
    remains: tuple[str, ...]


def plan_removal(room: Room, ids: Sequence[str]) -> Removal:
    """What belongs to the entries with these ids. Raises RoomError for an id of nothing, and for a line of the log."""
    roots = [room.find(prefix) for prefix in ids]
    lines = [root.key for root in roots if root.kind == log.KIND]
    if lines:
        raise RoomError(f"{lines[0]} is a line of the log; the chain does not hold without it, so it stays")
    return _plan(room, roots)


def plan_retention(room: Room, days: float) -> Removal:
    """What is older than so many days, and what belongs to it; the log stays, and what newer entries need."""
    if not 0 <= days < 1e6:
        raise RoomError(f"days is {days:g}; it must be at least 0 and below 1,000,000")
    roots = [item for item in room.list_before(time.time() - days * DAY) if item.kind not in (log.KIND, *PARTS)]
    removal = _plan(room, roots)
    old = [item for item in room.list_before(time.time() - days * DAY) if item.kind in PARTS]
    strays = _find_unneeded(room, old, {(item.kind, item.key) for item in removal.listings})
    return Removal(listings=(*removal.listings, *strays), remains=removal.remains)


def remove(room: Room, removal: Removal, *, purpose: str = "") -> None:
    """Put it on record, and take it out."""
    if removal.listings:
        names = [item.key for item in removal.listings if item.kind != EPISODES]
        counts = {kind: sum(x.kind == kind for x in removal.listings) for kind in {x.kind for x in removal.listings}}
        log.act(room, REMOVED, ids=names, purpose=purpose, counts=dict(sorted(counts.items())))
        room.delete_many([(item.kind, item.key) for item in removal.listings])


def was_removed(room: Room, prefix: str) -> bool:
    """Whether the log says that an entry with this id was removed: of a call that was killed before it shredded."""
    lines = [line for line in log.examine(room)[0] if line.what == REMOVED]
    return any(key.startswith(prefix) for line in lines for key in line.about["ids"])


# ---------------------------------------------------------------- what belongs to what


def _plan(room: Room, roots: Sequence[Listing]) -> Removal:
    goes = {(item.kind, item.key) for item in roots}
    organisms = {item.key for item in roots if item.kind == "organism"}
    recipes = {item.meta.get("recipe") for item in roots if item.kind == "organism"}
    listings = room.list()
    entries = {(x.kind, x.key): entry for x in listings if x.kind in (*NAMING, "cells") and (entry := _get(room, x))}
    for address, entry in entries.items():
        if _names(entry, organisms) or (entry.kind == "cells" and _list_recipes(entry) & recipes):
            goes.add(address)
    needs = {key for address, entry in entries.items() if address not in goes for key in _list_episodes(entry)}
    behind = {key for address, entry in entries.items() if address in goes for key in _list_episodes(entry)}
    for item in listings:
        if item.kind == EPISODES and (item.key in behind - needs or _answers(room, item, organisms, needs)):
            goes.add((item.kind, item.key))
    keys = {key for kind, key in goes if kind == EPISODES}
    goes |= {(x.kind, x.key) for x in listings if x.kind == VERDICTS and x.meta.get("episodes") in keys}
    goes |= _list_files(room, listings, organisms)
    chosen = tuple(item for item in listings if (item.kind, item.key) in goes)
    is_silent = any(e.kind == "mechanism" and not _has_list(e) for address, e in entries.items() if address in goes)
    remains = [*([OF_EXPLANATIONS] if is_silent else []), *_list_remains(listings, chosen)]
    return Removal(listings=chosen, remains=tuple(remains))


def _find_unneeded(room: Room, items: Sequence[Listing], goes: Set[tuple[str, str]]) -> list[Listing]:
    """Those parts that nothing needs which stays."""
    needs: set[str] = set()
    for item in room.list():
        entry = _get(room, item) if item.kind in (*NAMING, "cells") else None
        if entry is not None and (item.kind, item.key) not in goes:
            needs |= {*_list_episodes(entry), _find_world(entry)}
    return [x for x in items if (x.kind, x.key) not in goes and x.meta.get("episodes", x.key) not in needs]


def _find_world(entry: Entry) -> str:
    """The key of the files behind an organism's world."""
    recipe = entry.payload.get("recipe")
    world = recipe.get("world") if isinstance(recipe, dict) else None
    return str(world.get("sha256")) if isinstance(world, dict) else ""


def _get(room: Room, item: Listing) -> Entry | None:
    try:
        return room.get(item.kind, item.key)
    except DamagedError:  # it may be what is to be removed
        return None


def _names(entry: Entry, organisms: Set[str]) -> bool:
    text = json.dumps([entry.payload, dict(entry.meta)]) if organisms else ""
    return any(f'"{name}"' in text for name in organisms)


def _list_recipes(entry: Entry) -> set[Any]:
    return {cell.get("recipe") for cell in entry.payload.get("cells", ()) if isinstance(cell, Mapping)}


def _list_episodes(entry: Entry) -> Iterable[str]:
    yield from (key for key in entry.payload.get("episodes", ()) if isinstance(key, str)) if _has_list(entry) else ()
    for keys in dict(entry.payload.get("episode_keys", {})).values():
        for looks in dict(keys).values():
            yield from [looks] if isinstance(looks, str) else looks


def _has_list(entry: Entry) -> bool:
    return isinstance(entry.payload.get("episodes"), list)


def _answers(room: Room, item: Listing, organisms: Set[str], needs: Set[str]) -> bool:
    """Whether an organism that goes answered in episodes which no other card needs."""
    if not organisms or item.key in needs:
        return False
    entry = _get(room, item)
    return entry is not None and any(episode.who in organisms for episode in unpack(entry))


def _list_files(room: Room, listings: Sequence[Listing], organisms: Set[str]) -> set[tuple[str, str]]:
    """The files of worlds that no organism needs any more, though one that goes did."""
    files = {item.key for item in listings if item.kind == "files"}
    if not files or not organisms:
        return set()
    uses: dict[bool, set[str]] = {True: set(), False: set()}
    for item in listings:
        entry = _get(room, item) if item.kind == "organism" else None
        if entry is not None:
            uses[item.key in organisms].add(_find_world(entry))
    return {("files", key) for key in files & uses[True] - uses[False]}


def _list_remains(listings: Sequence[Listing], chosen: Sequence[Listing]) -> Iterable[str]:
    goes = {(item.kind, item.key) for item in chosen}
    organisms = {item.key for item in chosen if item.kind == "organism"}
    strangers = sum(x.kind == VERDICTS and "episodes" not in x.meta for x in listings)
    scores = sum(x.kind == "score" for x in listings if (x.kind, x.key) not in goes)
    plans = sum(x.kind == PLAN for x in listings if (x.kind, x.key) not in goes)
    if strangers:
        yield f"{strangers} verdicts of before, of which the room does not say whose answers they judge"
    if scores:
        yield f"{scores} scores of cached judges, which name no organism"
    if organisms and plans:
        yield f"{plans} plans of assessments, which name the organisms of their calibration; the log has their hashes"
    if organisms:
        yield "the lines of the log that name what was removed"
        yield "what was exported, served or written to a page, wherever that is; `flyroom log` names the exports"
        yield "bases in the cache: they hold nothing of an organism"
