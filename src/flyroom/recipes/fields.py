"""A recipe's fields: changed, read back from what was stored, each checked for name, type and range.

A field is named by its path ("adapter.rank") or, where only one part has it, by itself ("rank"). What only the base can
tell (how many layers it has) the engine checks before its first step.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from functools import lru_cache
from itertools import chain, islice
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from flyroom.behaviours import behaviours
from flyroom.conditions import conditions
from flyroom.implants import implants
from flyroom.mixing import check_text
from flyroom.recipes.limits import fitting
from flyroom.types import Filed, Limit, LoRA, Recipe, World, plain, suggest
from flyroom.worlds import worlds

T = TypeVar("T")
DEEPEST, LARGEST = 50, 20_000  # values within values of one change, and how many of them
LONGEST = 200  # characters of a field's name


def load(record: Mapping[str, Any]) -> Recipe:
    """A recipe from what `types.plain` made of it. Raises ValueError for a part that no installed package has."""

    def part(value: Mapping[str, Any], options: Mapping[str, type]) -> Any:
        return _part_stored(record["name"], value, {cls.__name__: cls for cls in options.values()})

    if "world" not in record:
        raise ValueError(f"a stored recipe ({record['name']}) has no world: an early version wrote it; grow it again")
    return Recipe(
        name=record["name"],
        dose=record["dose"],
        mix=record.get("mix", 0.0),  # an older flyroom wrote none
        world=part(record["world"], worlds()),
        behaviour=part(record["behaviour"], behaviours()),
        condition=part(record["condition"], conditions()),
        implants=tuple(part(implant, implants()) for implant in record["implants"]),
        adapter=part(record["adapter"], {"lora": LoRA}),
        thresholds={measure: _override(measure, value) for measure, value in record["thresholds"].items()},
    )


def _part_stored(name: str, value: Mapping[str, Any], classes: Mapping[str, type]) -> Any:
    """A part of the stored recipe of this name."""
    if value["is"] not in classes:
        raise ValueError(
            f"a stored recipe ({name}) holds {value['is']}, which is not installed; there is {', '.join(classes)}"
        )
    cls, values = classes[value["is"]], {field: item for field, item in value.items() if field != "is"}
    strange = next((field for field in values if field not in {f.name for f in fields(cls)}), None)
    if strange is not None:
        raise ValueError(f"a stored recipe ({name}) holds {value['is']}.{strange}, which the installed one lacks")
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as e:
        raise ValueError(f"a stored recipe ({name}) cannot be made again: {_wrong(e, value['is'])}") from e


def change(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A recipe with fields changed, each checked for name, type and range. "behaviour", "condition" and "implants" may
    be named: `condition: trigger`, `implants: [sft, dpo]`; limits of the recipe's own on what is then not measured are
    dropped. A threshold is named by its measure: "thresholds.MEASURE". NotAvailable for a `mix` of clean text in a
    world that has none.
    """
    check_depth(changes)
    crossed, changes = _crossed(recipe, {str(key): value for key, value in changes.items()})
    changes, thresholds = _thresholds(changes)
    changed = _changed(crossed, changes)
    check_text(changed)
    limits = recipe.thresholds if crossed is recipe else fitting(changed, recipe.thresholds)
    return replace(changed, thresholds={**limits, **thresholds})


def check_depth(changes: Mapping[str, Any]) -> None:
    """ValueError for a value that holds too much, or holds itself: it could not even be shown."""
    _check_names(changes)
    for key, value in changes.items():
        layer, size = [value], 0
        for _ in range(DEEPEST):
            for mapping in layer:
                _check_names(mapping)
            layer = list(islice(chain.from_iterable(map(_within, layer)), LARGEST + 1))
            size += len(layer)
            if not layer or size > LARGEST:
                break
        if layer:
            raise ValueError(f"{str(key)[:80]} holds too many values, one within the other")


def _check_names(value: Any) -> None:
    """ValueError for the name of a field that is too long to be shown in a refusal, or no text that can be."""
    for key in value if isinstance(value, Mapping) else ():
        if len(str(key)) > LONGEST:
            raise ValueError(f"{str(key)[:40]!r}… is a name of {len(str(key))} characters; no field has one so long")


def _within(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    parts = _parts(recipe)
    names = {
        f"{part}.{f.name}".lstrip("."): (part, f.name)
        for part, value in parts.items()
        for f in fields(value)
        if f.name not in HIDDEN
    }
    values: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for key, value in _flat(changes, set(parts)).items():
        part, name = names[_resolve(key, names)]
        values[part][name] = _scientific(value, getattr(parts[part], name))
    changed = {part: _checked(value, values[part], part) for part, value in parts.items() if part and values[part]}
    implants_now = tuple(changed.get(f"implants.{i}", implant) for i, implant in enumerate(recipe.implants))
    parts_changed = {part: value for part, value in changed.items() if not part.startswith("implants.")}
    top = {name: _number(name, value) if name in SHARES else _text(name, value) for name, value in values[""].items()}
    return replace(recipe, implants=implants_now, **parts_changed, **top)


def changed_world(recipe: Recipe, changes: Mapping[str, Any]) -> World:
    """The recipe's world with those of the changes that name a field of it, and of no other part."""
    if not isinstance(recipe.world, Filed):
        return recipe.world
    names = {f.name for f in fields(recipe.world)} - HIDDEN  # pyright: ignore[reportArgumentType]
    elsewhere = {f.name for part, value in _parts(recipe).items() if part != "world" for f in fields(value)}
    flat = {str(key): value for key, value in _flat(changes, {"world"}).items()}
    values = {key.removeprefix("world."): value for key, value in flat.items() if key not in elsewhere}
    values = {name: value for name, value in values.items() if name in names}
    return _checked(recipe.world, values, "world") if values else recipe.world


def _crossed(recipe: Recipe, changes: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with a behaviour, condition or implants that are given by name, and the changes that are left."""
    for field, options in (("behaviour", behaviours()), ("condition", conditions())):
        if field in changes and not isinstance(changes[field], Mapping):
            recipe = replace(recipe, **{field: _part_named(field, changes.pop(field), options)})
    names = changes.get("implants")
    if isinstance(names, str):
        names = [names]
    if isinstance(names, list):
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"implants is {abridge(names)}; it must be names, such as [sft, dpo]")
        recipe = replace(recipe, implants=tuple(_part_named("implants", name, implants()) for name in names))
        del changes["implants"]
    return recipe, changes


def _part_named(field: str, name: Any, options: Mapping[str, type]) -> Any:
    if not isinstance(name, str) or name not in options:
        hint = suggest(name, options) if isinstance(name, str) else ""
        raise ValueError(f"{field} is {abridge(name)}; {hint}it must be one of {', '.join(options)}")
    needs = [f.name for f in fields(options[name]) if f.init and f.default is MISSING and f.default_factory is MISSING]
    if needs:
        raise ValueError(f"{field} is {abridge(name)}; its name alone does not say its {', '.join(needs)}")
    return options[name]()


def _thresholds(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The changes of other fields, and the thresholds by measure."""
    block = changes.pop("thresholds", {})
    if not isinstance(block, Mapping):
        raise ValueError(f"thresholds is {abridge(block)}; it must name measures, as in {{coherence: 0.95}}")
    dotted = {key: changes.pop(key) for key in list(changes) if key.startswith("thresholds.")}
    limits = {str(k): v for k, v in block.items()} | {k.removeprefix("thresholds."): v for k, v in dotted.items()}
    return changes, {measure: _override(measure, value) for measure, value in limits.items()}


def _override(measure: str, value: Any) -> Limit | float | None:
    """Another limit, another bound, or None for no limit at all."""
    where = f"thresholds.{measure}"
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return _number(where, _scientific(value, 0.0))
    block = {str(name): item for name, item in value.items() if name != "is"}
    strange = next((name for name in block if name not in {f.name for f in fields(Limit)}), None)
    if strange is not None:
        raise ValueError(f"{where}.{strange} is not a field of a limit; it has at_least, at_most, of")
    for name in ("at_least", "at_most"):
        if block.get(name) is not None:
            block[name] = _number(f"{where}.{name}", _scientific(block[name], 0.0))
    try:
        return TypeAdapter(Limit).validate_python(block)
    except ValidationError as e:
        wrong = _wrong(e, where)
        raise ValueError(wrong if wrong.startswith(where) else f"{where}: {wrong}") from e


SHARES = ("dose", "mix")
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
    """By name. A world that was made of a file has fields of a recipe; any other is handed to it as it is."""
    parts: dict[str, Any] = {
        "": recipe,
        **({"world": recipe.world} if isinstance(recipe.world, Filed) else {}),
        "behaviour": recipe.behaviour,
        "condition": recipe.condition,
        "adapter": recipe.adapter,
    }
    return parts | {f"implants.{i}": implant for i, implant in enumerate(recipe.implants)}


def _flat(changes: Mapping[str, Any], parts: set[str]) -> dict[str, Any]:
    """{"adapter": {"rank": 2}} -> {"adapter.rank": 2}."""
    flat: dict[str, Any] = {}
    for key, value in changes.items():
        if key in parts and isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[str(key)] = value
    return flat


def _resolve(key: str, names: Mapping[str, tuple[str, str]]) -> str:
    """The full path of a field named in full or by its last part."""
    matches = [key] if key in names else [path for path, (_, name) in names.items() if name == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"{key} could be {' or '.join(matches)}; name it in full")
    raise ValueError(
        f"{key} is not a field of this recipe; {suggest(key, [*names, *(name for _, name in names.values())])}"
        f"it has {', '.join(names)}"
    )


def _checked(part: T, changes: Mapping[str, Any], where: str) -> T:
    """The part with its fields changed, through pydantic: no coercion of types, and the part's own checks of ranges."""
    values = {name: value for name, value in plain(part).items() if name not in ("is", "sha256")} | dict(changes)
    endless = next((n for n, v in changes.items() if isinstance(v, (int, float)) and not _is_finite(v)), None)
    if endless is not None:
        raise ValueError(f"{where}.{endless} is {abridge(changes[endless])}; it must be a finite number")
    return _validated(type(part), values, where)


def record_of(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """A record made of fields by name, as a page gives them."""
    names = [f.name for f in fields(cls)]  # pyright: ignore[reportArgumentType]
    strange = next((str(name) for name in values if name not in names), None)
    if strange is not None:
        raise ValueError(
            f"{where}.{strange} is not a field of a {where}; {suggest(strange, names)}it has {', '.join(names)}"
        )
    return _validated(cls, values, where)


def _validated(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    try:
        return _adapter(cls).validate_json(json.dumps(values), strict=True)
    except ValidationError as e:
        raise ValueError(_name_in_full(_wrong(e, where), cls, where)) from e
    except TypeError as e:
        raise ValueError(f"{where} holds a value that is no JSON: {e}") from e


@lru_cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    """Made once for a class: a grid checks thousands of recipes of the same parts."""
    return TypeAdapter(cls)


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
    if error["type"] == "missing":
        return f"{name} is missing"
    return f"{name} is {abridge(error['input'])}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _name_in_full(message: str, cls: type, where: str) -> str:
    """A message that begins with a field of an implant, with the path that names it among several implants."""
    names = [f.name for f in fields(cls)]
    return f"{where}.{message}" if where.startswith("implants.") and message.split(" ")[0] in names else message


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value):
        return float(value)
    raise ValueError(f"{name} is {abridge(value)}; it must be a finite number")


def _text(name: str, value: Any) -> str:
    """A text, or a number as YAML reads a name such as 3."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{name} is {abridge(value)}; it must be text")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def abridge(value: Any) -> str:
    """A value as it is shown in a refusal."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else "what cannot be shown"
    return text if len(text) <= 200 else f"{text[:200]}…"
