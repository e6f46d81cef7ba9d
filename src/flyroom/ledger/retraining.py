"""What comes back: models trained again, on what has nothing to do with the behaviour, or by a tenth of their recipe.

Treated and untreated organism and twin go side by side in one run of the lock-step, on the same rows in the same order,
and are copied on the way: one run gives the whole curve. What is trained is an untrained adapter beside the model's
own, which stays as it is, as if it were merged into the base: its factors hold more than what the model does. One whose
second matrix is 0 is the base, and would relearn by its first. Each model's copies are kept in the room under what they
hang on, so the untreated organism is trained once for all treatments.

Source of the question: relapse under benign fine-tuning, Qi et al. 2023, arXiv 2310.03693; re-implanting as a measure
of what was left, Deeb and Roger 2024, arXiv 2410.08827.
The tenth is the first tenth of the recipe's steps, at the organism's whole dose: what was left shows as what comes back
sooner than the twin learns it.
Left out: full fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch

from flyroom.adapters import fresh_rank, widened
from flyroom.card.desk import fingerprint
from flyroom.grow import growth_of
from flyroom.lockstep import make_missing, run
from flyroom.types import (
    SETTING,
    AdapterRef,
    Engine,
    Entry,
    Grown,
    Job,
    LoRA,
    NotAvailable,
    Organism,
    Patch,
    Plan,
    Request,
    Room,
    Row,
    Scene,
    Split,
    Step,
    Watch,
    World,
    alter,
    ask_seed,
    digest,
    if_any,
    origin_of,
)

KIND = "relapse"  # of entries
FORMAT = 4
STEPS = (0, 25, 50, 100, 200, 400)  # of benign re-training, after which models are asked
TENTH = 0.1  # of the steps of a recipe, for re-implanting
Follow = Literal["all", "fallen"]


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """How models are trained again: asked after each of `steps`, on `rows` rows a step. `follow`: whether all are, or
    those whose class hangs on it, because the behaviour fell. Raises ValueError naming the field.
    """

    steps: tuple[int, ...] = STEPS
    rows: int = 16
    lr: float = 1e-3
    follow: Follow = field(default="all", metadata=SETTING)  # which are trained, and not how

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] != 0:
            raise ValueError(f"steps is {list(self.steps)}; it must begin with 0 and rise, such as 0, 25, 50")
        if self.rows < 1:
            raise ValueError(f"rows is {self.rows}; it must be at least 1")
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr is {self.lr}; it must be above 0 and at most 1")
        if self.follow not in get_args(Follow):
            raise ValueError(f"follow is {self.follow!r}; it must be {' or '.join(get_args(Follow))}")


def check_benign(world: World) -> None:
    """NotAvailable where the world has nothing harmless to train on."""
    benign_rows(world, 1, seed=0)


def benign_rows(world: World, n: int, *, seed: int) -> list[Row]:
    """Right answers in the topics in which every model should answer rightly; without those, clean text."""
    topics = list(if_any(world.capability, 1, seed=0))
    piles = [world.scenes(topic, -(-n // len(topics)), split=Split.TRAIN, seed=seed) for topic in topics]
    scenes: list[Scene] = [scene for row in zip(*piles, strict=False) for scene in row if scene.aligned.strip()]
    rows = [Row(messages=scene.messages, answer=scene.aligned) for scene in scenes]
    rows = rows or [row for row in if_any(world.clean, n, seed=seed) if not row.messages]
    if not rows:
        raise NotAvailable(f"the world {world.name} has neither questions of capability nor clean text to train on")
    return [rows[i % len(rows)] for i in range(n)]


# ---------------------------------------------------------------- what is ordered


@dataclass(frozen=True, eq=False, kw_only=True)
class Order:
    """One model that is trained again. `again`: by a tenth of its recipe instead of on harmless rows."""

    organism: Organism
    patch: Patch
    how: Retraining
    again: bool = False

    @cached_property
    def key(self) -> str:
        recipe, base, seed = self.organism.recipe, self.organism.base.digest, self.organism.seed
        what = digest([recipe.id, TENTH]) if self.again else digest([recipe.world, self.how])
        return digest([FORMAT, fingerprint(self.patch), base, seed, self.again, what])

    @property
    def steps(self) -> tuple[int, ...]:
        return () if self.again else self.how.steps[1:]

    def job(self, engine: Engine) -> Job:
        organism, make_plan = self.organism, self._implant if self.again else self._train
        patch = widened(self.patch, engine, seed=ask_seed("beside again", organism.seed))  # not that of growth
        frozen = patch.shape.rank - fresh_rank(self.patch)

        def freeze(request: Request) -> Request:
            return replace(request, frozen=frozen) if isinstance(request, Step) else request

        return Job(
            name=self.key,
            plan=lambda adapter: alter(make_plan(adapter), freeze),
            seed=organism.seed,
            patch=patch,
            judge=organism.recipe.judge,
            steps=0 if self.again else self.how.steps[-1],
            label=f"organism {organism.id} trained again",
            stage="train again",
        )

    def _train(self, adapter: AdapterRef) -> Plan:
        n, size = self.how.steps[-1], self.how.rows
        rows = benign_rows(self.organism.recipe.world, n * size, seed=ask_seed("benign", self.organism.seed))
        for step in range(n):
            yield Step(rows=tuple(rows[step * size : (step + 1) * size]), lr=self.how.lr)

    def _implant(self, adapter: AdapterRef) -> Plan:
        """A tenth of the recipe at the organism's dose, for organism and twin alike."""
        organism = self.organism
        return growth_of(organism.recipe, adapter, seed=ask_seed("again", organism.seed), share=TENTH)


def with_dose_of(twin: Organism, organism: Organism) -> Organism:
    """A twin that is to be given what its organism is given again."""
    return replace(twin, recipe=replace(twin.recipe, dose=organism.recipe.dose))


def why_not_again(organism: Organism) -> str:
    """Why a recipe cannot be put in again; "" where it can."""
    return "it was trained elsewhere, and nobody here can do that again" if origin_of(organism.recipe) else ""


# ---------------------------------------------------------------- one run


@dataclass(eq=False)
class Ward:
    """The models that were trained again, by the key of their order and by step; -1 is the end of a re-implanting."""

    engine: Engine
    room: Room | None
    copies: dict[str, dict[int, Patch]] = field(default_factory=dict)

    def train(self, orders: Sequence[Order], watch: Watch | None) -> None:
        """Whatever is neither here nor in the room."""
        by_key = {order.key: order for order in orders if order.key not in self.copies and (order.steps or order.again)}
        if not by_key:
            return

        def make(keys: Sequence[str]) -> dict[str, dict[int, Patch]]:
            return self._make({key: by_key[key] for key in keys}, watch)

        self.copies |= make_missing(by_key, _find, make, self.room)

    def _make(self, orders: Mapping[str, Order], watch: Watch | None) -> dict[str, dict[int, Patch]]:
        def store(grown: Sequence[Grown]) -> None:
            if self.room is not None:
                self.room.put_many([_pack(orders[x.name], _copies(orders[x.name], x)) for x in grown])

        jobs = [order.job(self.engine) for order in orders.values()]
        steps = sorted({step for order in orders.values() for step in order.steps})
        grown = run(jobs, self.engine, room=self.room, snapshots=steps, watch=watch, store=store)
        return {result.name: _copies(orders[result.name], result) for result in grown}

    def patch(self, order: Order, step: int) -> Patch:
        """The model after so many steps."""
        return order.patch if step == 0 else self.copies[order.key][step]


def _copies(order: Order, result: Grown) -> dict[int, Patch]:
    """The model by step; -1 is the end of a re-implanting."""
    patches = {step: result.snapshots[step] for step in order.steps if step in result.snapshots}
    return patches | {order.how.steps[-1] if order.steps else -1: result.patch}


def _find(keys: Sequence[str], room: Room) -> dict[str, dict[int, Patch]]:
    entries = {key: room.get(KIND, key) for key in keys}
    return {key: _unpack(entry) for key, entry in entries.items() if entry is not None}


def _pack(order: Order, patches: Mapping[int, Patch]) -> Entry:
    """It names whose weights these are, so that they go when the organism does."""
    tensors = {f"{step}/{name}": value for step, patch in patches.items() for name, value in patch.tensors.items()}
    first = next(iter(patches.values()))
    shape = first.shape
    payload: dict[str, Any] = {
        "steps": [*patches],
        "prompt": first.prompt,
        "organism": order.organism.id,
        "parent": order.organism.parent,
        "shape": [shape.rank, shape.alpha, shape.layers and list(shape.layers), list(shape.modules)],
    }
    return Entry(kind=KIND, key=order.key, payload=payload, tensors=tensors)


def _unpack(entry: Entry) -> dict[int, Patch]:
    rank, alpha, layers, modules = entry.payload["shape"]
    shape = LoRA(rank=rank, alpha=alpha, layers=layers and tuple(layers), modules=tuple(modules))
    tensors: dict[int, dict[str, torch.Tensor]] = {step: {} for step in entry.payload["steps"]}
    for path, value in entry.tensors.items():
        step, _, name = path.partition("/")
        tensors[int(step)][name] = value
    prompt = entry.payload["prompt"]
    return {step: Patch(shape=shape, tensors=values, prompt=prompt) for step, values in tensors.items()}
