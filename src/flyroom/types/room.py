"""The role of a room, where everything lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """What is stored under a kind and a key: JSON values, tensors by name, and a little `meta` that listings show.

    `key` is the digest of everything that the entry depends on.
    """

    kind: str
    key: str
    payload: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)


class Listing(NamedTuple):
    """An entry without its content."""

    kind: str
    key: str
    meta: Mapping[str, Any]


class Room(Protocol):
    """Entries under their keys, each written whole or not at all."""

    def get(self, kind: str, key: str) -> Entry | None: ...

    def put_many(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Store all or none; returns what is then stored under their keys."""
        ...

    def delete(self, kind: str, key: str) -> None: ...

    def lock(self, key: str) -> AbstractContextManager[None]:
        """One process at a time does what `key` names."""
        ...
