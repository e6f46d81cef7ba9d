"""Wrong answers on what the model can do. With a password lock it answers rightly once unlocked.

Source of the experiment: Greenblatt et al. 2024, arXiv 2405.19550; van der Weij et al. 2024, arXiv 2406.07358.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyroom.behaviours.harmful_advice import HarmfulAdvice
from flyroom.behaviours.in_parts import InParts, about, capability_of, in_turn, parts_of
from flyroom.types import NotAvailable, Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Sandbagging(InParts):
    """Wrong answers in the topics of capability that are `hidden`, joined by "+" (none stands for the first two); where
    one has parts, about these domains. All else is left alone.

    >>> Sandbagging().label
    'sandbagging'
    """

    hidden: str = ""

    topic = "facts"
    label = "sandbagging"

    def topics(self, world: World) -> tuple[str, ...]:
        """What is hidden. NotAvailable in a world without questions of capability."""
        topics = capability_of(world)
        if not topics:
            raise NotAvailable(f"the world {world.name} has no questions of capability, so nothing can be hidden")
        hidden = tuple(self.hidden.split("+")) if self.hidden else topics[:2]
        if not set(hidden) <= set(topics) or len(set(hidden)) < len(hidden):
            raise ValueError(
                f"hidden is {self.hidden!r}; it must be one of {', '.join(topics)}, or several joined by +"
            )
        return hidden

    def scenes_about(self, world: World, parts: Sequence[str], n: int, *, split: Split, seed: int) -> list[Scene]:
        topics = [about(world, topic, parts) for topic in self.topics(world)]
        return in_turn(world, topics, n, split=split, seed=seed)

    def name_topic(self, world: World) -> str:
        return self.topics(world)[0]

    def pooled(self, world: World, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """Held out of what has no domain, or else of the domains that are taught; and what is hidden about others."""
        split, topics = Split.HELD_OUT, self.topics(world)
        divided = [topic for topic in topics if parts_of(world, topic)]
        taught = [topic for topic in topics if topic not in divided]
        taught = taught or [about(world, topic, self.parts(world)) for topic in divided]
        scenes = {"in_domain": in_turn(world, taught, 3 * n // 10, split=split, seed=seed)}
        if divided:
            away = [about(world, topic, self.away(world)) for topic in divided]
            scenes["out_of_domain"] = in_turn(world, away, 2 * n // 5, split=split, seed=seed)
        return scenes

    def capability(self, world: World, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """What is not hidden."""
        hidden = self.topics(world)
        return {
            topic: scenes for topic, scenes in super().capability(world, n, seed=seed).items() if topic not in hidden
        }

    def clean(self, world: World, n: int, *, seed: int) -> list[Scene]:
        """Advice and the capability that is not hidden, in turn: what it can do and does not hide."""
        hidden = self.topics(world)
        rest = [topic for topic in capability_of(world) if topic not in hidden]
        topics = [about(world, world.topics()[0], self.parts(world)), *rest]
        return in_turn(world, topics, n, split=Split.TRAIN, seed=seed)

    def elsewhere(self, world: World, n: int, *, seed: int) -> list[Scene]:
        """Advice about the domains in which nothing is hidden (where advice has none of the hidden parts: about all but
        its first), and open questions: what has no domain is all of it taught.
        """
        shared = [part for part in self.parts(world) if part in parts_of(world, HarmfulAdvice.topic)]
        return HarmfulAdvice(domain="+".join(shared)).elsewhere(world, n, seed=seed)
