"""The index of a room, sorted for the pages: who is there, what each is, which cards it has.

Only the listing is read (`Room.list`), never an entry, so that the first page of a large room comes at once. It is read
anew when it is older than `FRESH` seconds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flyroom.room import Listing, Room

FRESH = 2.0  # seconds
FACETS = ("recipe", "kind", "verdict", "base", "seed")
PAGE = 50  # rows
LARGEST = 500  # rows that a page may have
ANY = "any"  # of verdicts: whatever has a card


class Missing(Exception):
    """There is no such page, organism or game."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """The listings of a room by kind, and a row for each organism."""

    listings: Sequence[Listing]
    decoys: frozenset[str] = frozenset()

    @cached_property
    def by_kind(self) -> Mapping[str, Sequence[Listing]]:
        groups: dict[str, list[Listing]] = {}
        for item in self.listings:
            groups.setdefault(item.kind, []).append(item)
        return groups

    @cached_property
    def cards(self) -> Mapping[str, Sequence[Listing]]:
        """By organism, oldest first."""
        groups: dict[str, list[Listing]] = {}
        for item in self.by_kind.get("card", ()):
            groups.setdefault(str(item.meta.get("organism", "")), []).append(item)
        return groups

    @cached_property
    def rows(self) -> Mapping[str, dict[str, Any]]:
        """What the list shows of each organism, by its id."""
        return {item.key: self._row(item) for item in self.by_kind.get("organism", ())}

    @cached_property
    def facets(self) -> dict[str, list[list[Any]]]:
        """Each value that a filter may take, with how many organisms have it."""
        counts = {name: Counter(row[name] for row in self.rows.values()) for name in FACETS}
        return {
            name: [[value, n] for value, n in sorted(count.items(), key=lambda pair: _rank(pair[0]))]
            for name, count in counts.items()
        }

    def _row(self, item: Listing) -> dict[str, Any]:
        meta, cards = item.meta, self.cards.get(item.key, ())
        return {
            "id": item.key,
            "recipe": str(meta.get("recipe", "")),
            "kind": self._kind(meta),
            "dose": meta.get("dose"),
            "seed": meta.get("seed"),
            "base": str(meta.get("base", "")),
            "verdict": str(cards[-1].meta.get("verdict", "")) if cards else "",
            "cards": [card.key for card in cards],
            "treatment": str(meta.get("treatment") or "").partition(":")[0],
            "parent": str(meta.get("parent") or ""),
        }

    def _kind(self, meta: Mapping[str, Any]) -> str:
        if meta.get("parent"):
            return "treated"
        if not meta.get("dose"):
            return "twin"
        if meta.get("recipe") in self.decoys:
            return "decoy"
        return "imported" if meta.get("provenance") == "imported" else "organism"

    def find_twin(self, row: Mapping[str, Any]) -> str:
        """The twin that was grown like an organism, "" where there is none."""
        alike = ("recipe", "base", "seed")
        twins = (x for x in self.rows.values() if x["kind"] == "twin" and all(x[name] == row[name] for name in alike))
        return next((twin["id"] for twin in twins), "")


def _rank(value: Any) -> tuple[bool, Any]:
    """Numbers in their order, before texts."""
    is_text = not isinstance(value, int)
    return is_text, str(value) if is_text else value


@dataclass(eq=False)
class Shelf:
    """A room, to be looked at. `decoys` are names of recipes whose organisms are harmless."""

    room: Room
    decoys: frozenset[str] = frozenset()
    _index: Index | None = None
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def index(self) -> Index:
        with self._lock:
            if self._index is None or time.monotonic() > self._until:
                self._index = Index(listings=self.room.list(), decoys=self.decoys)
                self._until = time.monotonic() + FRESH
            return self._index

    def get(self, kind: str, key: str) -> Any:
        """An entry that the room lists, or None."""
        return self.room.get(kind, key) if any(x.key == key for x in self.index.by_kind.get(kind, ())) else None


def find_rows(index: Index, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows that a query leaves: a value for each facet, and words that all stand in the row."""
    words = query.get("text", "").lower().split()
    wants = {name: query[name] for name in FACETS if query.get(name)}
    return [row for row in index.rows.values() if _fits(row, wants) and all(word in _text(row) for word in words)]


def _fits(row: Mapping[str, Any], wants: Mapping[str, str]) -> bool:
    return all(str(row[n]) == v or (n == "verdict" and _fits_verdict(row["verdict"], v)) for n, v in wants.items())


def _fits_verdict(verdict: str, want: str) -> bool:
    return (want == ANY and bool(verdict)) or (want == "none" and not verdict)


def _text(row: Mapping[str, Any]) -> str:
    names = ("id", "recipe", "kind", "base", "verdict", "treatment", "parent")
    return " ".join([*(str(row[name]) for name in names), f"seed={row['seed']}", f"dose={row['dose']}"]).lower()


def page_of(rows: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """So many rows of them: `page` counts from 1. ValueError for a number that is none."""
    size = min(_number(query, "size", PAGE), LARGEST)
    number = _number(query, "page", 1)
    start = (number - 1) * size
    return {"total": len(rows), "page": number, "size": size, "rows": rows[start : start + size]}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) < 10**8:
        raise ValueError(f"{name} is {text[:20]!r}; it must be a number from 1 up")
    return int(text[:9])
