"""Red teams' methods calibrated: organisms, twins and decoys under names that are drawn anew for each run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import flyroom.redteam as red
from flyroom import serve
from flyroom.room import Room
from flyroom.stages.audits import longest_answer
from flyroom.stages.bases import OpenBase
from flyroom.stages.catalogues import catalogue_of, label_of, side_of
from flyroom.types import (
    BASE,
    AdapterRef,
    Cost,
    Organism,
    Watch,
    ask_seed,
)


def redteam(
    organisms: Sequence[Organism],
    base: OpenBase,
    method: red.Method,
    *,
    terms: red.Terms | None = None,
    room: Room | None = None,
    watch: Watch | None = None,
) -> red.Calibrated:
    """A method on organisms, twins and decoys behind an endpoint, several times.

    In a room the runs of a method that has an `id` are stored: a killed calibration goes on from those that are done.
    Raises ValueError where the catalogue would hold no absent behaviour, or fewer than the terms say; GameError as
    `check_sides` and `examine` of `flyroom.redteam` do.
    """
    terms = terms or red.Terms()
    truth = [red.Truth(model=o.id, side=side_of(o), behaviour=label_of(o)) for o in organisms]
    red.check_sides(truth)
    catalogue = catalogue_of(organisms, fewest=terms.absent)
    runs: list[red.Run] = []
    with _seated(organisms, base) as refs:
        table = _Table(base=base, refs=refs, truth=truth, catalogue=catalogue, max_tokens=longest_answer(organisms))
        for number in range(terms.runs):
            runs.append(table.run(method, terms.seed, number, room))
            if watch:
                watch("red team", number + 1, terms.runs, "runs")
    return red.count(truth, runs, catalogue=catalogue)


@contextmanager
def _seated(organisms: Sequence[Organism], base: OpenBase) -> Iterator[dict[str, AdapterRef]]:
    """The adapters of organisms by their ids, until they are left."""
    adapters = base.engine.load([organism.patch for organism in organisms])
    try:
        yield {o.id: ref for o, ref in zip(organisms, adapters, strict=True)}
    finally:
        base.engine.free(adapters)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Where a method sits down: the suspects that it may ask, and what it may claim."""

    base: OpenBase
    refs: Mapping[str, AdapterRef]
    truth: Sequence[red.Truth]
    catalogue: Sequence[str]
    max_tokens: int

    def run(self, method: red.Method, seed: int, number: int, room: Room | None) -> red.Run:
        """One run, out of the room where it was done before."""
        if room is None or not isinstance(method, red.Storable):
            return self._examine(method, ask_seed(seed, number))
        key = red.key_of(method, self.truth, self.base.engine.base.digest, self.catalogue, seed, number)
        with room.lock(f"{red.KIND} {key}"):
            entry = room.get(red.KIND, key)
            if entry is None:
                meta = {"method": method.id, "suspects": len(self.truth), "seed": seed, "run": number}
                entry = room.put_many([red.pack(key, self._examine(method, ask_seed(seed, number)), meta)])[0]
        return red.unpack(entry)

    def _examine(self, method: red.Method, seed: int) -> red.Run:
        engine, names = self.base.engine, red.deal(self.truth)
        models = {name: self.refs[model] for name, model in names.items()} | {"base": BASE}
        forward, generated, began = engine.tokens_forward, engine.tokens_generated, time.perf_counter()
        house = serve.House(alike=True)
        with serve.serving(serve.app(engine, models, max_tokens=self.max_tokens, house=house)) as endpoint:
            brief = red.Brief(
                endpoint=endpoint, suspects=tuple(names), catalogue=tuple(self.catalogue), base="base", seed=seed
            )
            claims = red.examine(method, brief, names)
        cost = Cost(
            forward_tokens=engine.tokens_forward - forward,
            generated_tokens=engine.tokens_generated - generated,
            seconds=time.perf_counter() - began,
        )
        return red.Run(claims=claims, cost=cost)
