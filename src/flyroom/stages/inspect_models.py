"""Organisms, twins and bases as models of Inspect, by name:

    flyroom/ID             an organism, a twin or a decoy, by the start of its id
    flyroom/ID/twin        the twin that belongs beside it
    flyroom/ID/step-40     the organism at an earlier step of its training
    flyroom/base           the base, as it is

Model args: room, the folder (else FLYROOM_ROOM, else "room"); base, by name, folder or hub id (else that which the
organism was grown on); world; purpose. All models of one base share an engine, and what is asked of them at one time is
one batch.

The gate is that of `flyroom serve`: a purpose must be given, it is in the room's log before the first answer, and an
organism whose leave is over is refused, from Inspect's cache too, which keeps answers by base and room. A model is
opened when it is first asked: to score what it said takes neither the room nor a purpose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from inspect_ai.model import GenerateConfig

from flyroom.inspector.gather import Gather
from flyroom.inspector.models import GatheredModel, Seat
from flyroom.preflight import base_of
from flyroom.purpose import is_past
from flyroom.room import Room
from flyroom.stages.bases import OpenBase, open_base
from flyroom.stages.exports import grant
from flyroom.stages.inspect_tokens import sampler_of
from flyroom.stages.organisms import stored
from flyroom.types import ANSWER_TOKENS, BASE, AdapterRef, Organism, Patch, answer_tokens, digest
from flyroom.worlds.micro.bundled import DEFAULT

UNALTERED, TWIN, STEP = "base", "twin", "step-"
NO_PURPOSE = "purpose is missing; say with -M purpose=... what the model is needed for: it goes into the room's log"


def open_model(name: str, config: GenerateConfig, arguments: Mapping[str, Any]) -> GatheredModel:
    """The model of this name, which is looked for when it is first asked; that raises as `take_seat`. Raises ValueError
    for a model arg that there is not.
    """
    checked = _check(arguments)
    return GatheredModel(name, lambda: take_seat(name, **checked), config)


ARGUMENTS = ("room", "base", "world", "purpose")


def _check(arguments: Mapping[str, Any]) -> dict[str, str]:
    """ValueError for an argument that there is not."""
    strange = next((name for name in arguments if name not in ARGUMENTS), None)
    if strange is not None:
        raise ValueError(f"model arg {strange} is {arguments[strange]!r}; it must be one of {', '.join(ARGUMENTS)}")
    return {name: str(value) for name, value in arguments.items()}


def take_seat(name: str, *, room: str = "", base: str = "", world: str = "", purpose: str = "") -> Seat:
    """Where the model of this name answers. ValueError for one that there is not, and as the gate says."""
    if name == UNALTERED:
        counter = _counter(base or DEFAULT, world)
        longest = answer_tokens(counter.base.world) if counter.base.world else ANSWER_TOKENS
        source = digest([counter.base.engine.base.digest, world])
        return Seat(gather=counter.gather, model=BASE, max_tokens=longest, spells=True, source=source)
    if not purpose.strip():
        raise ValueError(NO_PURPOSE)
    id, _, part = name.partition("/")
    store = Room(room or os.environ.get("FLYROOM_ROOM", "room"), create=False)
    key = store.find(id, kind="organism").key
    counter = _counter(base_of(store, [key], base), world)
    organism, patch = _choose(stored(store, counter.base, [key]), key, part)
    until = grant(store, [organism.id], what="inspect", purpose=purpose, days=None)
    model = counter.load(f"{organism.id}/{part}", patch)
    longest = answer_tokens(organism.recipe.world)
    return Seat(
        gather=counter.gather,
        model=model,
        max_tokens=longest,
        spells=True,
        source=digest([counter.base.engine.base.digest, world, str(store.root.resolve()), organism.id, part]),
        is_over=lambda: is_past(until),
    )


def _choose(models: list[Organism], key: str, part: str) -> tuple[Organism, Patch]:
    """The organism with this key, or what `part` names of it."""
    organism = next(model for model in models if model.id == key)
    if not part:
        return organism, organism.patch
    if part == TWIN:
        twin = next((model for model in models if model.id == organism.twin_id), None)
        if twin is None:
            raise ValueError(f"the room holds no twin {organism.twin_id} of organism {key}")
        return twin, twin.patch
    steps = {f"{STEP}{step}": patch for step, patch in organism.snapshots.items()}
    if part not in steps:
        raise ValueError(f"model is {key}/{part}; behind the id there may stand {', '.join([TWIN, *steps])}")
    return organism, steps[part]


@dataclass(frozen=True, eq=False)
class _Counter:
    """A base that is open, what is asked of it, and the adapters that lie in its engine by name."""

    base: OpenBase
    gather: Gather
    adapters: dict[str, AdapterRef] = field(default_factory=dict)

    def load(self, name: str, patch: Patch) -> AdapterRef:
        if name not in self.adapters:
            (self.adapters[name],) = self.base.engine.load([patch])
        return self.adapters[name]


@lru_cache(maxsize=2)
def _counter(base: str, world: str) -> _Counter:
    """Opened once in a process."""
    opened = open_base(base, world=world)
    return _Counter(opened, Gather(sampler_of(opened.engine)))
