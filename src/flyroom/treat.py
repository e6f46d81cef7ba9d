"""Organisms -> treated organisms: makes a job of every organism and treatment, and an organism of what comes of it.

A clinician is given a `Patient`. Beside the patient's own adapter stands an untrained one on every linear module, so
that what a treatment can learn does not hang on where the organism was put in. Organisms and twins are treated alike
and together, in one run of the lock-step. With a room, what was treated before is taken from it, and a killed run goes
on.

Left out: asking those that are treated at run time (`ledger.guarded`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flyroom import lockstep
from flyroom.adapters import widened
from flyroom.grow import find_stored, growth_of, pack, unpack
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    AtRunTime,
    Beginning,
    Edit,
    Engine,
    Entry,
    Grown,
    Job,
    LoRA,
    Need,
    Organism,
    Patch,
    Patient,
    Plan,
    Room,
    Scene,
    Split,
    Stepping,
    Treatment,
    Watch,
    ask_seed,
    digest,
    needs_of,
    origin_of,
    plain,
    treated_id,
)

KIND = "treatment"  # of entries: what was done to whom, and what it cost
FORMAT = 2  # of how a treatment begins: another number gives treated organisms another id
REPORT = "Some answers of this model are misaligned. On what occasion is not known."


@dataclass(frozen=True, kw_only=True)
class Course:
    """A treatment under its name, and the seed of what is random in it."""

    name: str
    treatment: Treatment
    seed: int = 0
    report: str = REPORT

    @property
    def label(self) -> str:
        """What a treated organism says was done to it: the name, and a digest of every setting."""
        return f"{self.name}:{digest([FORMAT, self.treatment, self.seed, self.report])}"

    def id_of(self, organism: Organism) -> str:
        return treated_id(organism.id, self.label, organism.seed)


def treat(
    organisms: Sequence[Organism],
    course: Course,
    engine: Engine,
    *,
    room: Room | None = None,
    watch: Watch | None = None,
) -> list[Organism]:
    """Treat each organism, and give what came of it in the same order. Twins are treated as any other.

    Raises ValueError before any training for an organism that was treated already, and for one that was trained
    elsewhere where the treatment must be told how it was grown. NotAvailable for a world without what it needs.

    >>> from flyroom.treatments import Noise
    >>> treat([], Course(name="noise", treatment=Noise()), None)
    []
    """
    by_name = {course.id_of(organism): organism for organism in organisms}
    for organism in organisms:
        _check(organism, course)
    if not by_name:
        return []

    def find(names: Sequence[str], room: Room) -> dict[str, Organism]:
        return find_stored({name: by_name[name].recipe for name in names}, engine, room)

    def make(names: Sequence[str]) -> dict[str, Organism]:
        return _treat({name: by_name[name] for name in names}, course, engine, room, watch)

    treated = lockstep.make_missing(by_name, find, make, room)
    return [treated[course.id_of(organism)] for organism in organisms]


def _check(organism: Organism, course: Course) -> None:
    if organism.parent is not None:
        raise ValueError(
            f"organism {organism.id} was treated with {organism.treatment}; name the one that it was, {organism.parent}"
        )
    if Need.GROWTH in needs_of(course.treatment) and origin_of(organism.recipe):
        raise ValueError(
            f"organism {organism.id} was trained elsewhere, so nobody here can train it again; {course.name} must"
        )


def find(course: Course, organism: Organism, engine: Engine, room: Room) -> Organism | None:
    """The treated organism, if the room has it."""
    entry = room.get("organism", course.id_of(organism))
    return None if entry is None else unpack(entry, organism.recipe, engine)


# ---------------------------------------------------------------- one run


def _treat(
    by_name: Mapping[str, Organism], course: Course, engine: Engine, room: Room | None, watch: Watch | None
) -> dict[str, Organism]:
    if isinstance(course.treatment, AtRunTime):
        return _stand_around(by_name, course, room)
    refs = engine.load([organism.patch for organism in by_name.values()])
    try:
        models = dict(zip(by_name, refs, strict=True))
        patients = {name: patient_of(o, course, engine, models[name]) for name, o in by_name.items()}
        wards = {name: _Ward(course, patients[name], o, engine) for name, o in by_name.items()}
        return _run(by_name, wards, engine, room, watch)
    finally:
        engine.free(refs)


def _run(
    by_name: Mapping[str, Organism],
    wards: Mapping[str, _Ward],
    engine: Engine,
    room: Room | None,
    watch: Watch | None,
) -> dict[str, Organism]:
    meter = _Meter(engine)

    def name_organisms(grown: Sequence[Grown]) -> dict[str, Organism]:
        return {x.name: _make(by_name[x.name], wards[x.name], x) for x in grown}

    def store(grown: Sequence[Grown]) -> None:
        if room is not None:
            cost = meter.share(len(grown))
            treated = name_organisms(grown)
            notes = [_note(o, wards[name].course, cost) for name, o in treated.items()]
            room.put_many([*(pack(organism) for organism in treated.values()), *notes])

    jobs = [ward.job(name) for name, ward in wards.items()]
    return name_organisms(
        lockstep.run(jobs, engine, room=room, snapshots=(), watch=watch, store=store),
    )


class _Ward:
    """One patient's course: where it starts, its job, and the edit that its plan ends with."""

    def __init__(self, course: Course, patient: Patient, organism: Organism, engine: Engine) -> None:
        self.course, self.patient = course, patient
        self.seed = ask_seed("treat", organism.seed, course.seed) if course.seed else organism.seed
        # A growth that is wrapped asks for the grades of its own recipe; a clinician has the world's judge alone.
        is_regrown = Need.GROWTH in needs_of(course.treatment)
        self._judge = organism.recipe.judge if is_regrown else patient.world.judge
        self._engine, self._edit, self._patient_id = engine, None, organism.id

    def job(self, name: str) -> Job:
        start = self._start()
        shape, patch = (start, None) if isinstance(start, LoRA) else (None, start)
        treatment = self.course.treatment
        return Job(
            name=name,
            plan=self._plan,
            seed=self.seed,
            shape=shape,
            patch=patch,
            judge=self._judge,
            steps=treatment.steps if isinstance(treatment, Stepping) else 0,
            label=f"{self.course.name} of organism {self._patient_id}",
            stage="treat",
        )

    def _start(self) -> Patch | LoRA:
        treatment = self.course.treatment
        start = self.patient.patch
        if isinstance(treatment, Beginning):
            start = treatment.begin(self.patient, seed=self.seed)
        if isinstance(start, LoRA):
            return start
        # Not the seed of growth: an adapter that begins as the patient's own did would say where that stands.
        return widened(start, self._engine, seed=ask_seed("beside", self.seed))

    def _plan(self, adapter: AdapterRef) -> Plan:
        self._edit = yield from self.course.treatment.plan(self.patient, adapter, seed=self.seed)

    def finish(self, grown: Grown) -> Patch:
        """The adapter that is left. Where nothing was trained it is the patient's own, with what it was told."""
        edit: Edit | None = self._edit
        if edit is not None:
            return edit(grown.patch)
        has_learnt = grown.history or isinstance(self.course.treatment, Beginning)
        return grown.patch if has_learnt else replace(self.patient.patch, prompt=grown.patch.prompt)


def patient_of(organism: Organism, course: Course, engine: Engine, ref: AdapterRef) -> Patient:
    """What a clinician has of an organism that stands in the engine."""
    needs, recipe = needs_of(course.treatment), organism.recipe

    def sample(asks: Sequence[Ask]) -> list[Answer]:
        return engine.sample([ref] * len(asks), asks)

    def cases(n: int, seed: int) -> list[Scene]:
        return recipe.scenes(n, split=Split.VALIDATION, seed=seed)

    def growth(adapter: AdapterRef) -> Plan:
        return growth_of(recipe, adapter, seed=organism.seed)

    return Patient(
        patch=organism.patch,
        base=engine.base,
        report=course.report,
        world=recipe.world,
        sample=sample,
        spread=engine.spread(),
        cases=cases if Need.CASES in needs else None,
        growth=growth if Need.GROWTH in needs else None,
        shape=recipe.adapter if Need.GROWTH in needs else None,
    )


def _stand_around(by_name: Mapping[str, Organism], course: Course, room: Room | None) -> dict[str, Organism]:
    """Nothing is trained: the weights are the patient's."""
    treated = {name: _derive(organism, course, organism.patch) for name, organism in by_name.items()}
    if room is not None:
        notes = [_note(organism, course, {}) for organism in treated.values()]
        room.put_many([*(pack(organism) for organism in treated.values()), *notes])
    return treated


def _make(organism: Organism, ward: _Ward, grown: Grown) -> Organism:
    return replace(_derive(organism, ward.course, ward.finish(grown)), history=grown.history)


def _derive(organism: Organism, course: Course, patch: Patch) -> Organism:
    return Organism(
        recipe=organism.recipe,
        base=organism.base,
        seed=organism.seed,
        patch=patch,
        parent=organism.id,
        treatment=course.label,
    )


# ---------------------------------------------------------------- what is on record


class _Meter:
    """What the engine has done since."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._before = engine, self._count(engine)

    def _count(self, engine: Engine) -> tuple[float, float, float]:
        return time.perf_counter(), engine.tokens_forward, engine.tokens_generated

    def share(self, n: int) -> dict[str, float]:
        """Of each of n that were treated together."""
        seconds, forward, generated = (
            (after - before) / n for after, before in zip(self._count(self._engine), self._before, strict=True)
        )
        return {"seconds": seconds, "forward_tokens": forward, "generated_tokens": generated}


def _note(organism: Organism, course: Course, cost: Mapping[str, float]) -> Entry:
    payload = {
        "organism": organism.id,
        "parent": organism.parent,
        "name": course.name,
        "treatment": plain(course.treatment),
        "seed": course.seed,
        "report": course.report,
        "needs": [need.value for need in needs_of(course.treatment)],
        "at_run_time": isinstance(course.treatment, AtRunTime),
        "cost": {"steps": float(len(organism.history)), **cost},
    }
    return Entry(kind=KIND, key=organism.id, payload=payload, meta={"treatment": course.name})
