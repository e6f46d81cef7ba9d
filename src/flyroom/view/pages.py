"""What the pages show, as JSON by name. A name is also the path of a file in a bundle, so it holds no odd character:

room                  the room in a few figures, and what the filters may take
organisms             a page of rows
organisms/ID          one organism: its recipe, loss by step, cards, what became of it
cards/KEY             one card: figures, limits, the training curve, a few transcripts
episodes/KEY/MEASURE  every prompt of a measure, answered by organism, twin and base
matrix                detectors x recipes, for each lineup
cells/KEY             one detector: a dot for each suspect
suspects/KEY/MODEL    what one detector asked one suspect
ledger                what treatments did
growth                what grows just now
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from flyroom.card import unpack
from flyroom.report.words import write_match
from flyroom.types import Entry
from flyroom.view import growth, ledgers, matrices, talks
from flyroom.view.figures import curve_of, measures_of, tidy
from flyroom.view.shelf import Missing, Shelf, find_rows, page_of

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
CONFIDED = ("episodes", "suspects")  # what organisms said: it takes a purpose


def page(shelf: Shelf, name: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The page of a name. Missing where there is none; ValueError for a query that is none, and for an entry that is
    not as flyroom writes it.
    """
    match name.split("/"):
        case ["room"]:
            content = room_page(shelf)
        case ["organisms"]:
            content = page_of(find_rows(shelf.index, query), query)
        case ["organisms", key]:
            content = organism_page(shelf, key)
        case ["cards", key]:
            content = card_page(_get(shelf, "card", key))
        case ["episodes", key, measure]:
            content = talks.episodes_page(shelf.room, _get(shelf, "card", key), measure)
        case ["matrix"]:
            content = matrices.matrix_page(shelf)
        case ["cells", key]:
            content = matrices.cells_page(_get(shelf, "cells", key))
        case ["suspects", key, model]:
            content = talks.suspect_page(shelf.room, _get(shelf, "cells", key), model)
        case ["ledger"]:
            content = ledgers.ledger_page(shelf)
        case ["growth"]:
            content = growth.growth_page(shelf)
        case _:
            raise Missing(f"there is no page {name[:100]!r}")
    return tidy(content)


def _get(shelf: Shelf, kind: str, key: str) -> Entry:
    entry = shelf.get(kind, key)
    if entry is None:
        raise Missing(f"the room has no {kind} {key[:40]!r}")
    return entry


def room_page(shelf: Shelf) -> dict[str, Any]:
    """The first page: what the room holds, in numbers."""
    index = shelf.index
    counts = {kind: len(items) for kind, items in index.by_kind.items()}
    return {
        "name": shelf.room.root.name,
        "flyroom": version("flyroom"),
        "counts": {kind: counts.get(kind, 0) for kind in ("organism", "card", "cells", "ledger", "treatment")},
        "growing": any(item.key.endswith("/head") for item in index.by_kind.get("checkpoint", ())),
        "facets": index.facets,
    }


# ---------------------------------------------------------------- an organism


def organism_page(shelf: Shelf, key: str) -> dict[str, Any]:
    """One organism: how it grew, its cards, what it was treated with. Raises Missing for one that the room lacks."""
    entry, index = _get(shelf, "organism", key), shelf.index
    row, payload = index.rows[key], entry.payload
    cards = [{"key": item.key, "verdict": item.meta.get("verdict", "")} for item in index.cards.get(key, ())]
    treated = [child for child in index.rows.values() if child["parent"] == key]
    return {
        "row": row,
        "twin": index.find_twin(row) if row["kind"] != "twin" else "",
        "recipe": _recipe(payload.get("recipe", {})),
        "loss": _loss(payload.get("history", ())),
        "cards": cards,
        "treated": [{"id": child["id"], "treatment": child["treatment"]} for child in treated],
    }


def _loss(history: Any) -> list[dict[str, float]]:
    """The loss by step; a long training is thinned to `growth.POINTS`."""
    points = [{"x": point[0], "value": point[1]} for point in history if len(point) > 1]
    return growth.thin(points)


def _recipe(value: Any) -> list[list[str]]:
    """The parts of a recipe, each in a line."""
    parts = {name: part for name, part in value.items() if name not in ("is", "name")} if value else {}
    return [[name, line] for name, part in parts.items() if (line := _line(part))]


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        fields = ", ".join(f"{name} {_line(part)}" for name, part in value.items() if name != "is" and part is not None)
        kind = str(value.get("is", ""))
        return f"{kind}: {fields}" if kind and fields else kind or fields
    if isinstance(value, list | tuple):
        return "; ".join(map(_line, value))
    text = {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text


# ---------------------------------------------------------------- a card


def card_page(entry: Entry) -> dict[str, Any]:
    """One card: its figures, limits and curve, and what was asked."""
    card = unpack(entry)
    return {
        "key": entry.key,
        "organism": card.organism,
        "twin": card.twin,
        "recipe": card.recipe,
        "seed": card.seed,
        "base": card.base,
        "world": card.world,
        "behaviour": card.behaviour,
        "taught": card.about.taught,
        "elsewhere": card.about.elsewhere,
        "verdict": card.verdict.value,
        "why": card.why,
        "looks": card.looks,
        "episodes": card.episodes,
        "match": write_match(card.match) if card.match else "",
        "caveats": list(card.caveats),
        "prereg": card.prereg,
        "measures": measures_of(card),
        "curve": curve_of(card),
        "asked": talks.asked_by(entry, card),
        "transcripts": [talks.transcript_row(number, transcript) for number, transcript in enumerate(card.transcripts)],
    }
