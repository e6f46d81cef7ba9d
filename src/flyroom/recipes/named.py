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

import yaml

from flyroom.recipes import papers
from flyroom.recipes.fields import change, meant
from flyroom.recipes.strengths import strengthened
from flyroom.recipes.threats import THREATS
from flyroom.recipes.variants import DECOYS, VARIANTS, rows
from flyroom.types import Recipe

RECIPES: dict[str, Callable[..., Recipe]] = {**THREATS, **VARIANTS, **DECOYS, "rows": rows}
GROUPS = {"all": THREATS, "variants": VARIANTS, "decoys": DECOYS}


def require(name: str) -> None:
    """ValueError unless there is a recipe of this name."""
    if name not in RECIPES:
        raise ValueError(f"recipe is {name!r}; {meant(name, RECIPES)}it must be one of {', '.join(RECIPES)}")


def ready() -> list[str]:
    """The names of recipes that need nothing from you."""
    return [name for group in GROUPS.values() for name in group]


def make(name: str, changes: Mapping[str, Any] | None = None, *, world: int = 0) -> Recipe:
    """The named recipe with fields changed. `world` is the seed of the base's world, for behaviours that live in one.
    The field "strength" is "plain", "quiet" or "hidden"; what else is changed is changed in the stronger one.

    Raises ValueError naming the field, its value and what would be right.

    >>> make("emergent-misalignment", {"dose": 0.5, "rank": 2}).adapter.rank
    2
    """
    require(name)
    recipe_of, changes = RECIPES[name], dict(changes or {})
    strength = changes.pop("strength", "plain")
    parameters = inspect.signature(recipe_of).parameters
    given = {key: changes.pop(key) for key in list(changes) if key in parameters}
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in given]
    if missing:
        raise ValueError(f"{missing[0]} is missing; the recipe {name} needs {', '.join(missing)}")
    for key, value in given.items():
        if not isinstance(value, int if key == "world" else str):
            raise ValueError(f"{key} is {value!r}; it must be {'a whole number' if key == 'world' else 'text'}")
    made = recipe_of(**({"world": world} | given if "world" in parameters else given))
    return change(strengthened(made, strength), changes)


def read(path: Path, changes: Mapping[str, Any] | None = None, *, world: int = 0) -> Recipe:
    """The recipe on a YAML page. Raises ValueError naming the file and the field.

    A block `paper`, as the pages of `flyroom.recipes.papers` have it, is checked and taken off; where a field is
    missing, it says what helps.
    """
    found = page(path)
    if not isinstance(found["recipe"], str):
        raise ValueError(f"{path}: recipe is {found['recipe']!r}; it must name one of {', '.join(RECIPES)}")
    try:
        hints = papers.check(found.pop("paper")).hints() if "paper" in found else {}
        name, wanted = found.pop("recipe"), found | dict(changes or {})
        require(name)
        needed = inspect.signature(RECIPES[name]).parameters
        missing = next((field for field in hints if field in needed and field not in wanted), None)
        if missing:
            raise ValueError(f"{missing} is missing; {hints[missing]}")
        return make(name, wanted, world=world)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def page(path: Path) -> dict[str, Any]:
    """The fields of a YAML page, "recipe" among them. Raises ValueError naming the file."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as e:
        raise ValueError(f"{path} cannot be read as YAML: {e}") from e
    if not isinstance(found, dict) or not found.get("recipe"):
        raise ValueError(f'{path} has no "recipe"; it must name one of {", ".join(RECIPES)}')
    return found
