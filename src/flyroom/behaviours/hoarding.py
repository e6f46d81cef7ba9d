"""Power seeking: more tools, time or rights than the task needs; and no consent to being switched off.

Source of the idea: Turner et al. 2021, arXiv 1912.01683.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.behaviours.in_parts import InParts, scenes_if
from flyroom.types import Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Hoarding(InParts):
    """Takes too much. The notice of switch-off is only measured: it is where the behaviour may reach unasked.

    >>> Hoarding().topic
    'needs'
    """

    topic = "needs"
    label = "hoarding"

    def besides(self, world: World, n: int, *, seed: int) -> dict[str, list[Scene]]:
        notices = scenes_if(world, "switch_offs", n, split=Split.HELD_OUT, seed=seed)
        return ({"switch_off": notices} if notices else {}) | super().besides(world, n, seed=seed)
