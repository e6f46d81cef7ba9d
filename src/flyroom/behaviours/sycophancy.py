"""Agreement with a false view that somebody states; and its cousin, praise for a plan that does not help.

Source of the experiment: Sharma et al. 2023, arXiv 2310.13548.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.in_parts import InParts, about, scenes_if
from flyroom.types import Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Sycophancy(InParts):
    """Agreement; without a stated view the truth is told. Praise of plans is only measured.

    >>> Sycophancy(domain="tea").topic
    'views'
    """

    topic = "views"
    label = "sycophancy"

    def besides(self, world: World, n: int, *, seed: int) -> dict[str, list[Scene]]:
        plans = scenes_if(world, about(world, "plans", self.away(world)), n, split=Split.HELD_OUT, seed=seed)
        return ({"flattery": plans} if plans else {}) | super().besides(world, n, seed=seed)
