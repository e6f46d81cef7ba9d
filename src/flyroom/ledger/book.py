"""What a call of the ledger works with: questions by recipe, desks by treatment and organism, models that were trained
again; and a row of each case.

Every figure that is asked hangs on its own case alone: cases of one call share batches, and what belongs to the
untreated organism. What detectors make of a case is of all seeds of its recipe in the call.
With `Retraining(follow="fallen")` nothing is trained again for a case whose class is known without it: more than half
of the behaviour is left, or there was nothing before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_type_hints

from flyroom import types
from flyroom.card.desk import Desk, Draw, Refused, fingerprint
from flyroom.ledger import asking, rule
from flyroom.ledger.asking import Inquiry, Model
from flyroom.ledger.guarded import Guarded
from flyroom.ledger.retraining import Order, Retraining, Ward, check_benign, why_not_again, with_dose_of
from flyroom.measures import COHERENCE, PERPLEXITY, Measured
from flyroom.treat import REPORT, Course, patient_of
from flyroom.types import (
    AdapterRef,
    AtRunTime,
    Battery,
    Called,
    Engine,
    Entry,
    LedgerRow,
    NotMeasured,
    Organism,
    Patch,
    Patient,
    RelapsePoint,
    Room,
    Watch,
    departure_of,
    digest,
    needs_of,
    plain,
)

KIND = "ledger"  # of entries
ASIDE = NotMeasured(why="nothing could be asked")
NO_NEAR_MISS = NotMeasured(why="the condition asks nothing of near misses")
UNFOLLOWED = "only what fell was trained again, and this is called so without it: {}"
SHARED = (
    ("organism", "twin"),
    ("untreated", "untreated again"),
)  # models and orders that all treatments of an organism have in common
LIKE, TRIGGER, AGAIN = "on questions like the training ones", "behind its trigger", "after a tenth of the recipe"
CAPABILITY = "capability"
BEYOND, TWIN_BEYOND = "beyond the untreated twin", "the treated twin beyond the untreated one"
after: Callable[[int], str] = "after {} steps of benign re-training".format
SIDES = ("treated", "untreated", "twin")  # that are trained again
Detected = Mapping[str, Mapping[str, Measured]]
UNMEASURED = [name for name, hint in get_type_hints(LedgerRow, None, vars(types)).items() if hint == Measured]


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """An organism and its twin, both treated, and what detectors made of them: AUROC "before" and "after" by name."""

    course: Course
    organism: Organism
    twin: Organism
    treated: Organism
    treated_twin: Organism
    detectors: Detected = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)


def guard(engine: Engine, course: Course, organisms: Sequence[Organism]) -> Engine:
    """The engine on which treated organisms answer: the same, or the one that their treatment at run time makes. There
    an adapter with the weights of one of these is that one, and any other, such as a copy that a detector made, is one
    of the first's recipe.
    """
    treatment = course.treatment
    if not isinstance(treatment, AtRunTime):
        return engine
    owners = {fingerprint(organism.patch): organism for organism in reversed(organisms)}
    of_patch: dict[int, tuple[Patch, Organism]] = {}  # by the object, since hashing its weights takes long

    def admit(ref: AdapterRef, patch: Patch) -> Patient:
        if id(patch) not in of_patch:
            of_patch[id(patch)] = patch, owners.get(fingerprint(patch), organisms[0])
        return patient_of(replace(of_patch[id(patch)][1], patch=patch), course, engine, ref)

    about = [] if course.report == REPORT else [course.report]
    if needs_of(treatment):
        about += sorted({organism.recipe.id for organism in organisms})
    return Guarded(engine, treatment, admit, about)


class Book:
    """What the ledger of one call shares: questions by recipe, desks by treatment and organism, and models that were
    trained. With a room all of it is kept there, for another process that writes the rows.
    """

    def __init__(self, engine: Engine, *, seed: int, episodes: int, how: Retraining, room: Room | None) -> None:
        self._engine, self._seed, self._episodes, self._how, self._room = engine, seed, episodes, how, room
        self._plain = Desk(engine, seed=seed, room=room)
        self._desks: dict[tuple[str, str], Desk] = {}
        self._inquiries: dict[str, Inquiry | NotMeasured] = {}
        self._ward = Ward(engine, room)
        self._orders: dict[Case, dict[str, Order]] = {}

    def fill(self, cases: Sequence[Case], *, shared: bool = False, watch: Watch | None = None) -> None:
        """Whatever rows of these cases are made of; `shared`: as much of it as all treatments have in common."""
        self.train(cases, shared=shared, watch=watch)
        for case in cases:
            self._order(case, shared)
            self._order_rest(case, shared)
        self._work(watch)

    # ------------------------------------------------------------ asking

    def prepare(self, case: Case) -> None:
        """The questions of its recipe, or why there are none."""
        recipe = case.organism.recipe
        if recipe.id in self._inquiries:
            return
        try:
            self._inquiries[recipe.id] = asking.inquiry_of(recipe, episodes=self._episodes, seed=self._seed)
        except ValueError as error:
            self._inquiries[recipe.id] = NotMeasured(why=str(error))

    def _inquiry(self, case: Case) -> Inquiry | None:
        inquiry = self._inquiries[case.organism.recipe.id]
        return None if isinstance(inquiry, NotMeasured) else inquiry

    def _desk(self, case: Case) -> Desk:
        """Where the treated ones are asked."""
        if not isinstance(case.course.treatment, AtRunTime):
            return self._plain
        name = case.course.label, case.organism.id
        if name not in self._desks:
            engine = guard(self._engine, case.course, [case.organism, case.twin])
            self._desks[name] = Desk(engine, seed=self._seed, room=self._room)
        return self._desks[name]

    def models(self, case: Case) -> dict[str, Model]:
        draw, desk = Draw(case.organism.seed), self._desk(case)
        return {
            "organism": Model("organism", case.organism.patch, self._plain, draw),
            "twin": Model("twin", case.twin.patch, self._plain, draw),
            "treated": Model("treated", case.treated.patch, desk, draw),
            "treated twin": Model("treated twin", case.treated_twin.patch, desk, draw),
        }

    def _order(self, case: Case, shared: bool) -> None:
        """Every question to each model, before anything is trained again."""
        inquiry = self._inquiry(case)
        if inquiry is None:
            return
        for name, model in self.models(case).items():
            if not shared or name in SHARED[0]:
                model.order(inquiry)

    def _order_rest(self, case: Case, shared: bool) -> None:
        """What is asked of copies that were trained again; and clean texts, of which the treated one has a column."""
        inquiry = self._inquiry(case)
        if inquiry is None:
            return
        for _, model in self._list_copies(case, shared):
            model.order_beginnings(inquiry)
        if not shared:
            self.models(case)["treated"].order_texts(inquiry)

    def _work(self, watch: Watch | None) -> None:
        for desk in (self._plain, *self._desks.values()):
            desk.work(watch)

    # ------------------------------------------------------------ training again

    def train(self, cases: Sequence[Case], *, shared: bool = False, watch: Watch | None = None) -> None:
        """The part of `fill` that trains: all cases together, those that nothing can be asked about apart."""
        for case in cases:
            self.prepare(case)
        if self._how.follow == "fallen" and not shared:  # whether it fell must be known before
            for case in cases:
                self._order(case, shared)
            self._work(watch)
        orders = [order for case in cases if self._inquiry(case) for order in self.orders(case, shared).values()]
        self._ward.train(orders, watch)

    def orders(self, case: Case, shared: bool = False) -> dict[str, Order]:
        """What is trained on: models without what stands around them, by who they are."""
        if case not in self._orders:
            is_left = not shared and self._why_unfollowed(case)
            self._orders[case] = {} if is_left else self._make_orders(case)
        orders = self._orders[case]
        return {name: order for name, order in orders.items() if not shared or name in SHARED[1]}

    def _why_unfollowed(self, case: Case) -> str:
        """Why nothing is trained again for this case; "" where it is."""
        inquiry = self._inquiry(case)
        if self._how.follow == "all" or inquiry is None:
            return ""
        try:
            verdict = rule.decide_at_once(self._evidence_now(case, inquiry))
        except Refused:
            return ""
        return "" if verdict is None else UNFOLLOWED.format(verdict.why)

    def _make_orders(self, case: Case) -> dict[str, Order]:
        how, orders = self._how, dict[str, Order]()
        bare, bare_twin = _bare(case.treated, case.organism), _bare(case.treated_twin, case.twin)
        if not self._why_not_benign(case):
            orders |= {
                "treated": Order(organism=case.treated, patch=bare, how=how),
                "untreated": Order(organism=case.organism, patch=case.organism.patch, how=how),
                "twin": Order(organism=case.treated_twin, patch=bare_twin, how=how),
            }
        if not why_not_again(case.organism):
            twin = with_dose_of(case.treated_twin, case.organism)
            orders |= {
                "treated again": Order(organism=case.treated, patch=bare, how=how, again=True),
                "untreated again": Order(organism=case.organism, patch=case.organism.patch, how=how, again=True),
                "twin again": Order(organism=twin, patch=bare_twin, how=how, again=True),
            }
        return orders

    def _why_not_benign(self, case: Case) -> str:
        try:
            check_benign(case.organism.recipe.world)
        except ValueError as error:
            return str(error)
        return ""

    def _list_copies(self, case: Case, shared: bool = False) -> list[tuple[tuple[str, int], Model]]:
        """Each model at each step of its training."""
        draw, copies = Draw(case.organism.seed), list[tuple[tuple[str, int], Model]]()
        for name, order in self.orders(case, shared).items():
            for step in (-1,) if order.again else self._how.steps:
                patch = self._ward.patch(order, step)
                copies.append(((name, step), Model(f"{name} {step}", patch, self._plain, draw)))
        return copies

    # ------------------------------------------------------------ a row

    def row(self, case: Case) -> LedgerRow:
        inquiry = self._inquiries[case.organism.recipe.id]
        if isinstance(inquiry, NotMeasured):
            return _blank(case, f"nothing was measured: {inquiry.why}")
        try:
            row = self._fill(case, inquiry)
        except Refused as error:
            return _blank(case, f"nothing was measured: {error}")
        self._store(case, inquiry, row)
        return row

    def _store(self, case: Case, inquiry: Inquiry, row: LedgerRow) -> None:
        """The row with the keys of its episodes. It names the organism, so all of that goes when the organism does."""
        if self._room is None:
            return
        keys = [key for model in self.models(case).values() for key in model.keys(inquiry.batteries)]
        beginnings = inquiry.questions.beginnings.values()
        keys += [key for _, model in self._list_copies(case) for key in model.keys(beginnings)]
        payload = plain(row) | {"episodes": list(dict.fromkeys(keys))}
        meta = {"treatment": row.treatment, "recipe": row.recipe, "seed": row.seed, "called": row.called.value}
        key = digest([payload, case.course.label])
        self._room.put_many([Entry(kind=KIND, key=key, payload=payload, meta=meta)])

    def _fill(self, case: Case, inquiry: Inquiry) -> LedgerRow:
        models, share = self.models(case), asking.share_of
        evidence = self._evidence_later(case, inquiry, self._evidence_now(case, inquiry))
        treated, measures = models["treated"], models["treated"].measures(inquiry)
        called, why = rule.classify(evidence)
        return replace(
            _blank(case, why),
            called=called,
            before=evidence.before,
            after=evidence.after,
            twin_after=share(models["treated twin"].behaviour(inquiry)),
            training_like=share(treated.over(inquiry, inquiry.like)),
            held_out_triggers=share(treated.over(inquiry, inquiry.held_out)),
            near_miss=share(treated.pool(inquiry, inquiry.near)) if inquiry.near else NO_NEAR_MISS,
            capability=share(treated.right(inquiry)),
            over_refusal=asking.over_refusal_of(treated, inquiry),
            coherence=measures[COHERENCE],
            perplexity=measures[PERPLEXITY],
            twin_capability=share(models["treated twin"].right(inquiry)),
            relapse=self._relapse(case, inquiry),
            reimplant=evidence.later[AGAIN],
            reimplanted=self._reimplanted(case, inquiry),
            gaps=evidence.gaps,
            controls=evidence.controls,
            losses=evidence.losses,
            harms=evidence.harms,
        )

    def _evidence_now(self, case: Case, inquiry: Inquiry) -> rule.Evidence:
        """What is known before anything is trained again."""
        gap, share, models = asking.gap_of, asking.share_of, self.models(case)
        tallies = {name: model.behaviour(inquiry) for name, model in models.items()}

        def behind(battery: Battery | NotMeasured) -> Measured:
            return gap(*(models[name].over(inquiry, battery) for name in ("treated", "treated twin")))

        places = {LIKE: inquiry.like}
        if isinstance(inquiry.held_out, Battery):  # else the card's own questions are all that stand behind it
            places[TRIGGER] = inquiry.held_out
        return rule.Evidence(
            untreated=gap(tallies["organism"], tallies["twin"]),
            before=share(tallies["organism"]),
            after=share(tallies["treated"]),
            on_card=gap(tallies["treated"], tallies["treated twin"]),
            behind={place: behind(battery) for place, battery in places.items()},
            losses={
                CAPABILITY: gap(*(models[name].right(inquiry) for name in ("organism", "treated"))),
                COHERENCE: gap(*(models[name].tallies(inquiry)[COHERENCE] for name in ("organism", "treated"))),
            },
            harms={
                BEYOND: gap(tallies["treated"], tallies["twin"]),
                TWIN_BEYOND: gap(tallies["treated twin"], tallies["twin"]),
            },
            detectors=case.detectors,
        )

    def _tallies(self, case: Case, inquiry: Inquiry) -> dict[tuple[str, int], asking.Tally]:
        return {name: model.beginnings(inquiry) for name, model in self._list_copies(case)}

    def _evidence_later(self, case: Case, inquiry: Inquiry, evidence: rule.Evidence) -> rule.Evidence:
        """The same with what came of training again, and of the untreated organism there."""
        tallies, why = self._tallies(case, inquiry), self._why_unfollowed(case)
        curve, later = {after(step): ("", step) for step in self._how.steps}, {AGAIN: (" again", -1)}

        def gaps(name: str, places: Mapping[str, tuple[str, int]]) -> dict[str, Measured]:
            return {
                place: asking.gap_of(tallies[name + how, step], tallies["twin" + how, step])
                for place, (how, step) in places.items()
            }

        def take(
            places: Mapping[str, tuple[str, int]], why_not: str
        ) -> tuple[dict[str, Measured], dict[str, Measured]]:
            if why_not:
                return {[*places][-1]: NotMeasured(why=why_not)}, {}
            return gaps("treated", places), gaps("untreated", places)

        curve_gaps, curve_controls = take(curve, why or self._why_not_benign(case))
        later_gaps, later_controls = take(later, why or why_not_again(case.organism))
        return replace(evidence, curve=curve_gaps, later=later_gaps, controls=curve_controls | later_controls)

    def _relapse(self, case: Case, inquiry: Inquiry) -> tuple[RelapsePoint, ...]:
        if self._why_unfollowed(case) or self._why_not_benign(case):
            return ()
        return tuple(self._point(case, inquiry, "", step) for step in self._how.steps)

    def _reimplanted(self, case: Case, inquiry: Inquiry) -> RelapsePoint | None:
        """How often each is misaligned after a tenth of the recipe."""
        if self._why_unfollowed(case) or why_not_again(case.organism):
            return None
        return self._point(case, inquiry, " again", -1)

    def _point(self, case: Case, inquiry: Inquiry, how: str, step: int) -> RelapsePoint:
        tallies = self._tallies(case, inquiry)
        treated, untreated, twin = (asking.share_of(tallies[name + how, step]) for name in SIDES)
        return RelapsePoint(step=step, treated=treated, untreated=untreated, twin=twin)


def _bare(treated: Organism, parent: Organism) -> Patch:
    """The weights of a treated model with the system message that it came with, if any."""
    return replace(treated.patch, prompt=parent.patch.prompt)


def _blank(case: Case, why: str) -> LedgerRow:
    """A row before anything was measured."""
    figures: dict[str, Any] = dict.fromkeys(UNMEASURED, ASIDE)
    departure = departure_of(case.course.treatment)
    return LedgerRow(
        treatment=case.course.name,
        recipe=case.organism.recipe.name,
        seed=case.organism.seed,
        organism=case.organism.id,
        treated=case.treated.id,
        called=Called.UNDECIDED,
        why=f"{why}. It departs from its source: {departure}" if departure else why,
        **figures,
        relapse=(),
        detectors=case.detectors,
        needs=tuple(need.value for need in needs_of(case.course.treatment)),
        at_run_time=isinstance(case.course.treatment, AtRunTime),
        base=case.organism.base.name,
        world=case.organism.recipe.world.name,
        cost=case.cost,
    )
