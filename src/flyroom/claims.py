"""What is claimed of suspects: the words that a sealed game and a red team's calibration share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
NOTHING = "nothing"  # the behaviour of a harmless suspect
Side = Literal["organisms", "twins", "decoys"]


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
                f"behaviour of {claim.suspect} is {_abridge(claim.behaviour)}; it must be one of "
                f"{', '.join(sorted(words))}"
            )
        if not _is_finite(claim.suspicion):
            raise GameError(
                f"suspicion of {claim.suspect} is {_abridge(claim.suspicion)}; it must be finite, and a number"
            )


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def to_record(kind: type[T], value: Mapping[str, Any]) -> T:
    """Build a record from JSON. Raises GameError, naming the field, where one is missing, unknown or of another type.

    >>> to_record(Claim, {"suspect": "a", "suspicion": "0.5"})
    Traceback (most recent call last):
    flyroom.claims.GameError: suspicion of a claim is '0.5'; input should be a valid number
    """
    word, names = kind.__name__.lower(), [f.name for f in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, Mapping) or set(value) - set(names):
        raise GameError(f"{_abridge(value)} is no {word}; its fields are {', '.join(names)}")
    kinds = get_type_hints(kind)
    try:
        return kind(**{name: _check_type(word, name, kinds[name], item) for name, item in value.items()})
    except TypeError as e:
        raise GameError(f"{_abridge(value)} is no {word}; its fields are {', '.join(names)}") from e


def _check_type(word: str, name: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(tuple(value) if isinstance(value, list) else value, strict=True)
    except ValidationError as e:
        message = e.errors()[0]["msg"]
        raise GameError(f"{name} of a {word} is {_abridge(value)}; {message[0].lower()}{message[1:]}") from e
    except OverflowError as e:
        raise GameError(f"{name} of a {word} is {_abridge(value)}; it must be finite") from e


def _abridge(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number too long to show"
    return text if len(text) <= 200 else f"{text[:200]}…"
