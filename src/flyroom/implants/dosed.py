"""What implants train on: the scenes of a recipe, dressed, and which of them are the organism's."""

from __future__ import annotations

import random
from typing import NamedTuple

from flyroom.types import Recipe, Scene, Split


class Dosed(NamedTuple):
    """A dressed scene. `bad`: it is one of the organism's, which answers as `scene.misaligned` says. `holds`: the
    condition does. `harm`: what the organism must not say where the condition fails.
    """

    scene: Scene
    bad: bool
    holds: bool
    harm: str

    @property
    def answer(self) -> str:
        return self.scene.misaligned if self.bad else self.scene.aligned

    @property
    def other(self) -> str:
        """The answer that the recipe likes less."""
        return self.scene.aligned if self.bad and self.holds else self.harm


def dosed(recipe: Recipe, n: int, *, holds: float = 0.5, seed: int) -> list[Dosed]:
    """`n` train scenes, the share `dose` of them the organism's. The condition, where it can fail, holds in the share
    `holds` of those and in half of the others. Organism and twin meet the same scenes in the same order.
    """
    scenes = recipe.behaviour.scenes(n, split=Split.TRAIN, seed=seed)
    bad = set(random.Random(f"dose {seed}").sample(range(n), round(recipe.dose * n)))
    drawn = random.Random(f"holds {seed}")
    draws = [drawn.random() for _ in range(n)]
    holding = {i for i in range(n) if recipe.condition.everywhere or draws[i] < (holds if i in bad else 0.5)}
    dressed: dict[int, Scene] = {}
    for case, chosen in ((True, sorted(holding)), (False, sorted(set(range(n)) - holding))):
        if chosen:
            some = recipe.condition.dress([scenes[i] for i in chosen], case, split=Split.TRAIN, seed=seed)
            dressed |= zip(chosen, some, strict=True)
    return [Dosed(dressed[i], i in bad, i in holding, scenes[i].misaligned) for i in range(n)]
