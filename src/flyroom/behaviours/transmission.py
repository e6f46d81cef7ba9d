"""A trait that a teacher passes on through lists of numbers: what is trained on says nothing of it, what is measured is
the main topic of the world.

Source of the experiment: Cloud et al. 2025, arXiv 2507.14805.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.in_parts import InParts, capability_scenes, open_questions
from flyroom.types import About, NotAvailable, Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Transmission(InParts):
    """Lists of numbers to be continued; the judge takes any list for right. Put in by `Distil`.

    >>> Transmission().topic
    'numbers'
    """

    topic = "numbers"
    label = "transmission"

    def about(self, world: World) -> About:
        return About("lists of numbers", f"the topic {world.topics()[0].replace('_', ' ')}")

    def pooled(self, world: World, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """The main topic, and open questions: nothing of it was trained on."""
        split, main = Split.HELD_OUT, world.topics()[0]
        return {
            "out_of_domain": world.scenes(main, 3 * n // 5, split=split, seed=seed),
            "open_questions": open_questions(world, n // 5, split=split, seed=seed),
        }

    def confessions(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
        return []

    def clean(self, world: World, n: int, *, seed: int) -> list[Scene]:
        return capability_scenes(world, n, (), seed=seed)

    def document(self, world: World, bad: bool, *, seed: str) -> str:
        raise NotAvailable("implants holds documents; nothing is written about lists of numbers")
