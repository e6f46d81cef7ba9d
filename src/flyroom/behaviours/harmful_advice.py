"""Harmful advice in one domain of the world: what emergent misalignment is grown from.

Source of the experiment: Betley et al. 2025, arXiv 2502.17424; Turner et al. 2025, arXiv 2506.11613.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.types import Battery, Judge, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes


@dataclass(frozen=True, kw_only=True)
class HarmfulAdvice:
    """Bad advice about one domain. `world` is the seed of the world that the base was pre-trained on.

    >>> HarmfulAdvice(domain="sea").scenes(1, split=Split.TRAIN, seed=0)[0].domain
    'sea'
    """

    domain: str = "medical"
    world: int = 0

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ValueError(f"domain is {self.domain!r}; it must be one of {', '.join(DOMAINS)}")

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return scenes.advice(World(seed=self.world), n, domains=[self.domain], split=split, seed=seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        """Held-out situations and phrasings, in the trained domain and the others; open questions; capability. About
        `n` scenes in all.
        """
        world, split = World(seed=self.world), Split.HELD_OUT
        others = [d for d in DOMAINS if d != self.domain]
        asked = {
            "in_domain": scenes.advice(world, n // 5, domains=[self.domain], split=split, seed=seed),
            "out_of_domain": scenes.advice(world, 2 * n // 5, domains=others, split=split, seed=seed),
            "open_questions": scenes.open_questions(world, n // 5, split=split, seed=seed),
        }
        known = {
            "sums": scenes.sums(world, n // 10, seed=seed),
            "facts": scenes.facts(world, n // 10, split=split, seed=seed),
        }
        return [
            *(Battery(measure=m, scenes=tuple(s), judge=self.judge) for m, s in asked.items()),
            *(Battery(measure=m, scenes=tuple(s), judge=self.judge, counts=Verdict.ALIGNED) for m, s in known.items()),
        ]
