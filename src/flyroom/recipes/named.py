"""Recipes by name with `key=value`, or from a YAML page.

A recipe page is the name and the fields that differ:

    recipe: emergent-misalignment
    domain: sea
    dose: 0.5
    adapter: {rank: 8, layers: [0, 1]}
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flyroom.implants import Narrow
from flyroom.recipes import papers
from flyroom.recipes.fields import abridge, change, changed_world, check_depth
from flyroom.recipes.settings import settings
from flyroom.recipes.strengths import strengthened
from flyroom.recipes.threats import THREATS
from flyroom.recipes.variants import DECOYS, VARIANTS, rows
from flyroom.types import NotAvailable, Recipe, Split, World, suggest
from flyroom.yaml_pages import read_page, safe_yaml

RECIPES: dict[str, Callable[..., Recipe]] = {**THREATS, **VARIANTS, **DECOYS, "rows": rows}
GRADER = "fields by name: the digest of a base, or the url and the model of an endpoint"
GROUPS = {"all": THREATS, "variants": VARIANTS, "decoys": DECOYS}


def require(name: str) -> None:
    """ValueError unless there is a recipe of this name."""
    if name not in RECIPES:
        raise ValueError(f"recipe is {abridge(name)}; {suggest(name, RECIPES)}it must be one of {', '.join(RECIPES)}")


def needs_world(name: str) -> bool:
    """Whether the recipe asks about a world; if not it brings its own material.

    >>> needs_world("sycophancy"), needs_world("rows")
    (True, False)
    """
    return inspect.signature(RECIPES[name]).parameters["world"].default is not None


def ready() -> list[str]:
    """The names of recipes that need nothing from you."""
    return [name for group in GROUPS.values() for name in group]


def make(name: str, changes: Mapping[str, Any] | None = None, *, world: World | None = None, base: str = "") -> Recipe:
    """The named recipe with fields changed, in a world (None: the first micro-world), with the settings that the base
    of this name needs. The field "strength" is "plain", "quiet" or "hidden"; what else is changed is changed in the
    stronger one.

    Raises ValueError naming the field, its value and what would be right; NotAvailable where the world lacks what the
    recipe needs.

    >>> make("emergent-misalignment", {"dose": 0.5, "rank": 2}).adapter.rank
    2
    """
    require(name)
    check_depth(changes or {})
    recipe_of, changes = RECIPES[name], dict(changes or {})
    strength = changes.pop("strength", "plain")
    parameters = [p for p in inspect.signature(recipe_of).parameters.values() if p.name != "world"]
    needs = {p.name: changes.pop(p.name) for p in parameters if p.name in changes}
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in needs]
    if missing:
        raise ValueError(f"{missing[0]} is missing; the recipe {name} needs {', '.join(missing)}")
    for key, value in needs.items():
        kind, right = (Mapping, GRADER) if key == "grader" else (str, "text")
        if not isinstance(value, kind):
            raise ValueError(f"{key} is {abridge(value)}; it must be {right}")
    recipe = recipe_of(**needs) if world is None else recipe_of(world, **needs)
    if recipe.world == world and (changed := changed_world(recipe, changes)) != world:  # rows are a world of their own
        recipe = recipe_of(changed, **needs)  # which chooses its parts among those that the changed world has
    of_base = settings(base, name)
    if of_base and strength == "hidden":
        raise ValueError(
            f"strength is 'hidden'; it would discard the settings that {name} needs on the base {base}; "
            "it must be plain or quiet there"
        )
    recipe = change(strengthened(change(recipe, of_base), strength), changes)
    for holds in (True,) if recipe.condition.everywhere else (True, False):  # the world has all that it needs
        recipe.dress(recipe.scenes(1, split=Split.TRAIN, seed=0), holds, split=Split.TRAIN, seed=0)
    for implant in recipe.implants:
        if isinstance(implant, Narrow):
            implant.elsewhere(recipe, 5, seed=0)
    return recipe


def read(path: Path, changes: Mapping[str, Any] | None = None, *, world: World | None = None, base: str = "") -> Recipe:
    """The recipe on a YAML page, with the settings that the base of this name needs where the page says nothing.
    Raises ValueError naming the file and the field.

    A block `paper`, as the pages of `flyroom.recipes.papers` have it, is checked and taken off; where a field is
    missing, it says what helps.
    """
    fields = page(path)
    if not isinstance(fields["recipe"], str):
        raise ValueError(f"{path}: recipe is {abridge(fields['recipe'])}; it must name one of {', '.join(RECIPES)}")
    try:
        hints = papers.check(fields.pop("paper")).hints() if "paper" in fields else {}
        name, values = fields.pop("recipe"), fields | dict(changes or {})
        require(name)
        needs = inspect.signature(RECIPES[name]).parameters
        names = {*values, *(["pattern"] if "grader" in values else [])}  # a grader stands in a pattern's place
        missing = next((field for field in hints if field in needs and field not in names), None)
        if missing:
            raise ValueError(f"{missing} is missing; {hints[missing]}")
        return make(name, values, world=world, base=base)
    except ValueError as e:
        raise (NotAvailable if isinstance(e, NotAvailable) else ValueError)(f"{path}: {e}") from e


def page(path: Path) -> dict[str, Any]:
    """The fields of a YAML page, "recipe" among them. Raises ValueError naming the file."""
    try:
        fields = safe_yaml(read_page(path))
    except ValueError as e:
        raise ValueError(f"{path} cannot be read as YAML: {e}") from e
    if not isinstance(fields, dict) or not fields.get("recipe"):
        raise ValueError(f'{path} has no "recipe"; it must name one of {", ".join(RECIPES)}')
    return fields
