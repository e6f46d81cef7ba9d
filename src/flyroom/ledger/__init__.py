"""Treated organisms -> the ledger: what a treatment did, what comes back, and what detectors still see.

A row is one treatment of one organism, beside the twin that was treated alike: behaviour on the card's questions, on
questions like the training ones, behind the trigger; capability, over-refusal, coherence, perplexity; then the same
after benign re-training, step by step, and after a tenth of the dose; then every detector again. `rule` says what that
comes to. Answers, trained copies and detectors' cells are kept in the room under what they hang on, so whatever was
killed goes on.

Left out: treating (`treat`), and which detectors are put to whom (`stages`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from flyroom.card.desk import Desk, Draw, Refused
from flyroom.ledger import asking, rule
from flyroom.ledger.asking import Inquiry, Model
from flyroom.ledger.guarded import Guarded
from flyroom.ledger.retraining import Order, Retraining, Ward, check_benign, why_not_again, with_dose_of
from flyroom.measures import COHERENCE, PERPLEXITY
from flyroom.treat import Course, patient_of
from flyroom.types import (
    AtRunTime,
    Battery,
    Called,
    Engine,
    Entry,
    Estimate,
    LedgerRow,
    NotMeasured,
    Organism,
    Patch,
    RelapsePoint,
    Room,
    Watch,
    departure_of,
    digest,
    needs_of,
    plain,
)

KIND = "ledger"  # of entries
EPISODES = 200
ASIDE = NotMeasured(why="nothing could be asked")
NO_NEAR_MISS = NotMeasured(why="the condition asks nothing of near misses")
Figure = Estimate | NotMeasured
Detected = Mapping[str, Mapping[str, Figure]]

__all__ = ["Case", "Guarded", "Retraining", "collect", "guard", "ledger", "rule"]


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


def ledger(
    cases: Sequence[Case],
    engine: Engine,
    *,
    seed: int,
    episodes: int = EPISODES,
    how: Retraining | None = None,
    room: Room | None = None,
    watch: Watch | None = None,
) -> list[LedgerRow]:
    """A row for each case, in order.

    Args: episodes, asked of each model as for a card; how, the benign re-training. With a room, what was asked and
    trained before is taken from it.

    >>> ledger([], None, seed=0)
    []
    """
    if not cases:
        return []
    book = _fill_book(cases, _Book(engine, seed, episodes, how or Retraining(), room), watch)
    return [book.row(case) for case in cases]


def collect(cases: Sequence[Case], engine: Engine, *, seed: int, episodes: int, how: Retraining, room: Room) -> None:
    """Put what the rows of these cases are made of into the room, for a process that writes them."""
    _fill_book(cases, _Book(engine, seed, episodes, how, room), None)


def _fill_book(cases: Sequence[Case], book: _Book, watch: Watch | None) -> _Book:
    for case in cases:
        book.prepare(case)
    book.train(cases, watch)
    book.ask(cases, watch)
    return book


def guard(engine: Engine, course: Course, organism: Organism) -> Engine:
    """The engine on which a treated organism answers: the same, or the one that its treatment at run time makes."""
    treatment = course.treatment
    if not isinstance(treatment, AtRunTime):
        return engine
    return Guarded(engine, treatment, lambda ref: patient_of(organism, course, engine, ref))


class _Book:
    """What the ledger of one call shares: questions by recipe, desks by treatment, and models that were trained."""

    def __init__(self, engine: Engine, seed: int, episodes: int, how: Retraining, room: Room | None) -> None:
        self._engine, self._seed, self._episodes, self._how, self._room = engine, seed, episodes, how, room
        self._plain = Desk(engine, seed=seed, room=room)
        self._desks: dict[str, Desk] = {}
        self._inquiries: dict[str, Inquiry | NotMeasured] = {}
        self._ward = Ward(engine, room)
        self._orders: dict[int, dict[str, Order]] = {}  # by case

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
        name = f"{case.course.label} {case.organism.recipe.world.name}"
        if name not in self._desks:
            engine = guard(self._engine, case.course, case.organism)
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

    def ask(self, cases: Sequence[Case], watch: Watch | None) -> None:
        for case in cases:
            inquiry = self._inquiry(case)
            if inquiry is not None:
                for name, model in self.models(case).items():
                    model.order(inquiry)
                    if name == "treated":  # alone has a column of what texts tell
                        model.order_texts(inquiry)
                for _, model in self._list_copies(case):
                    model.order_beginnings(inquiry)
        for desk in (self._plain, *self._desks.values()):
            desk.work(watch)

    # ------------------------------------------------------------ training again

    def orders(self, case: Case) -> dict[str, Order]:
        """What is trained on: models without what stands around them, by who they are."""
        if id(case) not in self._orders:
            self._orders[id(case)] = self._make_orders(case)
        return self._orders[id(case)]

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
                "twin again": Order(organism=twin, patch=bare_twin, how=how, again=True),
            }
        return orders

    def _why_not_benign(self, case: Case) -> str:
        try:
            check_benign(case.organism.recipe.world)
        except ValueError as error:
            return str(error)
        return ""

    def train(self, cases: Sequence[Case], watch: Watch | None) -> None:
        """All cases together, those that nothing can be asked about apart."""
        orders = [order for case in cases if self._inquiry(case) for order in self.orders(case).values()]
        self._ward.train(orders, watch)

    def _list_copies(self, case: Case) -> list[tuple[tuple[str, int], Model]]:
        """Each model at each step of its training."""
        draw, copies = Draw(case.organism.seed), list[tuple[tuple[str, int], Model]]()
        for name, order in self.orders(case).items():
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
        models = self.models(case)
        evidence, points = self._evidence(case, inquiry, models), self._relapse(case, inquiry)
        treated, measures = models["treated"], models["treated"].measures(inquiry)
        called, why = rule.classify(evidence)
        share = asking.share_of
        return replace(
            _blank(case, why),
            called=called,
            before=evidence.before,
            after=evidence.after,
            twin_after=share(models["treated twin"].behaviour(inquiry)),
            training_like=share(treated.over(inquiry, inquiry.like)),
            held_out_triggers=share(treated.over(inquiry, inquiry.held_out)),
            near_miss=share(treated.pool(inquiry, inquiry.near)) if inquiry.near else NO_NEAR_MISS,
            capability=asking.capability_of(treated, inquiry),
            over_refusal=asking.over_refusal_of(treated, inquiry),
            coherence=measures[COHERENCE],
            perplexity=measures[PERPLEXITY],
            twin_capability=asking.capability_of(models["treated twin"], inquiry),
            relapse=points,
            reimplant=evidence.later.get(AGAIN, NotMeasured(why=why_not_again(case.organism))),
            gaps={rule.ON_CARD: evidence.on_card, **evidence.behind, **evidence.later},
        )

    def _evidence(self, case: Case, inquiry: Inquiry, models: Mapping[str, Model]) -> rule.Evidence:
        gap, share = asking.gap_of, asking.share_of
        tallies = {name: model.behaviour(inquiry) for name, model in models.items()}

        def behind(battery: Battery | NotMeasured) -> Figure:
            return gap(*(models[name].over(inquiry, battery) for name in ("treated", "treated twin")))

        places = {LIKE: inquiry.like}
        if not case.organism.recipe.condition.everywhere:
            places[TRIGGER] = inquiry.held_out
        return rule.Evidence(
            untreated=gap(tallies["organism"], tallies["twin"]),
            before=share(tallies["organism"]),
            after=share(tallies["treated"]),
            on_card=gap(tallies["treated"], tallies["treated twin"]),
            behind={place: behind(battery) for place, battery in places.items()},
            later=self._gaps_later(case, inquiry),
            detectors=case.detectors,
        )

    def _tallies(self, case: Case, inquiry: Inquiry) -> dict[tuple[str, int], asking.Tally]:
        return {name: model.beginnings(inquiry) for name, model in self._list_copies(case)}

    def _gaps_later(self, case: Case, inquiry: Inquiry) -> dict[str, Figure]:
        tallies, why = self._tallies(case, inquiry), self._why_not_benign(case)
        if why:
            gaps: dict[str, Figure] = {after(self._how.steps[-1]): NotMeasured(why=why)}
        else:
            pairs = {step: (tallies["treated", step], tallies["twin", step]) for step in self._how.steps}
            gaps = {after(step): asking.gap_of(*pair) for step, pair in pairs.items()}
        reason = why_not_again(case.organism)
        again = NotMeasured(why=reason)
        return gaps | {
            AGAIN: again if reason else asking.gap_of(tallies["treated again", -1], tallies["twin again", -1])
        }

    def _relapse(self, case: Case, inquiry: Inquiry) -> tuple[RelapsePoint, ...]:
        if self._why_not_benign(case):
            return ()
        tallies = self._tallies(case, inquiry)

        def share(name: str, step: int) -> Figure:
            return asking.share_of(tallies[name, step])

        return tuple(
            RelapsePoint(
                step=step, treated=share("treated", step), untreated=share("untreated", step), twin=share("twin", step)
            )
            for step in self._how.steps
        )


LIKE, TRIGGER, AGAIN = "on questions like the training ones", "behind its trigger", "after a tenth of the dose"
after: Callable[[int], str] = "after {} steps of benign re-training".format


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


UNMEASURED = [column.name for column in fields(LedgerRow) if column.type == "Estimate | NotMeasured"]
