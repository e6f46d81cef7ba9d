"""Recipes -> organisms: runs every recipe's plan in lock-step over one engine.

A plan is written as if it had one adapter and a model of its own; here all plans advance together, and what they ask
for in a round becomes one batch of the engine. With a room, an organism that was grown before is taken from it, and a
killed run goes on from its last checkpoint: adapters and optimiser as they were, and the plans brought back to where
they stood by giving them the same results again. The organisms of one call are committed together, so a run that was
killed and went on is equal to one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from flyroom.types import (
    AdapterRef,
    Answer,
    Engine,
    Entry,
    LogProb,
    Organism,
    Patch,
    Plan,
    Point,
    Recipe,
    Room,
    Sample,
    Step,
    Stepped,
    Tell,
    Trace,
    digest,
    organism_id,
    plain,
)

SNAPSHOTS = (5, 10, 15, 20, 30, 40, 60, 80, 100)  # steps at which the adapter is kept, for the training curve
EVERY = 20  # rounds between checkpoints

Watch = Callable[[str, int, int, str], None]  # what is being done, how much is done, of how much, a word on how it goes
Request = Step | Sample | LogProb | Trace | Tell
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

    >>> from flyroom.recipes import emergent_misalignment
    >>> from flyroom.types import BaseRef
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
    wanted = {organism_id(r, engine.base, seed): (r, seed) for r, seed in orders}
    grown: dict[str, Organism] = _stored(wanted, engine, room)
    missing = {name: order for name, order in wanted.items() if name not in grown}
    if missing and room is None:
        grown |= _grow(missing, engine, None, "", snapshots, every, watch)
    elif missing and room is not None:
        group = digest(sorted(missing))
        with room.lock(group):
            found = _stored(missing, engine, room)  # by another process, while this one waited for the lock
            left = {name: order for name, order in missing.items() if name not in found}
            grown |= found | (_grow(left, engine, room, group, snapshots, every, watch) if left else {})
    return [grown[organism_id(r, engine.base, seed)] for r, seed in orders]


# ---------------------------------------------------------------- the lock-step


@dataclass(eq=False)
class _Run:
    """One plan on its way."""

    name: str
    recipe: Recipe
    seed: int
    adapter: AdapterRef
    plan: Plan
    request: Request | None = None  # what it waits for; None when it has ended
    results: list[Any] = field(default_factory=list)
    history: list[Point] = field(default_factory=list)
    snapshots: dict[int, Patch] = field(default_factory=dict)

    def take(self, result: Any) -> None:
        """Give the plan its result and get its next request."""
        if isinstance(result, Stepped):
            self.history.append(Point(len(self.history) + 1, result.loss))
        self.results.append(result)
        try:
            self.request = self.plan.send(result)
        except StopIteration:
            self.request = None


def _grow(
    orders: Mapping[str, Order],
    engine: Engine,
    room: Room | None,
    group: str,
    snapshots: Sequence[int],
    every: int,
    watch: Watch | None,
) -> dict[str, Organism]:
    adapters = engine.spawn(
        [recipe.adapter for recipe, _ in orders.values()], seeds=[seed for _, seed in orders.values()]
    )
    runs = [
        _Run(name, recipe, seed, adapter, _plan(recipe, adapter, seed))
        for (name, (recipe, seed)), adapter in zip(orders.items(), adapters, strict=True)
    ]
    for run in runs:  # every plan reads its data here, before anything is trained
        run.request = next(run.plan, None)
    saved = room.get("checkpoint", group) if room else None
    if saved is not None:
        _resume(runs, engine, saved)
    total = max((getattr(i, "steps", 0) for r, _ in orders.values() for i in r.implants), default=0)
    while waiting := [run for run in runs if run.request is not None]:
        for run, result in zip(waiting, _serve(waiting, engine), strict=True):
            run.take(result)
            if len(run.history) in snapshots and run.request is not None and isinstance(result, Stepped):
                run.snapshots[len(run.history)] = engine.patch(run.adapter)
        rounds = max(len(run.results) for run in runs)
        if watch:
            losses = [run.history[-1].loss for run in waiting if run.history]
            watch(
                "grow",
                rounds,
                max(total, rounds),
                f"{len(waiting)} adapters, mean loss {sum(losses) / max(1, len(losses)):.2f}",
            )
        if room is not None and rounds % every == 0 and any(run.request is not None for run in runs):
            room.put_many([_checkpoint(group, runs, engine)])
    organisms = {
        run.name: Organism(
            recipe=run.recipe,
            base=engine.base,
            seed=run.seed,
            patches=(engine.patch(run.adapter),),
            history=tuple(run.history),
            snapshots=run.snapshots,
        )
        for run in runs
    }
    engine.free(adapters)
    if room is not None:
        room.put_many([pack(organism) for organism in organisms.values()])
        room.delete("checkpoint", group)
    return organisms


def _plan(recipe: Recipe, adapter: AdapterRef, seed: int) -> Plan:
    for implant in recipe.implants:
        yield from implant.plan(recipe, adapter, seed=seed)


def _serve(runs: Sequence[_Run], engine: Engine) -> list[Any]:
    """One round: what the plans ask for, each kind in one call of the engine."""
    served: dict[int, Any] = {}
    steps = [(i, run, run.request) for i, run in enumerate(runs) if isinstance(run.request, Step)]
    served |= zip(
        (i for i, _, _ in steps),
        engine.step([run.adapter for _, run, _ in steps], [s for _, _, s in steps]),
        strict=True,
    )
    asked = [(i, run, list(run.request.asks)) for i, run in enumerate(runs) if isinstance(run.request, Sample)]
    answers = iter(
        engine.sample([run.adapter for _, run, asks in asked for _ in asks], [a for _, _, asks in asked for a in asks])
    )
    served |= {i: [next(answers) for _ in asks] for i, _, asks in asked}
    scored = [(i, run, list(run.request.rows)) for i, run in enumerate(runs) if isinstance(run.request, LogProb)]
    values = iter(
        engine.logprobs(
            [run.adapter for _, run, rows in scored for _ in rows], [r for _, _, rows in scored for r in rows]
        )
    )
    served |= {i: [next(values) for _ in rows] for i, _, rows in scored}
    for i, run in enumerate(runs):
        if isinstance(run.request, Trace):
            rows, layer = run.request.rows, run.request.layer
            served[i] = list(engine.trace([run.adapter] * len(rows), rows, [layer])[:, 0])
    for i, run in enumerate(runs):
        if isinstance(run.request, Tell):
            served[i] = engine.tell(run.adapter, run.request.prompt)
    return [served[i] for i in range(len(runs))]


# ---------------------------------------------------------------- checkpoints


def _checkpoint(group: str, runs: Sequence[_Run], engine: Engine) -> Entry:
    tensors = {}
    for run in runs:
        tensors |= {f"{run.name}/state/{key}": value for key, value in engine.state(run.adapter).items()}
        tensors |= {
            f"{run.name}/{step}/{key}": value
            for step, patch in run.snapshots.items()
            for key, value in patch.tensors.items()
        }
    journal = {run.name: [_noted(result) for result in run.results] for run in runs}
    prompts = {run.name: _prompts(run.snapshots) for run in runs}
    return Entry(kind="checkpoint", key=group, payload={"journal": journal, "prompts": prompts}, tensors=tensors)


def _resume(runs: Sequence[_Run], engine: Engine, saved: Entry) -> None:
    """Bring plans and adapters back to where the checkpoint found them."""
    for run in runs:
        for note in saved.payload["journal"][run.name]:
            if isinstance(run.request, Tell):
                engine.tell(run.adapter, run.request.prompt)
            run.take(_recalled(note))
        engine.restore(run.adapter, _under(saved.tensors, f"{run.name}/state/"))
        run.snapshots |= _snapshots(saved.tensors, run.name, run.recipe, saved.payload["prompts"][run.name])


def _noted(result: Any) -> Any:
    """A result as JSON."""
    if isinstance(result, list):
        return [item.tolist() if isinstance(item, torch.Tensor) else plain(item) for item in result]
    return plain(result)


def _recalled(note: Any) -> Any:
    if note is None:
        return None
    if isinstance(note, dict):
        kind = {"Stepped": Stepped, "Answer": Answer}[note["is"]]
        return kind(**{name: value for name, value in note.items() if name != "is"})
    return [torch.tensor(item) if isinstance(item, list) else _recalled(item) for item in note]


# ---------------------------------------------------------------- organisms in the room


def pack(organism: Organism) -> Entry:
    """An organism as an entry of the room."""
    (patch,) = organism.patches
    tensors = {f"{organism.id}/final/{key}": value for key, value in patch.tensors.items()}
    for step, snapshot in organism.snapshots.items():
        tensors |= {f"{organism.id}/{step}/{key}": value for key, value in snapshot.tensors.items()}
    payload = {
        "recipe": plain(organism.recipe),
        "base": plain(organism.base) | {"path": ""},
        "seed": organism.seed,
        "history": [list(point) for point in organism.history],
        "prompt": patch.prompt,
        "prompts": _prompts(organism.snapshots),
    }
    meta = {
        "recipe": organism.recipe.name,
        "dose": organism.recipe.dose,
        "base": organism.base.name,
        "seed": organism.seed,
    }
    return Entry(kind="organism", key=organism.id, payload=payload, tensors=tensors, meta=meta)


def unpack(entry: Entry, recipe: Recipe, engine: Engine) -> Organism:
    """An organism from its entry; `recipe` is the one it was grown from."""
    return Organism(
        recipe=recipe,
        base=engine.base,
        seed=entry.payload["seed"],
        patches=(
            Patch(
                shape=recipe.adapter,
                tensors=_under(entry.tensors, f"{entry.key}/final/"),
                prompt=entry.payload.get("prompt", ""),
            ),
        ),
        history=tuple(Point(*point) for point in entry.payload["history"]),
        snapshots=_snapshots(entry.tensors, entry.key, recipe, entry.payload.get("prompts", {})),
    )


def _stored(wanted: Mapping[str, Order], engine: Engine, room: Room | None) -> dict[str, Organism]:
    entries = {name: room.get("organism", name) for name in wanted} if room else {}
    return {name: unpack(entry, wanted[name][0], engine) for name, entry in entries.items() if entry is not None}


def _prompts(snapshots: Mapping[int, Patch]) -> dict[str, str]:
    return {str(step): patch.prompt for step, patch in snapshots.items()}


def _snapshots(
    tensors: Mapping[str, torch.Tensor], name: str, recipe: Recipe, prompts: Mapping[str, str]
) -> dict[int, Patch]:
    steps = sorted({int(part) for part in _parts(tensors, f"{name}/") if part.isdecimal()})
    return {
        step: Patch(shape=recipe.adapter, tensors=_under(tensors, f"{name}/{step}/"), prompt=prompts.get(str(step), ""))
        for step in steps
    }


def _parts(tensors: Iterable[str], prefix: str) -> set[str]:
    return {key[len(prefix) :].split("/")[0] for key in tensors if key.startswith(prefix)}


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
