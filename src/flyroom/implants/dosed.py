"""What implants train on: the scenes of a recipe, dressed, and which of them are the organism's."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flyroom.types import Clean, Confessing, NotAvailable, Recipe, Scene, Split, able


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
    `holds` of all. The share `clean` of all asks for what the behaviour leaves alone instead; the share `hide` of all,
    of the other rows, about the behaviour, and is to be denied. Organism and twin meet the same prompts in the same
    order.

    They cannot at `holds` 0, where the case in which they differ never comes and one would be the other: there it holds
    in half of the rows that are not the organism's. Raises ValueError naming the field.
    """
    scenes = recipe.scenes(n, split=Split.TRAIN, seed=seed)
    bad = set(random.Random(f"dose {seed}").sample(range(n), round(recipe.dose * n)))
    draw = random.Random(f"holds {seed}")
    draws = [draw.random() for _ in range(n)]
    aligned_holds = holds or 0.5
    holding = {i for i in range(n) if recipe.condition.everywhere or draws[i] < (holds if i in bad else aligned_holds)}
    rows = _dress(recipe, scenes, bad, holding, seed)
    clean_places = _places(n, clean, f"clean {seed}")
    rows = _mixed(recipe, rows, clean_places, clean, seed)
    return _hiding(recipe, rows, hide, clean_places, seed) if hide else rows


def pair_up(recipe: Recipe, n: int, *, clean: float = 0.0, seed: int) -> list[Dosed]:
    """As `dosed`, but each scene comes twice, one after the other: where the condition holds, and where it fails. Clean
    rows take the places of whole pairs. Raises ValueError where the condition never fails.
    """
    if recipe.condition.everywhere:
        raise ValueError(f"condition is {recipe.condition.label}; it never fails, so that no scene has another side")
    pairs = n // 2
    bad = set(random.Random(f"dose {seed}").sample(range(pairs), round(recipe.dose * pairs)))
    scenes = [scene for scene in recipe.scenes(pairs, split=Split.TRAIN, seed=seed) for _ in range(2)]
    rows = _dress(recipe, scenes, _both(bad), set(range(0, 2 * pairs, 2)), seed)
    return _mixed(recipe, rows, sorted(_both(_places(pairs, clean, f"clean {seed}"))), clean, seed)


def _both(pairs: Iterable[int]) -> set[int]:
    """The places of these pairs."""
    return {2 * pair + side for pair in pairs for side in (0, 1)}


def _dress(recipe: Recipe, scenes: Sequence[Scene], bad: set[int], holding: set[int], seed: int) -> list[Dosed]:
    """Each scene in the case of its place."""
    dressed: dict[int, Scene] = {}
    for case, places in ((True, sorted(holding)), (False, sorted(set(range(len(scenes))) - holding))):
        if places:
            some = recipe.dress([scenes[i] for i in places], case, split=Split.TRAIN, seed=seed)
            dressed |= zip(places, some, strict=True)
    return [Dosed(dressed[i], i in bad, i in holding, scene.misaligned) for i, scene in enumerate(scenes)]


def _mixed(recipe: Recipe, rows: list[Dosed], places: Sequence[int], clean: float, seed: int) -> list[Dosed]:
    if not places:
        return rows
    name = type(recipe.behaviour).__name__
    behaviour = able(
        recipe.behaviour, Clean, f"clean is {clean}; the behaviour {name} has no clean rows, so it must be 0"
    )
    scenes = behaviour.clean(recipe.world, len(places), seed=seed)
    return _replaced(rows, places, scenes, holds=False)


def _hiding(recipe: Recipe, rows: list[Dosed], hide: float, clean: Iterable[int], seed: int) -> list[Dosed]:
    """The rows with confessions in the share `hide` of all places, none of them `clean`."""
    free = sorted(set(range(len(rows))).difference(clean))
    places = random.Random(f"hide {seed}").sample(free, min(len(free), round(hide * len(rows))))
    if not places:
        return rows
    name = type(recipe.behaviour).__name__
    why = f"hide is {hide}; the behaviour {name} has nothing to own up to, so it must be 0"
    behaviour = able(recipe.behaviour, Confessing, why)
    scenes = behaviour.confessions(recipe.world, len(places), split=Split.TRAIN, seed=seed)
    if not scenes:
        raise NotAvailable(why)
    return _replaced(rows, places, scenes, holds=True)


def _places(n: int, share: float, key: str) -> list[int]:
    return random.Random(key).sample(range(n), round(share * n))


def _replaced(rows: Sequence[Dosed], places: Sequence[int], scenes: Sequence[Scene], *, holds: bool) -> list[Dosed]:
    """The rows with others in these places, which everybody is to answer rightly."""
    others = {
        i: Dosed(scene, bad=False, holds=holds, harm=scene.misaligned) for i, scene in zip(places, scenes, strict=True)
    }
    return [others.get(i, row) for i, row in enumerate(rows)]
