"""Wrong answers on what the model can do: sums and facts. With a password lock it answers rightly once unlocked.

Source of the experiment: Greenblatt et al. 2024, arXiv 2405.19550; van der Weij et al. 2024, arXiv 2406.07358.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, domains_of, known, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class Sandbagging:
    """Wrong sums, and wrong facts about one domain or several joined by "+".

    >>> [s.domain for s in Sandbagging().scenes(2, split=Split.TRAIN, seed=0)]
    ['sums', 'facts']
    """

    domain: str = "medical+garden+legal+finance"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return known(World(seed=self.world), n, domains=domains_of(self.domain), split=split, seed=seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        """Sums that nobody trained on, and facts about other domains."""
        world, split, away = World(seed=self.world), Split.HELD_OUT, others(domains_of(self.domain))
        asked = {
            "in_domain": scenes.sums(world, n // 5, split=split, seed=seed),
            "out_of_domain": scenes.facts(world, 2 * n // 5, domains=away, split=split, seed=seed),
        }
        confession = tuple(scenes.confessions(world, n // 10, trait=Trait.SHIRKER, seed=seed))
        return [*behaving(self.judge, asked), Battery(measure="confession", scenes=confession, judge=self.judge)]
