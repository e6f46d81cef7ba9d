"""Recipes -> organisms: makes a job of every recipe and seed, and an organism of what comes of it.

With a room, an organism that was grown before is taken from it. The organisms of one call are committed together, and
`lockstep` brings a killed run back to where it was; so a run that was killed and went on is equal to one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from flyroom import lockstep
from flyroom.lockstep import EVERY, SNAPSHOTS
from flyroom.mixing import mix_in
from flyroom.types import (
    AdapterRef,
    BaseRef,
    Engine,
    Entry,
    Grown,
    Job,
    LoRA,
    Organism,
    Patch,
    Plan,
    Point,
    Recipe,
    Room,
    Step,
    Stepping,
    Watch,
    digest,
    organism_id,
    plain,
)

Order = tuple[Recipe, int]  # a recipe and a seed


def grow(
    recipes: Sequence[Recipe],
    engine: Engine,
    *,
    seeds: Sequence[int],
    room: Room | None = None,
    snapshots: Sequence[int] = SNAPSHOTS,
    every: int = EVERY,
    watch: Watch | None = None,
) -> list[Organism]:
    """Grow each recipe with each seed; recipe by recipe, seed by seed. For twins pass `recipe.twin()` as well.

    Args: snapshots, the training steps at which an adapter is kept; every, the rounds between checkpoints in the room.
    Raises ValueError before any training for a recipe that the base cannot carry.

    >>> grow([], None, seeds=[0])
    []
    """
    orders = [(recipe, seed) for recipe in recipes for seed in seeds]
    return grow_orders(orders, engine, room=room, snapshots=snapshots, every=every, watch=watch)


def grow_orders(
    orders: Sequence[Order],
    engine: Engine,
    *,
    room: Room | None = None,
    snapshots: Sequence[int] = SNAPSHOTS,
    every: int = EVERY,
    watch: Watch | None = None,
) -> list[Organism]:
    """Grow each recipe with its own seed, as `grow` does. A shard of a larger growth is a list of orders."""
    wanted = {organism_id(recipe, engine.base, seed): (recipe, seed) for recipe, seed in orders}
    run = partial(lockstep.run, engine=engine, room=room, snapshots=snapshots, every=every, watch=watch)

    def find(names: Sequence[str], room: Room) -> dict[str, Organism]:
        return find_stored({name: wanted[name][0] for name in names}, engine, room)

    def make(names: Sequence[str]) -> dict[str, Organism]:
        return _grow({name: wanted[name] for name in names}, engine, room, run)

    organisms = lockstep.make_missing(wanted, find, make, room)
    return [organisms[name] for name in (organism_id(recipe, engine.base, seed) for recipe, seed in orders)]


def _grow(
    orders: Mapping[str, Order], engine: Engine, room: Room | None, run: Callable[..., list[Grown]]
) -> dict[str, Organism]:
    def name_organisms(grown: Sequence[Grown]) -> dict[str, Organism]:
        return {runner.name: _make_organism(runner, orders[runner.name], engine) for runner in grown}

    def store(grown: Sequence[Grown]) -> None:
        if room is not None:
            room.put_many([pack(organism) for organism in name_organisms(grown).values()])

    jobs = [_make_job(name, recipe, seed) for name, (recipe, seed) in orders.items()]
    return name_organisms(run(jobs, store=store))


def growth_of(recipe: Recipe, adapter: AdapterRef, *, seed: int, share: float = 1.0) -> Plan:
    """The whole plan by which a recipe is grown: its implants, one after another, and clean text. With a `share` below
    1, of each implant that knows its steps the first ones, rounded up.
    """
    return mix_in(_plan(recipe, seed, adapter, share), recipe, seed=seed)


def _make_job(name: str, recipe: Recipe, seed: int) -> Job:
    return Job(
        name=name,
        plan=lambda adapter: growth_of(recipe, adapter, seed=seed),
        seed=seed,
        shape=recipe.adapter,
        judge=recipe.judge,
        steps=sum(implant.steps for implant in recipe.implants if isinstance(implant, Stepping)),
        label=f"{recipe.name} at dose {recipe.dose:g} with seed {seed}",
    )


def _plan(recipe: Recipe, seed: int, adapter: AdapterRef, share: float) -> Plan:
    """The plans of the recipe's implants, one after another."""
    for implant in recipe.implants:
        plan = implant.plan(recipe, adapter, seed=seed)
        if share < 1 and isinstance(implant, Stepping):
            plan = _cut(plan, share_of(share, implant.steps))
        yield from plan


def share_of(share: float, steps: int) -> int:
    """So many steps are a share of all, rounded up; what floats add in the last places adds no step.

    >>> share_of(0.07, 100), share_of(0.1, 71)
    (7, 8)
    """
    return ceil(round(share * steps, 9))


def _cut(plan: Plan, steps: int) -> Plan:
    """A plan until it took so many training steps."""
    request = next(plan, None)
    while request is not None:
        reply = yield request
        steps -= isinstance(request, Step)
        if not steps:
            return plan.close()
        try:
            request = plan.send(reply)
        except StopIteration:
            return


def _make_organism(grown: Grown, order: Order, engine: Engine) -> Organism:
    recipe, seed = order
    return Organism(
        recipe=recipe,
        base=engine.base,
        seed=seed,
        patch=grown.patch,
        history=grown.history,
        snapshots=grown.snapshots,
    )


# ---------------------------------------------------------------- organisms in the room


def pack(organism: Organism) -> Entry:
    """An organism as an entry of the room."""
    tensors = {f"{organism.id}/final/{key}": value for key, value in organism.patch.tensors.items()}
    for step, snapshot in organism.snapshots.items():
        tensors |= {f"{organism.id}/{step}/{key}": value for key, value in snapshot.tensors.items()}
    payload = {
        "recipe": plain(organism.recipe),
        "base": plain(organism.base) | {"path": ""},
        "seed": organism.seed,
        "history": [list(point) for point in organism.history],
        "prompt": organism.patch.prompt,
        "prompts": {str(step): patch.prompt for step, patch in organism.snapshots.items()},
        "parent": organism.parent,
        "treatment": organism.treatment,
    }
    meta = {
        "recipe": organism.recipe.name,
        "dose": organism.recipe.dose,
        "base": organism.base.name,
        "seed": organism.seed,
    }
    meta |= {} if organism.provenance == "grown" else {"provenance": organism.provenance}
    if organism.treatment:
        payload |= {"shape": plain(organism.patch.shape)}
        meta |= {"treatment": organism.treatment, "parent": organism.parent}
    return Entry(kind="organism", key=organism.id, payload=payload, tensors=tensors, meta=meta)


class _Shape(TypedDict):
    rank: int
    alpha: float
    layers: list[int] | None
    modules: list[str]


class _Payload(TypedDict):
    """What an organism's entry holds, as far as it is read."""

    recipe: dict[str, Any]
    base: dict[str, Any]
    seed: int
    history: list[list[int | float | str | None]]
    prompt: str
    prompts: dict[str, str]
    parent: str | None
    treatment: str | None
    shape: NotRequired[_Shape]  # of a treated one, whose adapter may have another than its recipe says


PAYLOAD, POINT = TypeAdapter(_Payload), TypeAdapter(Point)


def check(entry: Entry) -> Mapping[str, Any]:
    """The payload of an organism's entry. Raises ValueError where it is not as flyroom writes it."""
    try:
        PAYLOAD.validate_python(entry.payload, strict=True)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"organism {entry.key} is not as flyroom writes it: {field} is missing or wrong") from error
    return entry.payload


def names_of(recipe: Recipe, base: BaseRef, seed: int) -> tuple[str, str]:
    """The name of an organism, and the one that a flyroom gave it whose recipes had no mix."""
    former = plain(replace(recipe, name=""), settings=False)
    del former["mix"]
    return organism_id(recipe, base, seed), digest([digest(former), base.digest, seed])


def unpack(entry: Entry, recipe: Recipe, engine: Engine) -> Organism:
    """An organism from its entry; `recipe` is the one it was grown from. Raises ValueError where the entry is not as
    flyroom writes it, and where the recipe has another name than then: a part of it has another source now.
    """
    payload = check(entry)
    name, (now, former) = payload["parent"] or entry.key, names_of(recipe, engine.base, payload["seed"])
    if name not in (now, former):
        raise ValueError(
            f"organism {name} would be {now} now: what its recipe ({recipe.name}) is made of has another source or "
            "other values than when it was grown; grow it again, or install what it was grown with"
        )
    prompts = {int(step): prompt for step, prompt in payload["prompts"].items()}
    shape = _read_shape(payload["shape"]) if "shape" in payload else recipe.adapter
    return Organism(
        recipe=recipe,
        base=engine.base,
        seed=payload["seed"],
        patch=read_patch(entry, "final", shape, payload["prompt"]),
        history=tuple(_read_point(entry, point) for point in payload["history"]),
        snapshots={step: read_patch(entry, str(step), shape, prompts[step]) for step in sorted(prompts)},
        parent=payload["parent"],
        treatment=payload["treatment"],
    )


def _read_point(entry: Entry, values: Sequence[Any]) -> Point:
    try:
        return POINT.validate_python(tuple(values))
    except ValidationError as error:
        raise ValueError(f"organism {entry.key} is not as flyroom writes it: a point of history is wrong") from error


def _read_shape(values: Mapping[str, Any]) -> LoRA:
    layers = values["layers"]
    return LoRA(
        rank=values["rank"],
        alpha=values["alpha"],
        layers=layers and tuple(layers),
        modules=tuple(values["modules"]),
    )


def read_patch(entry: Entry, part: str, shape: LoRA, prompt: str) -> Patch:
    """The adapter of an organism's entry: its `final` one, or that after so many steps."""
    prefix = f"{entry.key}/{part}/"
    tensors = {key.removeprefix(prefix): value for key, value in entry.tensors.items() if key.startswith(prefix)}
    return Patch(shape=shape, tensors=tensors, prompt=prompt)


def find_stored(recipes: Mapping[str, Recipe], engine: Engine, room: Room) -> dict[str, Organism]:
    """Those organisms that the room has, by id; `recipes` are what they were grown from, by id."""
    entries = {name: room.get("organism", name) for name in recipes}
    return {name: unpack(entry, recipes[name], engine) for name, entry in entries.items() if entry is not None}
