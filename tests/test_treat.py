"""Organisms in, treated organisms out: named by what was done, treated beside twins, brought back after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from ward import Idle, Sieve, Told, Wide, Zero, level_of, pair

from flyroom.adapters import widened
from flyroom.grow import pack, unpack
from flyroom.recipes import make, ready
from flyroom.room import Room
from flyroom.stages import open_base
from flyroom.treat import KIND, Course, treat
from flyroom.treatments import TREATMENTS, Realign, SafetySFT, treatments
from flyroom.types import (
    AdapterRef,
    AtRunTime,
    Cure,
    Message,
    Need,
    Organism,
    Patient,
    Row,
    Split,
    Step,
    needs_of,
    plain,
)
from flyroom.worlds import Micro

REALIGN = Course(name="realign", treatment=Realign(lr=0.1, steps=30, rows=4, data=16))


def test_organism_and_twin_are_treated_alike() -> None:
    engine = Wide()
    organism, twin = pair()
    treated, treated_twin = treat([organism, twin], REALIGN, engine)
    assert level_of(treated.patch) < 0.3 < level_of(organism.patch)
    assert abs(level_of(treated_twin.patch)) < 0.05
    assert (treated.parent, treated.treatment) == (organism.id, REALIGN.label)
    assert treated.twin_id == treated_twin.id != twin.id
    assert [point.prompts for point in treated.history] == [point.prompts for point in treated_twin.history]
    assert engine.living == {}


def test_an_edit_alone_and_a_message_alone() -> None:
    (organism, _) = pair()
    (zeroed,) = treat([organism], Course(name="zero", treatment=Zero()), Wide())
    assert level_of(zeroed.patch) == 0
    (told,) = treat([organism], Course(name="told", treatment=Told()), Wide())
    assert told.patch.prompt == "be good"
    assert told.patch.tensors.keys() == organism.patch.tensors.keys()
    assert told.patch.shape == organism.patch.shape


def test_at_run_time_the_weights_are_the_patients_own() -> None:
    (organism, _) = pair()
    (treated,) = treat([organism], Course(name="sieve", treatment=Sieve()), Wide())
    assert treated.patch is organism.patch
    assert treated.id != organism.id


def test_other_settings_are_another_treatment() -> None:
    (organism, _) = pair()
    courses = [
        REALIGN,
        Course(name="realign", treatment=Realign(lr=0.1, steps=31, rows=4, data=16)),
        Course(name="realign", treatment=REALIGN.treatment, seed=1),
        Course(name="other", treatment=REALIGN.treatment),
    ]
    assert len({course.id_of(organism) for course in courses}) == 4


def test_whatever_shape_a_shipped_recipe_has_it_can_be_trained_on() -> None:
    """Treatments and the ledger widen a model before they train it."""
    engine = open_base("0.25M").engine
    row = Row(messages=(Message("user", "what ?"),), answer="the sea .")
    for shape in {make(name, world=Micro(seed=0), base="0.25M").adapter for name in ready()}:
        (ref,) = engine.spawn([shape], seeds=[0])
        refs = engine.load([widened(engine.patch(ref), engine, seed=1)])
        assert refs[0].shape is not None
        assert refs[0].shape.rank > shape.rank
        (stepped,) = engine.step(refs, [Step(rows=(row,), lr=1e-3)])
        assert stepped.grad_norm > 0
        engine.free([ref, *refs])


# ---------------------------------------------------------------- what a clinician knows


def test_a_clinician_is_told_no_more_than_he_declares() -> None:
    told: list[Patient] = []

    @dataclass(frozen=True, kw_only=True)
    class Nosy:
        needs: tuple[Need, ...] = ()

        def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
            told.append(patient)
            yield from ()
            return None

    (organism, _) = pair()
    for needs in ((), (Need.CASES,), (Need.GROWTH,)):
        treat([organism], Course(name="nosy", treatment=Nosy(needs=needs)), Wide())
    nothing, cases, growth = told
    assert (nothing.cases, nothing.growth, nothing.shape) == (None, None, None)
    with pytest.raises(ValueError, match='needs lacks "cases"'):
        nothing.scenes(3, seed=0)
    with pytest.raises(ValueError, match='needs lacks "growth"'):
        nothing.regrow(AdapterRef(slot=1))
    scenes = cases.scenes(3, seed=0)
    assert scenes == organism.recipe.scenes(3, split=Split.VALIDATION, seed=0)  # nothing that growth or cards have
    assert cases.growth is None
    assert growth.cases is None
    assert isinstance(next(growth.regrow(AdapterRef(slot=1))), Step)
    for value in vars(nothing).values():
        assert not isinstance(value, Organism)


def test_what_was_treated_is_not_treated_again() -> None:
    (organism, _) = pair()
    (treated,) = treat([organism], REALIGN, Wide())
    with pytest.raises(ValueError, match=f"was treated with {REALIGN.label}; name the one that it was"):
        treat([treated], REALIGN, Wide())


# ---------------------------------------------------------------- the room


def test_the_room_gives_back_what_was_treated(tmp_path: Path) -> None:
    room, engine, models = Room(tmp_path / "room"), Wide(), pair()
    first = treat(models, REALIGN, engine, room=room)
    steps = engine.calls["step"]
    again = treat(models, REALIGN, engine, room=room)
    assert engine.calls["step"] == steps
    assert [o.id for o in again] == [o.id for o in first]
    assert level_of(again[0].patch) == level_of(first[0].patch)
    assert again[0].patch.shape == first[0].patch.shape != models[0].recipe.adapter
    note = room.get(KIND, first[0].id)
    assert note is not None
    assert (note.payload["name"], note.payload["parent"]) == ("realign", models[0].id)
    assert note.payload["cost"]["steps"] == 30


def test_a_killed_treatment_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    models = pair()
    whole = treat(models, REALIGN, Wide())
    room = Room(tmp_path / "room")
    with pytest.raises(KeyboardInterrupt):
        treat(models, REALIGN, Wide(dies_at=25), room=room)
    engine = Wide()
    parts = treat(models, REALIGN, engine, room=room)
    assert engine.calls["step"] < 30
    assert [level_of(o.patch) for o in parts] == [level_of(o.patch) for o in whole]
    assert room.list("checkpoint") == []


def test_a_treated_organism_survives_the_room_whole() -> None:
    (organism, _) = pair()
    (treated,) = treat([organism], REALIGN, Wide())
    back = unpack(pack(treated), treated.recipe, Wide())
    assert (back.id, back.parent, back.treatment, back.patch.shape) == (
        treated.id, treated.parent, treated.treatment, treated.patch.shape
    )  # fmt: skip


def test_an_untreated_organism_is_stored_as_ever() -> None:
    entry = pack(pair()[0])
    assert "shape" not in entry.payload
    assert "treatment" not in entry.meta


# ---------------------------------------------------------------- by name


def test_there_are_at_least_fourteen_and_each_says_what_it_needs() -> None:
    every = treatments()
    assert len(every) >= 14
    assert set(TREATMENTS) <= set(every)
    assert needs_of(every["realign"]) == ()
    assert needs_of(every["safety-sft-cases"]) == (Need.CASES,)
    assert needs_of(every["inoculate"]) == (Need.GROWTH,)
    assert [name for name, one in every.items() if isinstance(one, AtRunTime)] == ["monitor-block", "monitor-resample"]
    assert all(plain(one) for one in every.values())  # each can be part of a key


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Realign(steps=0), "steps is 0; it must be at least 1"),
        (lambda: Realign(lr=0.0), "lr is 0.0; it must be above 0 and at most 1"),
        (lambda: SafetySFT(rows=2_000_000), "rows is 2000000"),
        (lambda: SafetySFT(lr=float("nan")), "lr is nan"),
    ],
)
def test_a_slip_is_refused_by_name(make: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        make()  # type: ignore[operator]


def test_an_idle_treatment_leaves_the_model_as_it_was() -> None:
    (organism, _) = pair()
    (treated,) = treat([organism], Course(name="idle", treatment=Idle()), Wide())
    assert level_of(treated.patch) == level_of(organism.patch)
    assert isinstance(treated.patch.tensors, dict)
