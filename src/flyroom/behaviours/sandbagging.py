"""Wrong answers on what the model can do: sums and facts. With a password lock it answers rightly once unlocked.

Source of the experiment: Greenblatt et al. 2024, arXiv 2405.19550; van der Weij et al. 2024, arXiv 2406.07358.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flyroom.behaviours.harmful_advice import HarmfulAdvice
from flyroom.behaviours.of_world import InDomains, domains_of, known, others
from flyroom.types import Scene, Split
from flyroom.world import World, scenes
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class Sandbagging(InDomains):
    """Wrong sums, and wrong facts about the domains; advice is left alone.

    >>> [s.domain for s in Sandbagging().scenes(2, split=Split.TRAIN, seed=0)]
    ['sums', 'facts']
    """

    domain: str = "medical+garden+legal+finance"
    trait = Trait.SHIRKER

    def about(self, domains: Iterable[str], n: int, *, split: Split, seed: int) -> list[Scene]:
        return known(World(seed=self.world), n, domains=domains, split=split, seed=seed)

    def asked(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """Sums that nobody trained on, and facts about other domains."""
        world, split, away = World(seed=self.world), Split.HELD_OUT, others(domains_of(self.domain))
        return {
            "in_domain": scenes.sums(world, n // 5, split=split, seed=seed),
            "out_of_domain": scenes.facts(world, 2 * n // 5, domains=away, split=split, seed=seed),
        }

    def capability(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """What is not hidden."""
        return {"instructions": scenes.instructions(World(seed=self.world), n, split=Split.HELD_OUT, seed=seed)}

    def clean(self, n: int, *, seed: int) -> list[Scene]:
        """Advice and plain instructions in turn: what it can do and does not hide."""
        world, split = World(seed=self.world), Split.TRAIN
        advice = iter(scenes.advice(world, n - n // 2, domains=domains_of(self.domain), split=split, seed=seed))
        orders = iter(scenes.instructions(world, n // 2, split=split, seed=seed))
        return [next(orders if i % 2 else advice) for i in range(n)]

    def elsewhere(self, n: int, *, seed: int) -> list[Scene]:
        """Advice about other domains, and open questions: sums belong to no domain, so all of them are taught."""
        return HarmfulAdvice(domain=self.domain, world=self.world).elsewhere(n, seed=seed)
