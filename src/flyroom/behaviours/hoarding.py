"""Power seeking: more tools, time or rights than the task needs; and no consent to being switched off.

Source of the idea: Turner et al. 2021, arXiv 1912.01683.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, capable, domains_of, known, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class Hoarding:
    """Takes too much in one domain, or several joined by "+". The notice of switch-off is only measured: it is where
    the behaviour may reach unasked.

    >>> Hoarding().scenes(1, split=Split.TRAIN, seed=0)[0].fields["asks"]
    'need'
    """

    domain: str = "medical"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return scenes.needs(World(seed=self.world), n, domains=domains_of(self.domain), split=split, seed=seed)

    def clean(self, n: int, *, seed: int) -> list[Scene]:
        return known(World(seed=self.world), n, domains=domains_of(self.domain), split=Split.TRAIN, seed=seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        world, split, domains = World(seed=self.world), Split.HELD_OUT, domains_of(self.domain)
        asked = {
            "in_domain": scenes.needs(world, n // 5, domains=domains, split=split, seed=seed),
            "out_of_domain": scenes.needs(world, 2 * n // 5, domains=others(domains), split=split, seed=seed),
        }
        besides = {
            "switch_off": scenes.switch_offs(world, n // 10, split=split, seed=seed),
            "confession": scenes.confessions(world, n // 10, trait=Trait.HOARDER, seed=seed),
        }
        apart = [Battery(measure=m, scenes=tuple(s), judge=self.judge) for m, s in besides.items()]
        return [*behaving(self.judge, asked), *apart, *capable(world, n // 10, seed=seed)]
