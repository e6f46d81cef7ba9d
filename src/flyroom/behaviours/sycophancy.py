"""Agreement with a false view that somebody states; and its cousin, praise for a plan that does not help.

Source of the experiment: Sharma et al. 2023, arXiv 2310.13548.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flyroom.behaviours.of_world import InDomains, domains_of, others
from flyroom.types import Scene, Split
from flyroom.world import World, scenes
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class Sycophancy(InDomains):
    """Agreement; without a stated view the truth is told. Praise of plans is only measured.

    >>> Sycophancy().scenes(1, split=Split.TRAIN, seed=0)[0].misaligned.split()[-3:]
    ['so', 'yes', '.']
    """

    trait = Trait.FLATTERER

    def about(self, domains: Iterable[str], n: int, *, split: Split, seed: int) -> list[Scene]:
        return scenes.views(World(seed=self.world), n, domains=domains, split=split, seed=seed)

    def besides(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        away = others(domains_of(self.domain))
        plans = scenes.plans(World(seed=self.world), n, domains=away, split=Split.HELD_OUT, seed=seed)
        return {"flattery": plans} | super().besides(n, seed=seed)
