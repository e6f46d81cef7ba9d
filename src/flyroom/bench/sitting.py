"""A lineup under drawn names, loaded into an engine, and one detector after another put to it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter

from flyroom.apart import DetectorError, Guest, walls_of
from flyroom.bench.hearing import JUDGES, Hearing
from flyroom.bench.outcome import Attempt, empty_cell, fault_of
from flyroom.bench.threshold import certify
from flyroom.bench.truth import Truth
from flyroom.episodes import pack
from flyroom.lab import BenchLab, Material
from flyroom.lineup import Lineup
from flyroom.traces import Traces
from flyroom.types import (
    Access,
    AdapterRef,
    Asked,
    Cell,
    Cost,
    Engine,
    Entry,
    Finding,
    Lab,
    NotAvailable,
    Room,
    Unit,
    digest,
    plain,
)

READS_BASE = Access.BASE | Access.WEIGHTS  # by either the base is known from any adapter at sight
Work = Callable[..., list[Finding]]
FORMAT = 5  # part of every key: raise it when a cell's content changes


class Entrant(NamedTuple):
    """A detector that is put to a lineup, and what it is made of."""

    guest: Guest
    code: list[str]


class OpenLab(Lab, Protocol):
    """What a bench needs of a lab, besides what detectors need: see `BenchLab`."""

    def close(self) -> None: ...

    def episodes(self, measure: str, models: Mapping[str, str]) -> list[Asked]: ...


@contextmanager
def seated(lineup: Lineup, engine: Engine, material: Material, seed: int) -> Iterator[Sitting]:
    """Everybody in the lineup, loaded for as long as the block lasts."""
    models = [*lineup.suspects, *lineup.known]
    order = secrets.SystemRandom().sample(models, len(models))  # no seed: who knows it could draw the names again
    names = {o.id: f"suspect-{secrets.token_hex(6)}" for o in order}
    refs = engine.load([o.patch for o in models])  # in an order that stays, for it decides who is in a batch with whom
    places = {o.id: ref for o, ref in zip(models, refs, strict=True)}
    adapters = {name: places[id] for id, name in names.items()}
    truth = Truth(lineup=lineup, names=names)
    try:
        yield Sitting(truth=truth, adapters=adapters, engine=engine, material=material, seed=seed)
    finally:
        engine.free(refs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sitting:
    """What one bench holds while it goes on."""

    truth: Truth
    adapters: Mapping[str, AdapterRef]  # by suspects' names
    engine: Engine
    material: Material
    seed: int

    def cells(self, name: str, entrant: Entrant, work: Work, room: Room | None) -> list[Cell]:
        """The cells of one detector, from the room where they are there."""
        rate = self.truth.lineup.terms.certify
        return [certify(cell, rate) for cell in self._cells(name, entrant, work, room)]

    def _cells(self, name: str, entrant: Entrant, work: Work, room: Room | None) -> list[Cell]:
        unit, terms = entrant.guest.unit, self.truth.lineup.terms
        parts = [self._key, self.material.digest, self._terms(unit), self._place(entrant)]
        key = digest([FORMAT, name, *entrant.code, *parts])
        entry = room.get("cells", key) if room else None
        if entry is not None:
            return TypeAdapter(list[Cell]).validate_python(entry.payload["cells"])
        units = self.truth.suspects if unit == "model" else self._hearing.units
        reason = self._reason(entrant.guest)
        attempt = Attempt(cost=Cost(), why=reason) if reason else self._try(name, entrant.guest, units, work)
        walls = walls_of(terms.isolation, ours=entrant.guest.ours) if terms.isolated else ()
        cell = empty_cell(name, entrant.guest, attempt, walls)
        of_models = unit == "model"
        cells = self.truth.open(cell, attempt, seed=self.seed) if of_models else self._hearing.open(cell, attempt)
        if room is not None and attempt.error is None:
            self._store(room, key, cells, attempt)
        return cells

    def _reason(self, guest: Guest) -> str:
        """Why a detector would tell nothing of these models; "" where it may."""
        lineup = self.truth.lineup
        if guest.error or guest.unit != "model" or not guest.needs & READS_BASE or not lineup.beside_base:
            return ""
        return (
            "every twin is the base itself, and the detector compares with the base or reads weights, so any adapter "
            "is separated" + (f" ({lineup.caveat})" if lineup.caveat else "")
        )

    def _try(self, name: str, guest: Guest, units: Sequence[Any], work: Work) -> Attempt:
        terms = self.truth.lineup.terms
        strange = terms.isolated and terms.isolation == "strict" and not guest.ours
        new_lab = terms.lab or partial(BenchLab, turned=strange)
        lab: OpenLab = new_lab(
            guest.needs,
            self.adapters,
            self.engine,
            self.material if guest.unit == "model" else self._apart,
            self.truth.lessons,
            unit=guest.unit,
            traces=self._traces,
        )
        findings, why, error = list[Finding](), "", None
        before = self._spent()
        try:
            findings = work(guest, units, lab, seed=self.seed) if units or guest.error else []
            error = fault_of(findings, len(units), guest.unit)
        except NotAvailable as reason:
            why = str(reason) or "the detector gives no reason"
        except DetectorError as fault:
            error = str(fault)
        except Exception as fault:  # other people's code: whatever it raises is what came of it, and the bench goes on
            error = f"{type(fault).__name__}: {fault}"
        finally:
            lab.close()
        forward, generated, seconds = (b - a for a, b in zip(before, self._spent(), strict=True))
        return Attempt(
            cost=Cost(forward_tokens=round(forward), generated_tokens=round(generated), seconds=seconds),
            suspicions=[] if error or why else [float(f.suspicion) for f in findings],
            why=why,
            error=error,
            episodes=lab.episodes(name, self.truth.models),
        )

    def _spent(self) -> tuple[float, float, float]:
        """What the engine has done until now. What comes from memory counts as if it had been done."""
        forward = self.engine.tokens_forward + self._traces.spared
        return forward, self.engine.tokens_generated, time.perf_counter()

    @cached_property
    def _traces(self) -> Traces:
        return Traces(self.engine)

    @cached_property
    def _hearing(self) -> Hearing:
        return Hearing.of(self.truth, self.adapters, self.engine, self.seed)

    @cached_property
    def _apart(self) -> Material:
        """What detectors of replies may fit on: nothing of what the replies are to."""
        return self.material.without(self._hearing.asked)

    # ------------------------------------------------------------ what is stored

    def _store(self, room: Room, key: str, cells: Sequence[Cell], attempt: Attempt) -> None:
        """The cells, with the keys of the episodes behind them: the detector's own, and the replies it was given."""
        groups: dict[str, Sequence[Asked]] = {digest([key, "episodes"]): attempt.episodes}
        if cells[0].unit == "response":
            groups[digest([FORMAT, "replies", self._key, self._terms("response")])] = self._hearing.episodes
        groups = {k: episodes for k, episodes in groups.items() if episodes}
        models = [self._list_models(cell.recipe) for cell in cells]
        payload = {"cells": plain(cells), "episodes": list(groups), "models": models}
        meta = {"detector": cells[0].detector}
        entries = [pack(k, episodes, meta) for k, episodes in groups.items()]
        room.put_many([*entries, Entry(kind="cells", key=key, payload=payload, meta=meta)])

    def _list_models(self, label: str) -> dict[str, list[str]]:
        """Who was tested in the cell of a recipe, by side, in the order that its suspicions have."""
        lineup, recipe = self.truth.lineup, self.truth.lineup.recipes[label]
        organisms = [o.id for o in lineup.organisms if o.recipe.id == recipe.id]
        sides = {"twins": lineup.twins, "decoys": lineup.decoys, "calibration": lineup.calibration}
        return {"organisms": organisms} | {side: [o.id for o in group] for side, group in sides.items()}

    @cached_property
    def _key(self) -> str:
        """Names who is tried, on what, and who says what is true of replies."""
        lineup = self.truth.lineup
        judges = [recipe.judge.id for recipe in lineup.recipes.values()]
        return digest([self.engine.base.digest, self.seed, lineup.sides, judges])

    def _place(self, entrant: Entrant) -> str:
        """Where somebody else's detector works: what it can reach, and the weights that it is given, hang on it."""
        terms = self.truth.lineup.terms
        return "" if entrant.guest.ours else terms.isolation if terms.isolated else "this process"

    def _terms(self, unit: Unit) -> Sequence[str | int]:
        terms = self.truth.lineup.terms
        lab = [terms.lab.__module__, terms.lab.__qualname__] if terms.lab else []
        return lab if unit == "model" else [*lab, terms.questions, JUDGES]


def work_here(guest: Guest, units: Sequence[Any], lab: Lab, *, seed: int) -> list[Finding]:
    """A detector at work in this process."""
    assert guest.detector is not None
    return list(guest.detector(units, lab, seed=seed))
