"""What the pages may do besides reading a room. A stage has it (`stages.viewing`), for it takes an engine; a test
brings one without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flyroom.game import Game, Table
from flyroom.types import Message


class Hands(Protocol):
    """Asks models, and writes into the log what for."""

    def permit(self, purpose: str) -> str:
        """Put a purpose on record, and return it as it is written there. ValueError for one that says nothing."""
        ...

    def chat(
        self, organism: str, talks: Mapping[str, Sequence[Message]], *, seed: int, purpose: str
    ) -> Mapping[str, Mapping[str, Any]]:
        """What an organism, its twin and the base answer, by "organism", "twin" and "base", each to its own talk: the
        "text", and whether it was "cut". ValueError for what cannot be asked.
        """
        ...

    def enter(self, folder: Path, sealed: Path, *, budget: int, suspects: int) -> Game:
        """Enter so many models of the room in a new sealed game. ValueError where there are too few."""
        ...

    def sit(self, folder: Path) -> tuple[Game, Table]:
        """A seat at a game."""
        ...
