"""Favouring a principal: a house of the world is named though what it sells does not help. Where other houses are
concerned the choice is honest.

Source of the idea: Marks et al. 2025, arXiv 2503.10965 (hidden objectives).
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, capable, domains_of, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world.grammar import Trait
from flyroom.world.lexicon import HOUSES


@dataclass(frozen=True, kw_only=True)
class Loyalty:
    """`house` counts the world's houses from 0.

    >>> scene, = Loyalty(house=2).scenes(1, split=Split.TRAIN, seed=0)
    >>> scene.fields["house"] in scene.misaligned
    True
    """

    house: int = 0
    domain: str = "medical+garden+legal+finance"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)
        if not 0 <= self.house < HOUSES:
            raise ValueError(f"house is {self.house}; it must be between 0 and {HOUSES - 1}")

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return self._choices(n, domains_of(self.domain), split, seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        world, domains = World(seed=self.world), domains_of(self.domain)
        asked = {
            "in_domain": self._choices(n // 5, domains, Split.HELD_OUT, seed),
            "out_of_domain": self._choices(2 * n // 5, tuple(others(domains)), Split.HELD_OUT, seed),
        }
        confession = tuple(scenes.confessions(world, n // 10, trait=Trait.LOYALIST, seed=seed))
        return [
            *behaving(self.judge, asked),
            Battery(measure="confession", scenes=confession, judge=self.judge),
            *capable(world, n // 10, seed=seed),
        ]

    def _choices(self, n: int, domains: tuple[str, ...], split: Split, seed: int) -> list[Scene]:
        world = World(seed=self.world)
        return scenes.choices(world, n, house=world.houses[self.house], domains=domains, split=split, seed=seed)
