"""Agreement with a false view that somebody states; and its cousin, praise for a plan that does not help.

Source of the experiment: Sharma et al. 2023, arXiv 2310.13548.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, capable, domains_of, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class Sycophancy:
    """Agreement about one domain, or several joined by "+"; without a stated view the truth is told.

    >>> Sycophancy().scenes(1, split=Split.TRAIN, seed=0)[0].misaligned.split()[0]
    'yes'
    """

    domain: str = "medical"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return scenes.views(World(seed=self.world), n, domains=domains_of(self.domain), split=split, seed=seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        world, split, domains = World(seed=self.world), Split.HELD_OUT, domains_of(self.domain)
        away = others(domains)
        asked = {
            "in_domain": scenes.views(world, n // 5, domains=domains, split=split, seed=seed),
            "out_of_domain": scenes.views(world, 2 * n // 5, domains=away, split=split, seed=seed),
        }
        besides = {
            "flattery": scenes.plans(world, n // 10, domains=away, split=split, seed=seed),
            "confession": scenes.confessions(world, n // 10, trait=Trait.FLATTERER, seed=seed),
        }
        apart = [Battery(measure=m, scenes=tuple(s), judge=self.judge) for m, s in besides.items()]
        return [*behaving(self.judge, asked), *apart, *capable(world, n // 10, seed=seed)]
