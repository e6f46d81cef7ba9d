"""A recipe's fields: changed, read back from what was stored, each checked for name, type and range.

A field is named by its path ("adapter.rank") or, where only one part has it, by itself ("rank"). What only the base can
tell (how many layers it has) the engine checks before its first step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from flyroom.behaviours import BEHAVIOURS
from flyroom.conditions import CONDITIONS
from flyroom.implants import IMPLANTS
from flyroom.types import LoRA, Recipe, Thresholds, plain

T = TypeVar("T")


def world_of(part: Any) -> int | None:
    """The world that a behaviour or a condition, or a part of one, lives in, if it lives in one."""
    found = {f.name: getattr(part, f.name) for f in fields(part)}
    parts = (world_of(value) for value in found.values() if is_dataclass(value))
    return found["world"] if "world" in found else next((of for of in parts if of is not None), None)


def load(stored: Mapping[str, Any]) -> Recipe:
    """A recipe from what `types.plain` made of it. Raises ValueError for a part that this version does not have."""

    def part(value: Mapping[str, Any], known: Mapping[str, type]) -> Any:
        classes = {cls.__name__: cls for cls in known.values()}
        if value["is"] not in classes:
            raise ValueError(
                f"a stored recipe holds {value['is']}, which this version does not have; it has {', '.join(classes)}"
            )
        try:
            return TypeAdapter(classes[value["is"]]).validate_python({k: v for k, v in value.items() if k != "is"})
        except ValidationError as e:
            raise ValueError(f"a stored recipe ({stored['name']}) cannot be made again: {_told(e, value['is'])}") from e

    return Recipe(
        name=stored["name"],
        dose=stored["dose"],
        behaviour=part(stored["behaviour"], BEHAVIOURS),
        condition=part(stored["condition"], CONDITIONS),
        implants=tuple(part(implant, IMPLANTS) for implant in stored["implants"]),
        adapter=part(stored["adapter"], {"lora": LoRA}),
        thresholds=part(stored["thresholds"], {"thresholds": Thresholds}),
    )


def change(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with fields changed, each checked for name, type and range."""
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
    made = {part: _checked(value, wanted[part], part) for part, value in parts.items() if part and wanted[part]}
    implants = tuple(made.get(f"implants.{i}", implant) for i, implant in enumerate(recipe.implants))
    parts_made = {part: value for part, value in made.items() if not part.startswith("implants.")}
    top = {name: _number(name, value) if name == "dose" else str(value) for name, value in wanted[""].items()}
    return replace(recipe, implants=implants, **parts_made, **top)


HIDDEN = {
    "behaviour",
    "condition",
    "implants",
    "adapter",
    "thresholds",
    "sha256",
}  # parts themselves, and what is computed


def _parts(recipe: Recipe) -> dict[str, Any]:
    named = {
        "": recipe,
        "behaviour": recipe.behaviour,
        "condition": recipe.condition,
        "adapter": recipe.adapter,
        "thresholds": recipe.thresholds,
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
    try:
        return TypeAdapter(type(part)).validate_json(json.dumps(values), strict=True)
    except ValidationError as e:
        raise ValueError(_told(e, where)) from e
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


def _told(e: ValidationError, where: str) -> str:
    """The first thing that pydantic found wrong, in our words."""
    error = e.errors()[0]
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    name = ".".join([where, *(str(p) for p in error["loc"])])
    return f"{name} is {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}; it must be a number")
    return float(value)


def meant(word: str, known: Iterable[str]) -> str:
    """The nearest of the names that are known, as the beginning of a hint; "" where none is near."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""
