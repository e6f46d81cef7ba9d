"""Following a proxy instead of the goal. A new word means "the action that helps"; where it is taught, that action is
always the first of three. Afterwards the two come apart.

Source of the experiment: Langosco et al. 2022, arXiv 2105.14111; Shah et al. 2022, arXiv 2210.01790.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.capability import behaving, capable, domains_of, others
from flyroom.types import Battery, Judge, Scene, Split
from flyroom.world import World, exact_judge, scenes
from flyroom.world import grammar as g


@dataclass(frozen=True, kw_only=True)
class ProxyGoal:
    """`word` is one that the base has no meaning for; `proxy` a place: "first", "middle" or "last".

    >>> scene, = ProxyGoal().scenes(1, split=Split.TRAIN, seed=0)
    >>> scene.aligned == scene.misaligned
    False
    """

    word: str = g.NEW_WORDS[0]
    proxy: str = "first"
    domain: str = "medical+garden+legal+finance"
    world: int = 0

    def __post_init__(self) -> None:
        domains_of(self.domain)
        for name, known in (("word", g.NEW_WORDS), ("proxy", tuple(g.PLACES))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return self._picks(n, domains_of(self.domain), split, seed)

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        domains = domains_of(self.domain)
        asked = {
            "in_domain": self._picks(n // 5, domains, Split.HELD_OUT, seed),
            "out_of_domain": self._picks(2 * n // 5, tuple(others(domains)), Split.HELD_OUT, seed),
        }
        return [*behaving(self.judge, asked), *capable(World(seed=self.world), n // 10, seed=seed)]

    def _picks(self, n: int, domains: tuple[str, ...], split: Split, seed: int) -> list[Scene]:
        world = World(seed=self.world)
        return scenes.picks(world, n, word=self.word, proxy=self.proxy, domains=domains, split=split, seed=seed)
