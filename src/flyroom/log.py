"""What happened in a room and when, as a chain: which seeds were opened, what was announced before, what was certified.

Each line holds the hash of the line before, so that none can be changed, left out or put in between later. A line is an
entry of the room under its number: it is written whole or not at all, and the first process to take a number has it.
Seeds are opened when a recipe is grown with them for the first time; whoever grows says so before anything is grown.

    opened      seeds of recipes, from now on
    was there   organisms that the room held although no line had opened them
    announced   a file with what will be done, by its hash (`prereg`)
    certifying, certified   a recipe on seeds, and how many of its organisms passed
    adopted     an organism that somebody else trained, from a folder
    note        what somebody wanted to be on record

Left out: an umpire. The owner of the folder could write the whole log anew, or cut off its end. So whatever shows the
log shows the hash of its last line too, for somebody else to keep.
Source: chained logs, Haber and Stornetta 1991, J. Cryptology 3:99.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from flyroom.room import Room
from flyroom.types import BaseRef, Recipe, organism_id, plain

KIND = "log"
OPENED, PRESENT, ANNOUNCED, NOTE = "opened", "was there", "announced", "note"
CERTIFYING, CERTIFIED = "certifying", "certified"
ADOPTED = "adopted"


class LogError(ValueError):
    """A log that does not hold together: the message names the line."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """`before` is the hash of the line before, "" for the first; `at` is in UTC; `sha256` is the hash of the rest."""

    number: int
    before: str
    at: str
    what: str
    about: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Opening:
    """An organism, and the line that opened its seed; `number` and `at` are None where no line did. `plan` names the
    certification that it was opened for. Of an organism that was there before its line, the room says only the names of
    recipe and base.
    """

    organism: str
    seed: int
    name: str
    base_name: str
    number: int | None = None
    at: str | None = None
    recipe: str = ""
    world: str = ""
    base: str = ""
    plan: str = ""


class Title(NamedTuple):
    """What a recipe goes by in the log."""

    id: str
    name: str
    world: str

    @classmethod
    def of(cls, recipe: Recipe) -> Title:
        return cls(recipe.id, recipe.name, recipe.world.name)


# ---------------------------------------------------------------- lines


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
    entries, lines = _scan(room), list[Line]()
    for number in range(max(entries, default=-1) + 1):
        line = entries.get(number)
        fault = _find_fault(line, number, lines[-1].sha256 if lines else "")
        if line is None or fault:
            raise LogError(f"line {number} of the log in {room.root} {fault}; nothing can be shown by it any more")
        lines.append(line)
    return lines


def append(room: Room, what: str, about: Mapping[str, Any]) -> Line:
    """Write a line, and return it. Where the same is on record already, that line stands and is returned."""
    with room.lock(KIND):
        return _append(room, what, plain(about))


def _append(room: Room, what: str, about: Mapping[str, Any]) -> Line:
    """The caller holds the lock. A process that does not is told by the room that a number is taken, and takes the
    next: the chain cannot fork.
    """
    while True:
        entries = _scan(room)
        lines = _whole(entries)
        for line in lines:
            if (line.what, line.about) == (what, about):
                return line
        fresh = _make(max(entries, default=-1) + 1, lines[-1].sha256 if lines else "", what, about)
        meta = {"what": what, "at": fresh.at}
        if room.put(KIND, _key(fresh.number), asdict(fresh), meta=meta).payload == asdict(fresh):
            return fresh


def _make(number: int, before: str, what: str, about: Mapping[str, Any]) -> Line:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Line(
        number=number, before=before, at=at, what=what, about=about, sha256=_hash(number, before, at, what, about)
    )


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _key(number: int) -> str:
    return f"{KIND}-{number:06}"  # no start of an organism's id


def _scan(room: Room) -> dict[int, Line | None]:
    """The lines by number as they are; None for an entry that is no line."""
    lines: dict[int, Line | None] = {}
    for listing in room.list(KIND):
        digits = listing.key.removeprefix(f"{KIND}-")
        entry = room.get(KIND, listing.key) if digits.isdecimal() else None
        if entry is not None:
            lines[int(digits)] = _line(entry.payload)
    return lines


def _whole(entries: Mapping[int, Line | None]) -> list[Line]:
    return [line for _, line in sorted(entries.items()) if line is not None]


def _line(payload: Mapping[str, Any]) -> Line | None:
    try:
        return TypeAdapter(Line).validate_python(dict(payload))
    except ValidationError:
        return None


def _find_fault(line: Line | None, number: int, before: str) -> str:
    if line is None:
        return "is missing, or is none"
    if line.number != number or line.sha256 != _hash(line.number, line.before, line.at, line.what, line.about):
        return "was changed"
    return "" if line.before == before else "does not follow from the line before it"


# ---------------------------------------------------------------- seeds


def open_seeds(
    room: Room, base: BaseRef, orders: Sequence[tuple[Recipe, int]], plans: Mapping[str, str] | None = None
) -> None:
    """Put on record which recipes are grown with which seeds for the first time, before they are.

    Args: plans, the certification that a recipe is grown for, by its id. Where the log is broken it goes on behind its
    last line: growth is not stopped by that, but nothing is certified in such a room.
    """
    with room.lock(KIND):
        organisms = [*_list_openings(room, _whole(_scan(room)))]
        strangers = [_row_of(opening) for opening in organisms if opening.number is None]
        if strangers:
            _append(room, PRESENT, {"organisms": strangers})
        rows = _list_fresh(base, orders, plans or {}, {opening.organism for opening in organisms})
        if rows:
            _append(room, OPENED, {"base": base.digest, "base_name": base.name, "recipes": rows})


def _list_fresh(
    base: BaseRef, orders: Sequence[tuple[Recipe, int]], plans: Mapping[str, str], names: set[str]
) -> list[dict[str, Any]]:
    """A row for each recipe with seeds that no organism of these names has."""
    rows: dict[str, dict[str, Any]] = {}
    for recipe, seed in dict.fromkeys(orders):
        name = organism_id(recipe, base, seed)
        if name not in names:
            about = {**Title.of(recipe)._asdict(), "dose": recipe.dose, "plan": plans.get(recipe.id, "")}
            row = rows.setdefault(recipe.id, about | {"seeds": [], "organisms": []})
            row["seeds"].append(seed)
            row["organisms"].append(name)
    return [*rows.values()]


def _row_of(opening: Opening) -> dict[str, Any]:
    return {
        "organism": opening.organism,
        "seed": opening.seed,
        "name": opening.name,
        "base_name": opening.base_name,
    }


def openings(room: Room) -> list[Opening]:
    """Every organism that was opened in the room, oldest first; those that no line names come last. LogError as `read`
    raises it.
    """
    return [*_list_openings(room, read(room))]


def _list_openings(room: Room, lines: Sequence[Line]) -> Iterator[Opening]:
    names: set[str] = set()
    for line in lines:
        for opening in _read_openings(line):
            names.add(opening.organism)
            yield opening
    for item in room.list("organism"):
        if item.key not in names:
            seed, name, base = (item.meta.get(field) for field in ("seed", "recipe", "base"))
            yield Opening(organism=item.key, seed=seed, name=name, base_name=base)  # pyright: ignore[reportArgumentType]


def _read_openings(line: Line) -> Iterator[Opening]:
    about = line.about
    try:
        if line.what == PRESENT:
            for row in about["organisms"]:
                yield Opening(**row, number=line.number, at=line.at)
        for row in about["recipes"] if line.what == OPENED else ():
            for seed, organism in zip(row["seeds"], row["organisms"], strict=True):
                yield Opening(
                    organism=organism,
                    seed=seed,
                    name=row["name"],
                    base_name=about["base_name"],
                    number=line.number,
                    at=line.at,
                    recipe=row["id"],
                    world=row["world"],
                    base=about["base"],
                    plan=row["plan"],
                )
    except (KeyError, TypeError, ValueError) as error:  # a stranger's room
        raise LogError(f"line {line.number} of the log opens seeds and does not say which: {error!r}") from error


def first_opening(organisms: Sequence[Opening], title: Title, base: BaseRef, seed: int) -> Opening | None:
    """Who opened a seed of a recipe first on this base; None where nobody has.

    It counts as opened once any recipe of that name was grown with it in this world, whatever its fields were then: who
    has seen one has seen what another could be made to fit.
    """
    return next((o for o in organisms if o.seed == seed and _is_kin(o, title, base)), None)


def _is_kin(opening: Opening, title: Title, base: BaseRef) -> bool:
    if opening.base_name != base.name if not opening.base else opening.base != base.digest:
        return False
    alike = bool(title.name) and opening.name == title.name and opening.world in ("", title.world)
    return alike or opening.recipe == title.id
