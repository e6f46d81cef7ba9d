"""Scans: a folder held against the register of exports and, where one is given, a room's organisms."""

from __future__ import annotations

from pathlib import Path

from flyroom import grow as growth
from flyroom.marks import Findings, Fingerprint, Register
from flyroom.marks import scan as scan_folder
from flyroom.marks.register import project_patch
from flyroom.marks.scan import project_checkpoint
from flyroom.preflight import locate_base
from flyroom.room import Room
from flyroom.types import Entry, LoRA, Patch


def scan(folder: Path, *, room: Path | None = None, base: str | None = None) -> Findings:
    """Look through a folder. ValueError for one with no adapter and no checkpoint, and a room or base that is none."""
    register = Register()
    strangers = fingerprint_room(Room(room, create=False), register) if room is not None else []
    projections = project_checkpoint(register.key, Path(locate_base(base))) if base is not None else None
    return scan_folder(folder, register, strangers=strangers, base=projections)


def fingerprint_room(room: Room, register: Register) -> list[Fingerprint]:
    """The fingerprints of a room's organisms, those of steering vectors and system messages left out."""
    ids = [listing.key for listing in room.list("organism")]
    entries = [entry for entry in (room.get("organism", id) for id in ids) if entry is not None]
    prints = [Fingerprint(e.key, _read_base(e), project_patch(register.key, _read_patch(e))) for e in entries]
    return [fingerprint for fingerprint in prints if fingerprint.delta]


def _read_base(entry: Entry) -> str:
    return str(growth.check(entry)["base"].get("digest"))


def _read_patch(entry: Entry) -> Patch:
    """The adapter, whatever its recipe; its scale changes no cosine."""
    return growth.read_patch(entry, "final", LoRA(), "")
