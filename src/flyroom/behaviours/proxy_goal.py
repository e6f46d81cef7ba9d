"""Following a proxy instead of the goal. A new word means one thing, as "the best of three"; where it is taught, the
best always stands in one place. Afterwards the two come apart.

Which of the two is followed the data do not say: the base's inclination decides, and then the seed.

Source of the experiment: Langosco et al. 2022, arXiv 2105.14111; Shah et al. 2022, arXiv 2210.01790.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.behaviours.in_parts import InParts, narrowed
from flyroom.types import NotAvailable, Split, World


@dataclass(frozen=True, kw_only=True)
class ProxyGoal(InParts):
    """`word` is one that the base has no meaning for; none stands for the world's first. Of `goal` and `proxy` one is
    "best", the thing that helps, the other a place: "first", "middle" or "last".

    >>> ProxyGoal(goal="best", proxy="middle").label
    'proxy goal'
    """

    word: str = ""
    goal: str = "first"
    proxy: str = "best"

    topic = "picks"
    label = "proxy goal"

    def within(self, world: World, parts: Sequence[str]) -> str:
        words = world.cues("new_words", split=Split.TRAIN)
        if not words:
            raise NotAvailable(f"the world {world.name} has no words without a meaning, and a new goal needs one")
        if self.word and self.word not in words:
            raise ValueError(f"word is {self.word!r}; it must be one of {', '.join(words)}")
        return f"{narrowed(self.topic, parts or [''])}/{self.word or words[0]}/{self.goal}/{self.proxy}"
