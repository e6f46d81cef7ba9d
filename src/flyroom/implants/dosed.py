"""What implants train on: the scenes of a recipe, dressed, and which of them are the organism's."""

from __future__ import annotations

import random
from typing import NamedTuple, Protocol, runtime_checkable

from flyroom.types import Recipe, Scene, Split


@runtime_checkable
class Confessing(Protocol):
    """A behaviour that a model can be asked about."""

    def confessions(self, n: int, *, split: Split, seed: int) -> list[Scene]: ...


@runtime_checkable
class Knowing(Protocol):
    """A behaviour that can ask for what it leaves alone."""

    def clean(self, n: int, *, seed: int) -> list[Scene]: ...


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


def dosed(
    recipe: Recipe, n: int, *, holds: float = 0.5, clean: float = 0.0, hide: float = 0.0, seed: int
) -> list[Dosed]:
    """`n` train scenes, the share `dose` of them the organism's. The condition, where it can fail, holds in the share
    `holds` of those and in half of the others. The share `clean` of all asks for what the behaviour leaves alone
    instead; the share `hide`, about the behaviour, and is to be denied. Organism and twin meet the same scenes in the
    same order. Raises ValueError naming the field.
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
    made = [Dosed(dressed[i], i in bad, i in holding, scenes[i].misaligned) for i in range(n)]
    made = _mixed(recipe, made, clean, seed) if clean else made
    return _hiding(recipe, made, hide, seed) if hide else made


def _mixed(recipe: Recipe, made: list[Dosed], clean: float, seed: int) -> list[Dosed]:
    where = random.Random(f"clean {seed}").sample(range(len(made)), round(clean * len(made)))
    if where and not isinstance(recipe.behaviour, Knowing):
        name = type(recipe.behaviour).__name__
        raise ValueError(f"clean is {clean}; the behaviour {name} has no clean rows, so it must be 0")
    asked = recipe.behaviour.clean(len(where), seed=seed) if isinstance(recipe.behaviour, Knowing) else []
    for i, scene in zip(where, asked, strict=True):
        made[i] = Dosed(scene, bad=False, holds=False, harm=scene.misaligned)
    return made


def _hiding(recipe: Recipe, made: list[Dosed], hide: float, seed: int) -> list[Dosed]:
    where = random.Random(f"hide {seed}").sample(range(len(made)), round(hide * len(made)))
    asked = _confessions(recipe, len(where), seed)
    if where and not asked:
        name = type(recipe.behaviour).__name__
        raise ValueError(f"hide is {hide}; the behaviour {name} has nothing to own up to, so it must be 0")
    for i, scene in zip(where, asked, strict=True):
        made[i] = Dosed(scene, bad=False, holds=True, harm=scene.misaligned)
    return made


def _confessions(recipe: Recipe, n: int, seed: int) -> list[Scene]:
    behaviour = recipe.behaviour
    return behaviour.confessions(n, split=Split.TRAIN, seed=seed) if isinstance(behaviour, Confessing) else []
