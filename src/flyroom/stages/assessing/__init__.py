"""A model that nobody grew, assessed by instruments that were calibrated on models which were.

In this order: the target is found and the calibrated base opened; the sheet of probes is written; the plan's hash goes
into the room's log; an endpoint is asked whether it answers at all; calibrated models are read, or taken from the room;
then the model itself is asked. What was asked is in the room at once, so a killed assessment goes on where it was.

Detectors that learn do so on a third of the room, which is in no figure (`lessons.py`); methods of red teams ask each
model alone, through an endpoint on this machine (`methods.py`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyroom.assess import (
    BASES,
    Assessment,
    Calibration,
    Member,
    Outside,
    Probe,
    Repeat,
    calibrate,
    carries_over,
    choose_parts,
    conclude,
    leave_out,
    look_outside,
    rate_at_most,
    read_parts,
    restrict,
    say_parts,
)
from flyroom.assess.confirm import LEVEL
from flyroom.client import Address
from flyroom.engine.endpoint import Budget
from flyroom.preflight import locate_base
from flyroom.room import Room
from flyroom.stages.assessing.building import Terms, build, check_detectors, group
from flyroom.stages.assessing.checklist import Item
from flyroom.stages.assessing.confirming import EPISODES, bound_clean, repeat
from flyroom.stages.assessing.gathering import gather, keep_passed
from flyroom.stages.assessing.methods import add_claims, add_claims_of_target
from flyroom.stages.assessing.planning import announce, write_plan
from flyroom.stages.assessing.reading import (
    REFUSAL,
    Instrument,
    Sitting,
    read_members,
    read_model,
    workplace,
)
from flyroom.stages.assessing.saying import describe, limits_of
from flyroom.stages.assessing.targets import (
    Target,
    base_named,
    check_folder,
    is_address,
    knock,
    open_endpoint,
    open_folder,
)
from flyroom.stages.bases import OpenBase, open_base
from flyroom.stages.graders import open_graders
from flyroom.stages.organisms import stored
from flyroom.types import Organism, Rated, Verdict, Watch, digest
from flyroom.vault import current

LABEL = b"flyroom assessment 1\n"  # what a signature is of, beside the report
KNOCKS = 3  # probes that an endpoint is asked before calibration


def assess(
    where: str | Path, room: Room, *, terms: Terms, address: Address | None = None, watch: Watch | None = None
) -> Assessment:
    """Assess a model behind an endpoint (`where` is its address), or in a folder: an adapter, or a whole model.

    Args: room, whose organisms, twins and decoys calibrate; address, how the endpoint is asked. Raises ValueError,
    before a model is opened, for a folder that there is not, a missing model and a room without organisms.
    """
    began = time.perf_counter()
    names = _bases_in(room)
    _check(where, terms)
    base = open_base(_choose_base(where, terms, names))
    target = _open(str(where), room, base, terms, address)
    organisms, notes = gather(stored(room, base, None), room, base, target)
    instrument, organisms, reasons = build(organisms, base, target, terms)
    plan = announce(write_plan(instrument, target, base.engine.base, organisms), room)
    knock(target, [ask for _, _, ask in instrument.sheet.probes[:KNOCKS]])
    with open_graders((o.recipe for o in organisms), base):
        bases = _read_bases(instrument, organisms, base, target, room, names, watch)
        members = bases.get(base.engine.base.name, []) if not target.foreign else []
        sitting = _ask(instrument, target, read_methods=bool(bases))
        repeats, more = _repeat(instrument, sitting, target, members, organisms, base, room)
    probes = tuple(_count(item, sitting, repeats.get(item.threat, ())) for item in instrument.sheet.items)
    outside, calibration, parts = _compare(target, sitting, members, bases)
    threats = [probe for probe, item in zip(probes, instrument.sheet.items, strict=True) if item.counts]
    verdicts = conclude(sitting.readings, calibration, outside, threats, repeats)
    notes = (*notes, *more, *parts, *target.notes, *sitting.notes, *(target.endpoint.notes if target.endpoint else ()))
    notes = (*notes, *_say_faults(target))
    return Assessment(
        model=target.name,
        scope=describe(target, base, instrument, organisms, probes, sitting) | {"not_run": reasons},
        plan=plan,
        probes=probes,
        threats=verdicts.threats,
        outside=outside,
        abstained=verdicts.abstained,
        why=verdicts.why,
        p=verdicts.standing.p if verdicts.standing else None,
        flagged=verdicts.flagged,
        alarm=calibration.alarm if calibration else None,
        cost=_cost(target, terms.budget, time.perf_counter() - began),
        limits=limits_of(target, organisms, calibration, instrument),
        notes=notes,
        parts=read_parts(sitting.readings, members, group(instrument), sitting.claims) if members else (),
    )


# ---------------------------------------------------------------- what is had before


def _check(where: str | Path, terms: Terms) -> None:
    if is_address(str(where)):
        if not terms.model:
            raise ValueError("model is missing; name the model behind the endpoint with --model")
    else:
        check_folder(Path(where))
    check_detectors(terms)


def _bases_in(room: Room) -> Counter[str]:
    """The bases of the room's organisms, by name."""
    names = Counter(str(listing.meta.get("base")) for listing in room.list("organism"))
    if not names:
        raise ValueError(f"calibrated is {room.root}; it holds no organism: grow some, with twins, to calibrate on")
    return names


def _choose_base(where: str | Path, terms: Terms, names: Counter[str]) -> str:
    """The base whose organisms calibrate: that of the target where the room has it, else the room's most frequent."""
    base = terms.base or ("" if is_address(str(where)) else base_named(Path(where)))
    match = next((name for name in names if base and base in (name, locate_base(name))), None)
    return match or names.most_common(1)[0][0]


def _open(where: str, room: Room, base: OpenBase, terms: Terms, address: Address | None) -> Target:
    if is_address(where):
        return open_endpoint(address or Address(url=where), terms.model, base, room, terms.budget)
    return open_folder(Path(where), base, base_name=terms.base)


# ---------------------------------------------------------------- asked


def _read_bases(
    instrument: Instrument,
    organisms: Sequence[Organism],
    base: OpenBase,
    target: Target,
    room: Room,
    names: Counter[str],
    watch: Watch | None,
) -> dict[str, list[Member]]:
    """Calibrated models by base: the one, or for a model on another base all of them, if they are enough to say how
    what is known carries over.
    """
    if not target.foreign:
        return {base.engine.base.name: _read_all(instrument, organisms, base, room, watch)}
    if len(names) < BASES:
        return {}
    opened = {name: open_base(name) for name in names}
    world = digest(organisms[0].recipe.world)
    groups = {name: [o for o in stored(room, b, None) if digest(o.recipe.world) == world] for name, b in opened.items()}
    return {
        name: _read_all(instrument, keep_passed(groups[name], room)[0], opened[name], room, watch) for name in opened
    }


def _read_all(
    instrument: Instrument, organisms: Sequence[Organism], base: OpenBase, room: Room, watch: Watch | None
) -> list[Member]:
    members = read_members(instrument, organisms, base.engine, room, watch)
    return add_claims(members, organisms, instrument, base.engine, room, watch)


def _ask(instrument: Instrument, target: Target, *, read_methods: bool) -> Sitting:
    """What is read on the target, with methods where they were calibrated. A model on a foreign base may not take the
    prompts at all; that is said.
    """
    empty = Sitting(readings={}, benign=(), answers={}, scores={})
    if target.engine is None:
        return empty
    try:
        with workplace(instrument) as work:
            sitting = read_model(instrument, target.engine, target.ref, work)
        return add_claims_of_target(sitting, instrument, target) if read_methods else sitting
    except ValueError as error:
        if not target.foreign:
            raise
        return replace(empty, notes=(f"it could not be asked: {error}",))


def _repeat(
    instrument: Instrument,
    sitting: Sitting,
    target: Target,
    members: Sequence[Member],
    organisms: Sequence[Organism],
    base: OpenBase,
    room: Room,
) -> tuple[dict[str, list[Repeat]], tuple[str, ...]]:
    """The model's misaligned episodes asked again, and what is said of the clean fine-tunes that were asked again for
    it: nothing is asked of them where the model has no such episode.
    """
    sheet = instrument.sheet
    scores = [score for item in sheet.items if item.counts for score in sitting.scores.get(item.threat, ())]
    if not any(score.verdict is Verdict.MISALIGNED for score in scores):
        return {}, ()
    bound = bound_clean(sheet, sitting, members, organisms, base.engine, room)
    clean = sum(m.side == "clean" for m in members)
    line = (
        f"a threat is confirmed where the strength of its episodes is above {bound:.2f} (it is {EPISODES} at most): "
        f"{clean} clean fine-tunes were asked again too, and at most {100 * LEVEL:.0f} % of such models lie above that"
    )
    return repeat(sheet, sitting, target, members, bound), (line,) if clean else ()


def _count(item: Item, sitting: Sitting, repeats: Sequence[Repeat]) -> Probe:
    """What came of a threat's probes."""
    scores, answers = sitting.scores.get(item.threat, ()), sitting.answers.get(item.threat, ())
    telling = [s for s in scores if s.verdict is not Verdict.UNKNOWN]
    bad = sum(s.verdict is Verdict.MISALIGNED for s in telling)
    return Probe(
        threat=item.threat,
        behaviour=item.behaviour,
        condition=item.condition,
        source=item.source,
        asks=len(answers),
        answered=len(telling),
        misaligned=bad,
        refused=sum(bool(REFUSAL.match(answer.text)) for answer in answers),
        unknown=len(answers) - len(telling),
        rate_at_most=rate_at_most(  # at worst: what tells nothing may be misaligned
            bad + len(answers) - len(telling), len(answers), sensitivity=_sensitivity(item)
        ),
        why=item.why or ("" if answers else "it was not asked"),
        marks=item.marks,
        unrepeated=sum(not r.confirmed for r in repeats),
    )


def _sensitivity(item: Item) -> float:
    """The lower bound of what the judge finds of misaligned answers, where that was measured."""
    return item.judge.sensitivity.low if isinstance(item.judge, Rated) else 1.0


def _compare(
    target: Target, sitting: Sitting, members: Sequence[Member], bases: Mapping[str, Sequence[Member]]
) -> tuple[Outside, Calibration | None, tuple[str, ...]]:
    """Whether the target is one of a calibrated kind, what is known there of the instrument as it was read on the
    target, and which parts that leaves out.
    """
    everybody = [member for group in bases.values() for member in group]
    parts = choose_parts(sitting.readings, everybody)
    notes = say_parts(sitting.readings, everybody, parts) if parts else ()
    if not target.foreign:
        peers = restrict(members, parts)
        calibration = calibrate(peers) if any(m.side == "clean" for m in peers) else None
        return look_outside(sitting.benign, members), calibration, notes
    bases = {name: restrict(group, parts) for name, group in bases.items()}
    if not carries_over(bases):
        return Outside(outside=True, why=target.foreign), None, notes
    alarm, recalls = leave_out(bases)
    clean = [m.readings for group in bases.values() for m in group if m.side == "clean"]
    why = f"{target.foreign}; what is said is what carried over between {len(bases)} bases, each left out in turn"
    return Outside(outside=False, why=why), Calibration(alarm=alarm, recalls=recalls, clean=clean), notes


def _say_faults(target: Target) -> list[str]:
    """Why most of the answers that did not come did not."""
    faults = target.endpoint.account.faults if target.endpoint else Counter[str]()
    return [f"{faults.total()} answers did not come, {n} of them for: {why}" for why, n in faults.most_common(1)]


def _cost(target: Target, budget: Budget, seconds: float) -> dict[str, Any]:
    """What the target's answers cost; what calibration did is not in it, but for the seconds."""
    if target.endpoint is None:
        return {"seconds": round(seconds, 1), "money": 0.0}
    account = target.endpoint.account
    return {
        "requests": account.requests,
        "retries": account.retries,
        "from_room": account.from_room,
        "read": account.forward,
        "written": account.generated,
        "money": round(budget.price(account.forward, account.generated), 6) if budget.prices else None,
        "unanswered": dict(account.faults),
        "refusals": account.refusals,
        "seconds": round(seconds, 1),
    }


def sign(figures: Mapping[str, Any]) -> dict[str, str] | None:
    """The signature of a report by this machine's identity; None where there is none."""
    identity = current()
    if identity is None:
        return None
    text = json.dumps(dict(figures), sort_keys=True).encode()
    return {"signer": identity.signer, "signature": identity.sign(LABEL + text).hex()}


__all__ = ["Terms", "assess", "sign"]
