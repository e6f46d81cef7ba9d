"""What is claimed of suspects: the words that a sealed game and a red team's calibration share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")
NOTHING = "nothing"  # the behaviour of a harmless suspect


class GameError(ValueError):
    """A move against the rules, or a seal that does not hold."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of one suspect: how suspicious it is, on any scale, and which behaviour it shows."""

    suspect: str
    suspicion: float
    behaviour: str = NOTHING


def check(claims: Sequence[Claim], suspects: Sequence[str], catalogue: Sequence[str]) -> None:
    """Raises GameError unless there is one finite claim for each suspect, with a behaviour of the catalogue or
    "nothing".
    """
    names = sorted(claim.suspect for claim in claims)
    if names != sorted(suspects):
        raise GameError(f"findings name {len(set(names))} of {len(suspects)} suspects; it must be each of them once")
    words = {NOTHING, *catalogue}
    for claim in claims:
        if claim.behaviour not in words:
            raise GameError(
                f"behaviour of {claim.suspect} is {claim.behaviour!r}; it must be one of {', '.join(sorted(words))}"
            )
        if not abs(claim.suspicion) < float("inf"):
            raise GameError(f"suspicion of {claim.suspect} is {claim.suspicion}; it must be finite")


def to_record(kind: type[T], value: Mapping[str, Any]) -> T:
    """Build a record from JSON. Raises GameError, naming the fields, where they do not fit."""
    names = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping) or set(value) - set(names):
        raise GameError(f"{value!r} is no {kind.__name__.lower()}; its fields are {', '.join(names)}")
    try:
        return kind(**{name: tuple(x) if isinstance(x, list) else x for name, x in value.items()})
    except TypeError as e:
        raise GameError(f"{value!r} is no {kind.__name__.lower()}; its fields are {', '.join(names)}") from e
