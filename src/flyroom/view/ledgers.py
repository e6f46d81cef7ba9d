"""What treatments did: the stored rows of the ledger with relapse curves, and what was treated and not yet asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from flyroom.view.shelf import Shelf


def ledger_page(shelf: Shelf) -> dict[str, Any]:
    """Every row, and how often each outcome was reached; `waiting` counts treated organisms without a row."""
    by_kind = shelf.index.by_kind
    entries = [shelf.room.get("ledger", item.key) for item in by_kind.get("ledger", ())]
    rows = [read_row(entry.payload) for entry in entries if entry is not None]
    present, organisms = {row["treated"] for row in rows}, shelf.index.rows
    targets = [item for item in by_kind.get("treatment", ()) if organisms.get(item.key, {}).get("dose")]  # no twins
    waiting = Counter(str(item.meta.get("treatment", "")) for item in targets if item.key not in present)
    return {
        "rows": rows,
        "called": dict(Counter(row["called"] for row in rows)),
        "waiting": [{"treatment": name, "organisms": n} for name, n in sorted(waiting.items())],
    }


def read_row(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A stored row as `report.ledger.row_figures` has it: a figure that is missing is null, with the reason.

    >>> read_row({"is": "LedgerRow", "treated": "a", "after": {"is": "NotMeasured", "why": "no twin"}, "episodes": []})
    {'treated': 'a', 'after': {'value': None, 'why': 'no twin'}}
    """
    return {name: _bare(value) for name, value in payload.items() if name not in ("is", "episodes")}


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        missing = {"value": None} if value.get("is") == "NotMeasured" else {}
        return missing | {name: _bare(part) for name, part in value.items() if name != "is"}
    return [_bare(part) for part in value] if isinstance(value, list | tuple) else value
