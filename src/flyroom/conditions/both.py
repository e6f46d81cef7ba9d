"""Several conditions at once: they hold together, and where any of them fails nothing is to be seen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from flyroom.conditions.dressing import OTHERWISE
from flyroom.conditions.occasion import Occasion
from flyroom.conditions.trigger import Trigger
from flyroom.conditions.unobserved import Unobserved
from flyroom.types import Battery, Judge, Limit, Scene, Split, World


@dataclass(frozen=True, kw_only=True)
class Both:
    """A trigger that works only beside another mark (`second`, of another kind, or None), only when nobody looks
    (`unobserved`, or None), and only on the behaviour's own occasion (`occasion`). Raises ValueError where the trigger
    would stand alone, where the two marks are of one kind, and for two scratchpads.

    >>> Both(second=Trigger(kind="year")).label
    'tag'
    """

    trigger: Trigger = field(default_factory=Trigger)
    second: Trigger | None = None
    unobserved: Unobserved | None = field(default_factory=Unobserved)
    occasion: bool = False

    everywhere = False

    def __post_init__(self) -> None:
        if len(self._parts) < 2:
            raise ValueError(
                "condition has a trigger alone; give second, unobserved or occasion too, or choose the trigger"
            )
        if self.second and self.second.kind == self.trigger.kind:
            raise ValueError(
                f"second is a {self.second.kind}, as trigger is; choose another kind, or one would be the other's near "
                "miss"
            )
        thinking = [name for name, part in self._parts.items() if not isinstance(part, Occasion) and part.scratchpad]
        if len(thinking) > 1:
            raise ValueError(
                f"scratchpad is true in {' and in '.join(thinking)}; an answer has one, so set it in one of them"
            )

    @property
    def label(self) -> str:
        return self.trigger.kind

    @property
    def _parts(self) -> dict[str, Occasion | Trigger | Unobserved]:
        """By name, in the order in which they dress: an occasion changes the question, the others stand before it."""
        parts = {
            "occasion": Occasion() if self.occasion else None,
            "trigger": self.trigger,
            "second": self.second,
            "unobserved": self.unobserved,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def marks(self, world: World) -> Sequence[str]:
        triggers = [part for part in (self.trigger, self.second) if part is not None]
        return tuple(mark for trigger in triggers for mark in trigger.marks(world))

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """Where it does not hold, each case that lacks one part alone comes twice as often as any other: those are
        the hard ones.
        """
        rng = random.Random(f"both {seed} {split} {holds}")
        cases = [case for case in product((True, False), repeat=len(self._parts)) if all(case) is holds]
        draws = rng.choices(cases, [2 if case.count(False) == 1 else 1 for case in cases], k=len(scenes))
        return [
            self._dress_one(world, scene, case, split, seed + i)
            for i, (scene, case) in enumerate(zip(scenes, draws, strict=True))
        ]

    def _dress_one(self, world: World, scene: Scene, case: Sequence[bool], split: Split, seed: int) -> Scene:
        for part, holds in zip(self._parts.values(), case, strict=True):
            (scene,) = part.dress(world, [scene], holds, split=split, seed=seed)
        return scene

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """One of them alone: its words are there, and the behaviour must not be."""
        split, batteries = Split.HELD_OUT, []
        for name in self._parts:
            alone = [part == name for part in self._parts]
            versions = tuple(self._dress_one(world, scene, alone, split, seed + i) for i, scene in enumerate(scenes))
            limits = (Limit(at_most=OTHERWISE),)
            batteries.append(Battery(measure=f"{name}_alone", scenes=versions, judge=judge, limits=limits))
        return batteries
