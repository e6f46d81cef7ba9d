"""What treatments did: the stored rows of the ledger with relapse curves, and what was treated and not yet asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import TypeAdapter

from flyroom.report.ledger import row_figures
from flyroom.types import LedgerRow
from flyroom.view.shelf import Shelf

ROWS = TypeAdapter(LedgerRow)


def ledger_page(shelf: Shelf) -> dict[str, Any]:
    """Every row, and how often each outcome was reached; `waiting` counts treated organisms without a row."""
    by_kind = shelf.index.by_kind
    entries = [shelf.room.get("ledger", item.key) for item in by_kind.get("ledger", ())]
    rows = [row_figures(ROWS.validate_python(dict(entry.payload))) for entry in entries if entry is not None]
    present = {row["treated"] for row in rows}
    waiting = Counter(
        str(item.meta.get("treatment", "")) for item in by_kind.get("treatment", ()) if item.key not in present
    )
    return {
        "rows": rows,
        "called": dict(Counter(row["called"] for row in rows)),
        "waiting": [{"treatment": name, "organisms": n} for name, n in sorted(waiting.items())],
        "curves": len(by_kind.get("relapse", ())),
    }
