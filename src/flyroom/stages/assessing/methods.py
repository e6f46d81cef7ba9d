"""Methods of red teams put to a model, alone, whoever it is: a calibrated one, or the one that is assessed.

A method gets what `flyroom redteam` gives it: the address of an endpoint on this machine, one suspect under a drawn
name, the catalogue of behaviours, and the base where the target is a folder. Its questions to a model behind an
endpoint go over the assessment's own line, so they are within the budget, tried again, counted and kept. Its suspicion
is one more part of the locked instrument; what it claims stands beside it.

A method that fails on a calibrated model ends the assessment before the target is asked. One that fails on the target,
or whose questions went unanswered, was not read there.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flyroom.assess import Member, Reading
from flyroom.assess.conclude import MISSING
from flyroom.claims import Claim, GameError
from flyroom.engine.endpoint import SPENT
from flyroom.redteam import Brief, Storable, examine
from flyroom.room import Room
from flyroom.stages.assessing.reading import Instrument, Sitting
from flyroom.stages.assessing.targets import Target
from flyroom.types import BASE, AdapterRef, Engine, Entry, Organism, Watch, ask_seed, digest

KIND = "claim"  # of entries
FORMAT = 2


def claim_of(method: Storable, instrument: Instrument, engine: Any, ref: AdapterRef) -> Claim:
    """What a method claims of one model. Raises GameError for a method that fails, or claims what nobody asked."""
    from flyroom.serve import House, app, serving

    name = f"suspect-{secrets.token_hex(4)}"
    models = {name: ref} | ({"base": BASE} if instrument.beside_base else {})
    house = House(alike=True)  # or the limit of the context tells a model with a prompt of its own from the base
    with serving(app(engine, models, max_tokens=instrument.sheet.max_tokens, house=house)) as url:
        brief = Brief(
            endpoint=url,
            suspects=(name,),
            catalogue=instrument.catalogue,
            base="base" if instrument.beside_base else "",
            seed=ask_seed("assess", instrument.seed, method.id) % 2**31,
        )
        return examine(method, brief, {name: "model"})[0]


# ---------------------------------------------------------------- calibrated models


def add_claims(
    members: Sequence[Member],
    organisms: Sequence[Organism],
    instrument: Instrument,
    engine: Engine,
    room: Room,
    watch: Watch | None,
) -> list[Member]:
    """Each calibrated model with what methods claim of it, from the room where they were asked before. Raises
    ValueError for a method that fails.
    """
    if not instrument.methods:
        return list(members)
    richer = []
    for number, (member, organism) in enumerate(zip(members, organisms, strict=True)):
        if watch:
            watch("methods", number, len(members), organism.recipe.name)
        claims = {
            name: _claim_of_member(method, instrument, organism, engine, room)
            for name, method in instrument.methods.items()
        }
        richer.append(_with(member, claims))
    if watch:
        watch("methods", len(members), len(members), "")
    return richer


def _claim_of_member(method: Storable, instrument: Instrument, organism: Organism, engine: Engine, room: Room) -> Claim:
    terms = [instrument.catalogue, instrument.beside_base, instrument.sheet.max_tokens, instrument.seed]
    key = digest([FORMAT, method.id, engine.base.digest, organism.id, *terms])
    entry = room.get(KIND, key)
    if entry is None:
        (ref,) = engine.load([organism.patch])
        try:
            claim = claim_of(method, instrument, engine, ref)
        except GameError as error:
            raise ValueError(f"a method failed on the calibrated model {organism.id[:12]}: {error}") from error
        finally:
            engine.free([ref])
        payload = {"suspicion": claim.suspicion, "behaviour": claim.behaviour}
        entry = room.put_many([Entry(kind=KIND, key=key, payload=payload, meta={"organism": organism.id})])[0]
    return Claim(suspect="model", **entry.payload)


def _with(member: Member, claims: Mapping[str, Claim]) -> Member:
    readings = {name: Reading(float(claim.suspicion)) for name, claim in claims.items()}
    return replace(
        member,
        readings={**member.readings, **readings},
        claims={name: claim.behaviour for name, claim in claims.items()},
    )


# ---------------------------------------------------------------- the model


def add_claims_of_target(sitting: Sitting, instrument: Instrument, target: Target) -> Sitting:
    """The sitting with what methods claim of the target. What could not be told is a note."""
    for name, method in instrument.methods.items():
        before = _count_requests(target)
        try:
            claim = claim_of(method, instrument, target.engine, target.ref)
        except GameError as error:
            sitting = _note(sitting, f"{name} could not be read: {error}")
            continue
        total, faults = (b - a for a, b in zip(before, _count_requests(target), strict=True))
        if faults > MISSING * total:
            sitting = _note(sitting, f"{name} was not read: {faults} of its {total} questions got no answer")
            continue
        sitting = replace(
            sitting,
            readings={**sitting.readings, name: Reading(float(claim.suspicion))},
            claims={**sitting.claims, name: claim.behaviour},
        )
    return sitting


def _note(sitting: Sitting, words: str) -> Sitting:
    return replace(sitting, notes=(*sitting.notes, words))


def _count_requests(target: Target) -> tuple[int, int]:
    """Answers that were wanted of an endpoint so far, and those that did not come; none for a folder."""
    if target.endpoint is None:
        return 0, 0
    account = target.endpoint.account
    faults = account.faults.total()
    unsent = account.faults[SPENT]  # these were no requests
    return account.requests + account.from_room + unsent, faults
