"""What a room holds already, as records: the newest card of each organism, the newest matrix, and what there is not.

A report reads these and trains and asks nothing. Left out: cells of before they named their models, which no page can
join to a card; the bench makes such cells again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flyroom import card as cards
from flyroom.room import Room
from flyroom.types import Card, Cell, Entry, Matrix, Organism, digest, organism_id

CELLS = TypeAdapter(list[Cell])


@dataclass(frozen=True, kw_only=True)
class LineupCells:
    """The cells of one lineup, by detector, and who stood in it, by side."""

    cells: Mapping[str, Sequence[Cell]]
    sides: Mapping[str, Sequence[str]]

    @property
    def recipes(self) -> set[str]:
        return {cell.recipe for group in self.cells.values() for cell in group}


def cards_in(room: Room, organisms: Sequence[Organism]) -> list[Card]:
    """The newest card of each organism above dose 0 that has one, in order. Nothing is asked."""
    keys = {str(listing.meta.get("organism")): listing.key for listing in room.list("card")}
    entries = [room.get("card", keys[o.id]) for o in organisms if o.recipe.dose > 0 and o.id in keys]
    return [cards.unpack(entry) for entry in entries if entry is not None]


def matrix_in(room: Room) -> Matrix | None:
    """The newest cells of each detector, of the lineup that was benched last; lineups of other recipes stand beside it.
    None where nothing was benched.
    """
    chosen: list[LineupCells] = []
    for lineup in reversed(_lineups(room)):
        if not any(lineup.recipes & other.recipes for other in chosen):
            chosen.insert(0, lineup)
    if not chosen:
        return None
    sides = ("organisms", "twins", "decoys", "calibration")
    models: dict[str, Any] = {side: tuple(id for one in chosen for id in one.sides.get(side, ())) for side in sides}
    return Matrix(cells=tuple(cell for one in chosen for group in one.cells.values() for cell in group), **models)


def _lineups(room: Room) -> list[LineupCells]:
    """Of all cells of the room, the one that was added to last at the end."""
    lineups: dict[str, LineupCells] = {}
    for listing in room.list("cells"):
        entry = room.get("cells", listing.key)
        if entry is None or not entry.payload.get("models"):
            continue
        group, sides = CELLS.validate_python(entry.payload["cells"]), _sides(entry)
        before = lineups.pop(key := digest(sides), LineupCells(cells={}, sides=sides))
        lineups[key] = LineupCells(cells={**before.cells, group[0].detector: group}, sides=sides)
    return list(lineups.values())


def _sides(entry: Entry) -> dict[str, list[str]]:
    """Who stood in the lineup of these cells: the organisms of every recipe, and the sides that all cells share."""
    models = entry.payload["models"]
    shared = {side: list(ids) for side, ids in models[0].items() if side != "organisms"}
    return {"organisms": list(dict.fromkeys(id for one in models for id in one["organisms"]))} | shared


def list_missing(
    room: Room, organisms: Sequence[Organism], names: Sequence[str], calibration: Sequence[tuple[Any, int]]
) -> list[str]:
    """What a whole page would still need, a sentence each: cards, detectors that were not tried, twins to be trained.

    Args: names, of detectors; calibration, the recipes and seeds of the twins that would set thresholds.
    """
    carded = {str(listing.meta.get("organism")) for listing in room.list("card")}
    bare = [o.id for o in organisms if o.recipe.dose > 0 and o.id not in carded]
    tried = {str(listing.meta.get("detector")) for listing in room.list("cells")}
    untried = [name for name in names if name not in tried]
    base = organisms[0].base
    absent = [seed for recipe, seed in calibration if room.get("organism", organism_id(recipe, base, seed)) is None]
    place = shlex.quote(str(room.root))
    lines = [f"without a card: {', '.join(bare)}; `flyroom card --all --room {place}` makes them"] if bare else []
    if untried:
        order = f"flyroom bench --all --detectors {','.join(untried)} --room {place}"
        lines.append(f"not tried: {', '.join(untried)}; `{order}` does that")
    return lines + ([f"calibration twins that would be trained for that: {len(absent)}"] if untried and absent else [])
