"""What tests of rooms put into one, and how they look at its files."""

import hashlib
import sqlite3
from multiprocessing.process import BaseProcess
from pathlib import Path

from flyroom.room import Room
from flyroom.types import Entry


def entries(kind: str, keys: str, **payload: object) -> list[Entry]:
    return [Entry(kind=kind, key=key, payload=payload | {"of": key}, meta={"key": key}) for key in keys]


def table(room: Room) -> list[tuple]:
    with sqlite3.connect(room.root / "index.sqlite3") as db:
        rows = db.execute("SELECT * FROM entries ORDER BY kind, key").fetchall()
    db.close()
    return rows


def blobs(room: Room) -> list[Path]:
    return [path for path in (room.root / "blobs").glob("*/*") if path.is_file()]


def end(process: BaseProcess) -> int | None:
    process.join(60)
    return process.exitcode


def assert_sound(room: Room) -> None:
    """No half-written file anywhere; every entry reads; the index is what the blobs say."""
    report = room.check()
    assert (report.lost, report.corrupt) == ((), ())
    for listing in room.list():
        entry = room.get(listing.kind, listing.key)
        assert entry is not None
        assert entry.meta == listing.meta
    for path in blobs(room):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    files = {path.name for path in room.root.iterdir()} - {"index.sqlite3-journal"}  # cleared by its next write
    assert files == {"format", "blobs", "index.sqlite3", "staged", "locks"}
