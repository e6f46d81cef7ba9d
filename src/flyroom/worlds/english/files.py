"""The small JSON files that a base's screen and its own answers are kept in: read with every field checked, written
whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flyroom.whole import write_whole

FORMAT = 1


def read_page(path: str, field: str, kinds: Mapping[str, type], tables: str) -> dict[str, Any]:
    """The values of a file that stands in the world's `field`. ValueError naming the file and what is wrong with it;
    one that is of other tables than `tables` is refused too.
    """
    try:
        page = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{field} is {path}; it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{field} is {path}; it is not JSON: {error}") from error
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        raise ValueError(f'{field} is {path}; its "format" must be {FORMAT}: make it by `flyroom world {field}`')
    wrong = next((name for name, kind in kinds.items() if not isinstance(page.get(name), kind)), None)
    if wrong is not None:
        raise ValueError(f"{field} is {path}; its {wrong!r} must be of type {kinds[wrong].__name__}")
    if page["tables"] != tables:
        raise ValueError(
            f"{field} is {path}; it is of other tables than these: make it anew by `flyroom world {field}`"
        )
    return {name: page[name] for name in kinds}


def write_page(path: Path, values: Mapping[str, Any]) -> None:
    """OSError where it cannot be written."""
    write_whole(path, json.dumps({"format": FORMAT} | dict(values), indent=1) + "\n")
