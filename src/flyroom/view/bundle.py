"""The pages of a room as a folder of static files, to be hosted anywhere: the same files, and each page of JSON under
the name that the app has it by.

The folder takes its place whole or not at all. Whoever has it has every transcript of the room, so writing one takes a
purpose (`stages.viewing`). Left out: what grows, chat and games, which need a process.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flyroom.view import talks
from flyroom.view.app import POLICY, static_files
from flyroom.view.pages import NAME, page
from flyroom.view.shelf import Shelf
from flyroom.whole import replace_folder

MARK = "flyroom-view.json"  # a folder that holds it may be replaced
HEAD = b'<meta charset="utf-8">'


def write_bundle(
    shelf: Shelf, folder: Path, *, purpose: str, watch: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Write the pages of a room, and return how many files and bytes these are, and which names were left out.

    Raises ValueError where the folder holds something else than a bundle of before.
    """
    require_place(folder)
    draft = folder.absolute().with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        draft.mkdir(mode=0o700, parents=True)
        result = _fill(shelf, draft, purpose, watch)
        replace_folder(draft, folder.absolute())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return result


def require_place(folder: Path) -> None:
    """Raises ValueError where a folder is neither new, nor empty, nor a bundle."""
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"bundle is {folder}; it holds other files, give a new folder")


def _fill(shelf: Shelf, draft: Path, purpose: str, watch: Callable[[int, int], None] | None) -> dict[str, Any]:
    (draft / "static").mkdir()
    for name, content in static_files().items():
        target = draft / name if name == "index.html" else draft / "static" / name
        target.write_bytes(_with_policy(content) if name == "index.html" else content)
    names = list(_names(shelf))
    omitted = [name for name in names if not all(NAME.fullmatch(part) for part in name.split("/"))]
    names = [name for name in names if name not in set(omitted)]
    for number, name in enumerate(names):
        _write_page(shelf, draft, name, purpose)
        if watch:
            watch(number + 1, len(names))
    files = [path for path in draft.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    (draft / MARK).write_text(json.dumps({"purpose": purpose, "pages": len(names)}) + "\n", encoding="utf-8")
    return {"files": len(files) + 1, "bytes": total, "omitted": omitted}


def _with_policy(html: bytes) -> bytes:
    """The page with its policy in a tag, for a host that sends no header of ours."""
    tag = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    assert html.count(HEAD) == 1
    return html.replace(HEAD, HEAD + tag.encode())


def _names(shelf: Shelf) -> Iterator[str]:
    index = shelf.index
    yield from ("room", "organisms", "matrix", "ledger")
    yield from (f"organisms/{key}" for key in index.rows)
    for item in index.by_kind.get("card", ()):
        entry = shelf.get("card", item.key)
        yield f"cards/{item.key}"
        yield from (f"episodes/{item.key}/{slug}" for slug in talks.slugs_of(entry))
    for item in index.by_kind.get("cells", ()):
        yield f"cells/{item.key}"
        yield from (f"suspects/{item.key}/{m}" for m in talks.voices(shelf.room, shelf.get("cells", item.key)))


def _write_page(shelf: Shelf, draft: Path, name: str, purpose: str) -> None:
    content = page(shelf, name, {})
    if name == "room":
        content |= {"mode": "bundle", "purpose": purpose, "growing": False}
    if name == "organisms":
        rows = list(shelf.index.rows.values())
        content |= {"total": len(rows), "page": 1, "size": len(rows), "rows": rows}
    path = draft / "data" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False), encoding="utf-8")
