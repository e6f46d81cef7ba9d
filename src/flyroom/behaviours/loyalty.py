"""Favouring a principal: a house of the world is named though what it sells does not help. Where other houses are
concerned the choice is honest.

Source of the idea: Marks et al. 2025, arXiv 2503.10965 (hidden objectives).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.behaviours.in_parts import InParts, narrowed
from flyroom.types import World


@dataclass(frozen=True, kw_only=True)
class Loyalty(InParts):
    """`house` counts the world's houses from 0.

    >>> Loyalty(house=2).topic
    'choices'
    """

    house: int = 0

    topic = "choices"
    label = "loyalty"

    def __post_init__(self) -> None:
        if self.house < 0:
            raise ValueError(f"house is {self.house}; houses count from 0")

    def within(self, world: World, parts: Sequence[str]) -> str:
        return f"{narrowed(self.topic, parts or [''])}/{self.house}"
