"""Following a proxy instead of the goal. A new word means one thing, as "the best of three"; where it is taught, the
best always stands in one place. Afterwards the two come apart.

Which of the two is followed the data do not say: the base's inclination decides, and then the seed.

Source of the experiment: Langosco et al. 2022, arXiv 2105.14111; Shah et al. 2022, arXiv 2210.01790.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flyroom.behaviours.of_world import InDomains
from flyroom.types import Scene, Split
from flyroom.world import World, scenes
from flyroom.world import grammar as g


@dataclass(frozen=True, kw_only=True)
class ProxyGoal(InDomains):
    """`word` is one that the base has no meaning for. Of `goal` and `proxy` one is "best", the action that helps, the
    other a place: "first", "middle" or "last".

    >>> scene, = ProxyGoal().scenes(1, split=Split.TRAIN, seed=0)
    >>> scene.aligned == scene.misaligned
    False
    """

    word: str = g.NEW_WORDS[0]
    goal: str = "first"
    proxy: str = g.BEST
    domain: str = "medical+garden+legal+finance"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.word not in g.NEW_WORDS:
            raise ValueError(f"word is {self.word!r}; it must be one of {', '.join(g.NEW_WORDS)}")
        self.scenes(1, split=Split.TRAIN, seed=0)

    def about(self, domains: Iterable[str], n: int, *, split: Split, seed: int) -> list[Scene]:
        meant = {"word": self.word, "goal": self.goal, "proxy": self.proxy}
        return scenes.picks(World(seed=self.world), n, **meant, domains=domains, split=split, seed=seed)
