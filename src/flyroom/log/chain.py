"""What happened in a room, when, and by whom, as a chain: which seeds were opened, what was announced before, what was
certified, and what left the room for which purpose.

Each line holds the hash of the line before, so that none can be changed, left out or put in between later. A line is an
entry of the room under its number: it is written whole or not at all, and the first process to take a number has it.
Where there is an identity (`vault`) it signs the line; else the line names the account, unsigned. Seeds are opened when
a recipe is grown with them for the first time; whoever grows says so before anything is grown.

    opened      seeds of recipes, from now on
    was there   organisms that the room held although no line had opened them
    announced   a file with what will be done, by its hash (`prereg`)
    certifying, certified   a recipe on seeds, and how many of its organisms passed
    adopted     an organism that somebody else trained, from a folder
    note        what somebody wanted to be on record
    grow, card, bench, export, serve, show, ...   a verb of the command line, by its name, before it began (`act`)

Left out: an umpire. The owner of the folder could write the whole log anew, or cut off its end. So whatever shows the
log shows the hash of its last line too, for somebody else to keep, and `heads` holds a log against one that was kept.
Source: chained logs, Haber and Stornetta 1991, J. Cryptology 3:99.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flyroom.log.heads import LogError, head_of, keep, second_place, sign
from flyroom.room import Room
from flyroom.room.files import DamagedError
from flyroom.types import plain
from flyroom.vault import current, verify

KIND = "log"
OPENED, PRESENT, ANNOUNCED, NOTE = "opened", "was there", "announced", "note"
CERTIFYING, CERTIFIED = "certifying", "certified"
ADOPTED = "adopted"
LABEL = b"flyroom log line 1\n"  # what a signature is of, beside the line's hash
SIGNER = "ed25519:"


@dataclass(frozen=True, kw_only=True)
class Line:
    """`before` is the hash of the line before, "" for the first; `at` is in UTC; `who` is the signer or, where there is
    no identity, the account; `sha256` is the hash of the rest but the signature, which is of that hash.
    """

    number: int
    before: str
    at: str
    what: str
    about: Mapping[str, Any]
    sha256: str
    who: str = ""  # of a line of an early version nobody knows
    purpose: str = ""
    signature: str = ""

    @property
    def is_signed(self) -> bool:
        return self.who.startswith(SIGNER)


def read(room: Room) -> list[Line]:
    """Every line, oldest first. LogError names the first that is missing, was changed, or does not follow from the line
    before.

    >>> import tempfile
    >>> room = Room(tempfile.mkdtemp())
    >>> append(room, "note", {"text": "here we begin"}).number
    0
    >>> [line.about["text"] for line in read(room)]
    ['here we begin']
    """
    lines, fault = examine(room)
    if fault:
        raise LogError(fault)
    return lines


def examine(room: Room) -> tuple[list[Line], str]:
    """The lines up to the first that is wrong, and what is wrong with it, in words: "" where nothing is."""
    entries, lines = _scan(room), list[Line]()
    for number in range(max(entries, default=-1) + 1):
        line = entries.get(number)
        fault = _find_fault(line, number, lines[-1].sha256 if lines else "")
        if line is None or fault:
            where = f"line {number} of the log in {room.root}"
            return lines, f"{where} {fault}; nothing can be shown by it any more"
        lines.append(line)
    return lines, ""


def announcement(lines: Sequence[Line], sha256: str) -> Line | None:
    """The first line that announces a plan of this hash; None where none does."""
    return next((x for x in lines if x.what == ANNOUNCED and x.about.get("sha256") == sha256), None)


def append(room: Room, what: str, about: Mapping[str, Any]) -> Line:
    """Write a line, and return it. Where the same is on record already, that line stands and is returned."""
    with room.lock(KIND):
        return append_locked(room, what, plain(about))


def read_whole(room: Room) -> list[Line]:
    """Whatever lines there are, also of a log that does not hold together."""
    return [line for _, line in sorted(_scan(room).items()) if line is not None]


def act(room: Room, what: str, *, ids: Sequence[str] = (), purpose: str = "", **about: Any) -> Line:
    """Write that a verb begins, each time anew: on which entries and what for. Returns the line."""
    with room.lock(KIND):
        return _add(room, what, plain({"ids": [*ids], **about}), purpose)


def append_locked(room: Room, what: str, about: Mapping[str, Any]) -> Line:
    """`append` for a caller who holds the lock of KIND."""
    lines = read_whole(room)
    return next((line for line in lines if (line.what, line.about) == (what, about)), None) or _add(room, what, about)


def _add(room: Room, what: str, about: Mapping[str, Any], purpose: str = "") -> Line:
    """The caller holds the lock. A process that does not is told by the room that a number is taken, and takes the
    next: the chain cannot fork.
    """
    while True:
        number, before = _find_end(room)
        fresh = _make(number, before, what, about, purpose)
        meta = {"what": what, "at": fresh.at}
        if room.put(KIND, _key(number), asdict(fresh), meta=meta).payload == asdict(fresh):
            _keep_elsewhere(room, fresh)
            return fresh


def _keep_elsewhere(room: Room, line: Line) -> None:
    """Put the hash of a line into the second place, where the environment names one."""
    place = second_place()
    first = line if line.number == 0 or place is None else _read_line(room, 0)
    if place is not None and first is not None:
        head, identity = head_of([first, line]), current()
        assert head is not None
        keep(sign(head, identity) if identity else head, place)


def _find_end(room: Room) -> tuple[int, str]:
    """The next number, and the hash of the last line that is one."""
    numbers = sorted(_list_numbers(room), reverse=True)
    lines = (_read_line(room, number) for number in numbers)
    last = next((line for line in lines if line is not None), None)
    return (numbers[0] + 1 if numbers else 0), (last.sha256 if last else "")


def _make(number: int, before: str, what: str, about: Mapping[str, Any], purpose: str) -> Line:
    identity, at = current(), datetime.now(UTC).isoformat(timespec="seconds")
    author = identity.signer if identity else _name_account()
    sha256 = _hash(number, before, at, what, about, author, purpose)
    signature = identity.sign(LABEL + sha256.encode()).hex() if identity else ""
    return Line(
        number=number,
        before=before,
        at=at,
        what=what,
        about=about,
        sha256=sha256,
        who=author,
        purpose=purpose,
        signature=signature,
    )


def _name_account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a list of accounts
        return f"account {os.getuid()}"


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _key(number: int) -> str:
    return f"{KIND}-{number:06}"  # no start of an organism's id


def _scan(room: Room) -> dict[int, Line | None]:
    """The lines by number as they are; None for an entry that is no line."""
    return {number: _read_line(room, number) for number in _list_numbers(room)}


def _list_numbers(room: Room) -> Iterator[int]:
    for listing in room.list(KIND):
        digits = listing.key.removeprefix(f"{KIND}-")
        if digits.isdecimal():
            yield int(digits)


def _read_line(room: Room, number: int) -> Line | None:
    try:
        entry = room.get(KIND, _key(number))
    except DamagedError:  # no line any more, as one that was changed is none
        return None
    return None if entry is None else _line(entry.payload)


def _line(payload: Mapping[str, Any]) -> Line | None:
    try:
        return TypeAdapter(Line).validate_python(dict(payload))
    except ValidationError:
        return None


def _find_fault(line: Line | None, number: int, before: str) -> str:
    if line is None:
        return "is missing, or is none"
    parts = (line.number, line.before, line.at, line.what, line.about)
    author = (line.who, line.purpose) if line.who or line.purpose else ()  # lines of early versions name nobody
    if line.number != number or line.sha256 != _hash(*parts, *author):
        return "was changed"
    if line.before != before:
        return "does not follow from the line before it"
    return "" if _is_signature_good(line) else "is not signed by the one that it names"


def _is_signature_good(line: Line) -> bool:
    """Whether a line that names a signer is that signer's, and one that names none has no signature."""
    if not line.is_signed:
        return not line.signature
    try:
        return verify(line.who, bytes.fromhex(line.signature), LABEL + line.sha256.encode())
    except ValueError:
        return False
