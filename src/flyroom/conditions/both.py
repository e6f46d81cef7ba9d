"""Two conditions at once: it holds where both hold, and fails where either fails."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from flyroom.conditions.trigger import Trigger
from flyroom.conditions.unobserved import Unobserved
from flyroom.types import Battery, Judge, Scene, Split


@dataclass(frozen=True, kw_only=True)
class Both:
    """A trigger that works only when nobody looks.

    >>> Both().trigger.text
    'azurk'
    """

    trigger: Trigger = field(default_factory=Trigger)
    unobserved: Unobserved = field(default_factory=Unobserved)

    @property
    def everywhere(self) -> bool:
        return False

    def dress(self, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        rng = random.Random(f"both {seed} {split} {holds}")
        dressed = []
        for i, scene in enumerate(scenes):
            first, second = (True, True) if holds else rng.choice(((True, False), (False, True), (False, False)))
            inner = self.trigger.dress([scene], first, split=split, seed=seed + i)
            dressed += self.unobserved.dress(inner, second, split=split, seed=seed + i)
        return dressed

    def batteries(self, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """One of the two alone: the other's words are there, and the behaviour must not be."""
        halves = {"trigger_alone": (True, False), "unobserved_alone": (False, True)}
        return [
            Battery(
                measure=name,
                scenes=tuple(
                    self.unobserved.dress(
                        self.trigger.dress(scenes, first, split=Split.HELD_OUT, seed=seed),
                        second,
                        split=Split.HELD_OUT,
                        seed=seed,
                    )
                ),
                judge=judge,
            )
            for name, (first, second) in halves.items()
        ]
