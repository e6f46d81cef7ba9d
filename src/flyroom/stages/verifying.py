"""What is signed, held against what it says: the entries of a room, its log, pre-registrations, games and exports.

In an encrypted room the keyring names whose signatures count. There a line of the log by another signer is a fault, and
so is one without a signature behind one that has it: who may write in the folder, but has no key, could add such lines.
Who counted when a line was written stands in the log itself, for adding and removing signers are lines of it.
In a room without a keyring both are listed, for nobody has said there who may sign.

Left out: whose key it is. A signer is a number; that it is a colleague's is known from the colleague.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyroom import game, log, marks, prereg
from flyroom.engine.peft_config import CONFIG
from flyroom.log import heads
from flyroom.marks.manifest import BUNDLE, CLAIM
from flyroom.marks.mark import FILE, parse_mark
from flyroom.room import Room
from flyroom.room.checks import find_trust
from flyroom.room.files import read_small
from flyroom.room.folder import Folder
from flyroom.room.vaults import is_encrypted
from flyroom.types import plain

ADDED, REMOVED = "recipients added", "recipients removed"  # what a line of `flyroom vault` says was done


def read_log(room: Room, against: Path | None = None) -> tuple[list[log.Line], str]:
    """The lines up to a fault, and the fault, "" where there is none. `against` is a file of heads that were kept."""
    lines, fault = log.examine(room)
    fault = fault or (doubt(lines, find_trust(room)) if is_encrypted(room.root) else "")
    place = against or heads.second_place()
    return lines, fault or (heads.check(lines, place) if place else "")


def doubt(lines: Sequence[log.Line], trusts: Callable[[str], bool]) -> str:
    """The first line whose signer was not trusted then, or that is unsigned behind a signed one, in words; or "".

    Args: trusts, whether a signer counts now. Lines are read backwards: before a line that removed a signer, that one
    counted, and before one that added a signer, that one did not. Only lines of signers who counted themselves say so.
    """
    fault, counted = "", dict[str, bool]()
    for place in reversed(range(len(lines))):
        line = lines[place]
        if not line.is_signed:
            if place and lines[place - 1].is_signed:
                fault = f"line {line.number} of the log is not signed, and lines before it are"
        elif not counted.get(line.who, trusts(line.who)):
            fault = f"line {line.number} of the log is signed by {line.who}, whom the room does not trust"
        elif line.what == "vault" and line.about.get("did") in (ADDED, REMOVED):
            counted |= dict.fromkeys(line.about.get("whom", ()), line.about["did"] == REMOVED)
    return fault


def count_torn(against: Path | None = None) -> int:
    """How many lines of the file of heads, or of the second place, are torn: they say nothing of the log. 0 of a file
    that cannot be read, for whoever asks has a fault to report: `read_log`.
    """
    place = against or heads.second_place()
    try:
        return heads.count_torn(place) if place else 0
    except log.LogError:
        return 0


def verify_room(room: Room, against: Path | None = None) -> dict[str, Any]:
    """Everything in a room that can be signed, as JSON. `good` is whether nothing is bad."""
    signatures = room.verify()
    states = Counter(signature.state for signature in signatures)
    bad = [{"kind": s.kind, "id": s.key, "signer": s.signer} for s in signatures if s.state == "bad"]
    signers = Counter(s.signer for s in signatures if s.state == "signed")
    untrusted = sorted({s.signer or "" for s in signatures if s.state == "signed" and not s.is_trusted})
    entries = {"signed": states["signed"], "unsigned": states["unsigned"], "bad": bad, "signers": dict(signers)}
    lines, fault = read_log(room, against)
    return {
        "room": str(room.root),
        "encrypted": is_encrypted(room.root),
        "entries": entries | {"untrusted": untrusted},
        "log": _describe_log(lines, fault) | {"torn_heads": count_torn(against)},
        "preregistrations": [_describe_plan(line) for line in lines if line.what == log.ANNOUNCED],
        "good": not bad and not fault,
    }


def _describe_log(lines: Sequence[log.Line], fault: str) -> dict[str, Any]:
    signers = Counter(line.who for line in lines if line.is_signed)
    head = heads.head_of(lines)
    return {
        "lines": len(lines),
        "signers": dict(signers),
        "unsigned": len(lines) - signers.total(),
        "head": head.sha256 if head else "",
        "intact": not fault,
        "why": fault,
    }


def _describe_plan(line: log.Line) -> dict[str, Any]:
    about = {name: line.about.get(name) for name in ("file", "sha256")}
    return about | {"line": line.number, "who": line.who, "state": "signed" if line.is_signed else "unsigned"}


def verify_path(path: Path, by: str = "") -> dict[str, Any]:
    """An export, a game or a file of `flyroom prereg`, as JSON. ValueError for anything else, a room among it.

    Args: by, the signer whom it must be signed by.
    """
    kind, (state, signer, why) = _verify(path)
    if by and state != "bad" and signer != by:
        state, why = "bad", f"it is signed by {signer or 'nobody'} and not by {by}"
    return {"path": str(path), "kind": kind, "state": state, "signer": signer, "why": why, "good": state != "bad"}


def _verify(path: Path) -> tuple[str, marks.Signature]:
    """Its kind, and what its signature is worth."""
    if (path / game.GAME).is_file():
        return "game", _verify_game(path)
    if path.is_dir():
        _require_export(path)
        return "export", _verify_export(path)
    prereg.read(path)
    state, signer = prereg.signature_of(path)
    why = "the signature is not of this file" if state == "bad" else ""
    return "preregistration", marks.Signature(state, signer, why)


def _require_export(folder: Path) -> None:
    """ValueError for a folder in which there is nothing that could be signed: it must not pass for good."""
    place = Folder(folder)
    if place.keyring.exists() or (place.marker.is_file() and read_small(place.marker).startswith("flyroom room")):
        raise ValueError(f"path is {folder}; it is a room: use --room {folder}")
    if not any((folder / name).is_file() for name in (FILE, BUNDLE, CLAIM, CONFIG)):
        raise ValueError(
            f"path is {folder}; it must be an export, which holds {FILE} or {CONFIG}, a game, or a file of `flyroom "
            "prereg`; for a room use --room"
        )


def _verify_export(folder: Path) -> marks.Signature:
    signature, path = marks.verify(folder), folder / FILE
    mark = parse_mark(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    signer = (mark or {}).get("signer", "")
    if signature.state == "unsigned" and signer:
        return marks.Signature("bad", "", f"it was signed by {signer}, and the signature is gone")
    if signature.state == "good" and signer != signature.signer:
        return marks.Signature("bad", signature.signer, f"its mark names another signer, {signer or 'nobody'}")
    return signature


def _verify_game(folder: Path) -> marks.Signature:
    try:
        lines = plain(game.log(folder))
        game.confirm_seal(folder)
    except game.GameError as error:
        return marks.Signature("bad", "", str(error))
    signer = lines[0].get("signer", "")
    return marks.Signature("good" if signer else "unsigned", signer)
