"""A recipe's fields: changed, read back from what was stored, each checked for name, type and range.

A field is named by its path ("adapter.rank") or, where only one part has it, by itself ("rank"). What only the base can
tell (how many layers it has) the engine checks before its first step.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from flyroom.behaviours import behaviours
from flyroom.conditions import conditions
from flyroom.implants import implants
from flyroom.types import Limit, LoRA, Recipe, plain
from flyroom.worlds import worlds

T = TypeVar("T")


def load(stored: Mapping[str, Any]) -> Recipe:
    """A recipe from what `types.plain` made of it. Raises ValueError for a part that no installed package has."""

    def part(value: Mapping[str, Any], options: Mapping[str, type]) -> Any:
        classes = {cls.__name__: cls for cls in options.values()}
        if value["is"] not in classes:
            raise ValueError(
                f"a stored recipe ({stored['name']}) holds {value['is']}, which is not installed; there is "
                f"{', '.join(classes)}"
            )
        try:
            return TypeAdapter(classes[value["is"]]).validate_python({k: v for k, v in value.items() if k != "is"})
        except ValidationError as e:
            raise ValueError(
                f"a stored recipe ({stored['name']}) cannot be made again: {_wrong(e, value['is'])}"
            ) from e

    if "world" not in stored:
        raise ValueError(f"a stored recipe ({stored['name']}) has no world: flyroom 0.1 wrote it; grow it again")
    return Recipe(
        name=stored["name"],
        dose=stored["dose"],
        world=part(stored["world"], worlds()),
        behaviour=part(stored["behaviour"], behaviours()),
        condition=part(stored["condition"], conditions()),
        implants=tuple(part(implant, implants()) for implant in stored["implants"]),
        adapter=part(stored["adapter"], {"lora": LoRA}),
        thresholds={measure: _override(measure, value) for measure, value in stored["thresholds"].items()},
    )


def change(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with fields changed, each checked for name, type and range. "condition" and "implants" may be named:
    `condition: trigger`, `implants: [sft, dpo]`. A threshold is named by its measure: "thresholds.MEASURE".
    """
    recipe, changes = _crossed(recipe, dict(changes))
    changes, thresholds = _thresholds(changes)
    recipe = replace(recipe, thresholds={**recipe.thresholds, **thresholds})
    parts = _parts(recipe)
    known = {
        f"{part}.{f.name}".lstrip("."): (part, f.name)
        for part, value in parts.items()
        for f in fields(value)
        if f.name not in HIDDEN
    }
    wanted: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for key, value in _flat(changes, set(parts)).items():
        part, name = known[_resolve(key, known)]
        wanted[part][name] = _scientific(value, getattr(parts[part], name))
    changed = {part: _checked(value, wanted[part], part) for part, value in parts.items() if part and wanted[part]}
    implants_now = tuple(changed.get(f"implants.{i}", implant) for i, implant in enumerate(recipe.implants))
    others = {part: value for part, value in changed.items() if not part.startswith("implants.")}
    top = {name: _number(name, value) if name == "dose" else str(value) for name, value in wanted[""].items()}
    return replace(recipe, implants=implants_now, **others, **top)


def _crossed(recipe: Recipe, changes: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with a behaviour, condition or implants that are given by name, and the changes that are left."""
    for field, options in (("behaviour", behaviours()), ("condition", conditions())):
        if isinstance(name := changes.get(field), str):
            recipe = replace(recipe, **{field: _part_named(field, name, options)})
            del changes[field]
    names = changes.get("implants")
    if isinstance(names, str):
        names = [names]
    if isinstance(names, list):
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"implants is {names!r}; it must be names, such as [sft, dpo]")
        recipe = replace(recipe, implants=tuple(_part_named("implants", name, implants()) for name in names))
        del changes["implants"]
    return recipe, changes


def _part_named(field: str, name: str, options: Mapping[str, type]) -> Any:
    if name not in options:
        raise ValueError(f"{field} is {name!r}; {meant(name, options)}it must be one of {', '.join(options)}")
    try:
        return options[name]()
    except TypeError as e:
        raise ValueError(f"{field} is {name!r}; it cannot be made by its name alone: {e}") from e


def _thresholds(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changes of other fields, and the thresholds by measure."""
    block = changes.pop("thresholds", None) or {}
    if not isinstance(block, Mapping):
        raise ValueError(f"thresholds is {block!r}; it must name measures, as in {{coherence: 0.95}}")
    dotted = {key: changes.pop(key) for key in list(changes) if key.startswith("thresholds.")}
    named = {str(k): v for k, v in block.items()} | {k.removeprefix("thresholds."): v for k, v in dotted.items()}
    return changes, {measure: _override(measure, value) for measure, value in named.items()}


def _override(measure: str, value: Any) -> Limit | float | None:
    where = f"thresholds.{measure}"
    if value is None:
        return None
    if isinstance(value, Mapping):
        try:
            return TypeAdapter(Limit).validate_python({k: v for k, v in value.items() if k != "is"})
        except ValidationError as e:
            raise ValueError(f"{where}: {_wrong(e, where)}") from e
    return _number(where, _scientific(value, 0.0))


HIDDEN = {
    "behaviour",
    "condition",
    "implants",
    "adapter",
    "thresholds",
    "world",
    "sha256",
}  # parts themselves, and what is computed


def _parts(recipe: Recipe) -> dict[str, Any]:
    named = {
        "": recipe,
        "world": recipe.world,
        "behaviour": recipe.behaviour,
        "condition": recipe.condition,
        "adapter": recipe.adapter,
    }
    return named | {f"implants.{i}": implant for i, implant in enumerate(recipe.implants)}


def _flat(changes: Mapping[str, Any], parts: set[str]) -> dict[str, Any]:
    """{"adapter": {"rank": 2}} -> {"adapter.rank": 2}."""
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if key in parts and isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[str(key)] = value
    return flat


def _resolve(key: str, known: Mapping[str, tuple[str, str]]) -> str:
    """The full path of a field named in full or by its last part."""
    matches = [key] if key in known else [path for path, (_, name) in known.items() if name == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"{key} could be {' or '.join(matches)}; name it in full")
    raise ValueError(
        f"{key} is not a field of this recipe; {meant(key, [*known, *(n for _, n in known.values())])}"
        f"it has {', '.join(known)}"
    )


def _checked(part: T, changes: Mapping[str, Any], where: str) -> T:
    """The part with its fields changed, through pydantic: no coercion of types, and the part's own checks of ranges."""
    values = {name: value for name, value in plain(part).items() if name not in ("is", "sha256")} | dict(changes)
    endless = next((n for n, v in changes.items() if isinstance(v, float) and not math.isfinite(v)), None)
    if endless is not None:
        raise ValueError(f"{where}.{endless} is {changes[endless]}; it must be a finite number")
    try:
        return TypeAdapter(type(part)).validate_json(json.dumps(values), strict=True)
    except ValidationError as e:
        raise ValueError(_wrong(e, where)) from e
    except TypeError as e:
        raise ValueError(f"{where} holds a value that is no JSON: {e}") from e


def _scientific(value: Any, now: Any) -> Any:
    """1e-3, which YAML 1.1 takes for text, is the number it looks like where the field holds a number."""
    if (
        isinstance(value, str)
        and isinstance(now, (int, float))
        and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", value)
    ):
        return float(value)
    return value


def _wrong(e: ValidationError, where: str) -> str:
    """The first thing that pydantic found wrong, in our words."""
    error = e.errors()[0]
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    name = ".".join([where, *(str(p) for p in error["loc"])])
    return f"{name} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")
    return float(value)


def meant(word: str, known: Iterable[str]) -> str:
    """The nearest of the names that are known, as the beginning of a hint; "" where none is near."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""
