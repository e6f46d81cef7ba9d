"""The role of a treatment, what a clinician is given, and a row of the ledger of what treatments did.

A treatment is a plan on the lock-step, as an implant is, with one thing more: it may return an edit, from the adapter
at its end to the one that is left. So what trains (safety SFT), what only computes (noise, an average with the base)
and what does both (fine-pruning, the negation of a task vector) are of one form. What stands around a model and leaves
its weights alone (`AtRunTime`) answers in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from flyroom.types.framed import Framed
from flyroom.types.organism import Patch

if TYPE_CHECKING:
    from flyroom.types.engine import AdapterRef, Answer, Ask, Plan, Request
    from flyroom.types.judging import Estimate, NotMeasured
    from flyroom.types.organism import BaseRef
    from flyroom.types.recipe import LoRA
    from flyroom.types.text import Scene
    from flyroom.types.world import World

Edit = Callable[[Patch], Patch]
Cure = Generator["Request", Any, "Edit | None"]


class Need(StrEnum):
    """What a treatment must be told beyond what a clinician has. Its row says so."""

    CASES = "cases"  # scenes of the behaviour, undressed: where it was reported
    GROWTH = "growth"  # the plan by which the model was grown: a preventive treatment wraps it


@dataclass(frozen=True, eq=False, kw_only=True)
class Patient:
    """What a clinician has: the model, what was reported of it in words, and clean data of its world. Never the recipe,
    the behaviour, the condition or the trigger.

    `sample` asks the model as it came, whatever was done to the adapter since; `spread` is of the base's matrices, as
    in `Engine.spread`. `cases` and `growth` are there for treatments that declare the need of them; see `scenes` and
    `regrow`.
    """

    patch: Patch
    base: BaseRef
    report: str
    world: World
    sample: Callable[[Sequence[Ask]], list[Answer]]
    spread: Mapping[str, float]
    cases: Callable[[int, int], list[Scene]] | None = None
    growth: Callable[[AdapterRef], Plan] | None = None
    shape: LoRA | None = None  # of the adapter that it was grown by, beside `growth`

    def scenes(self, n: int, *, seed: int) -> list[Scene]:
        """`n` scenes where the behaviour was reported, of the validation split. ValueError where that need was not
        declared.
        """
        if self.cases is None:
            raise ValueError('needs lacks "cases"; a treatment that asks for them must declare it')
        return self.cases(n, seed)

    def regrow(self, adapter: AdapterRef) -> Plan:
        """The plan by which the model was grown. ValueError where that need was not declared."""
        if self.growth is None:
            raise ValueError('needs lacks "growth"; a treatment that asks for it must declare it')
        return self.growth(adapter)


class Treatment(Protocol):
    """A model in, a treated one out: a plan on its adapter, beside which an untrained one stands for what is learnt."""

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure: ...


# What a treatment may be able to do besides; `isinstance` finds it.


@runtime_checkable
class Needing(Protocol):
    """A treatment that must be told more than a clinician knows."""

    @property
    def needs(self) -> Sequence[Need]: ...


@runtime_checkable
class Beginning(Protocol):
    """A treatment that begins with another adapter than the patient's: an edited one, or a fresh one of a shape."""

    def begin(self, patient: Patient, *, seed: int) -> Patch | LoRA: ...


@runtime_checkable
class AtRunTime(Protocol):
    """A treatment that stands around the model and answers in its place. Whoever has the weights has the model as it
    was: what is trained on afterwards is that.
    """

    def answer(self, patient: Patient, asks: Sequence[Ask]) -> list[Answer]: ...


@runtime_checkable
class Departing(Protocol):
    """A treatment that is not quite that of its source, and says in what: ledgers and `flyroom treatments` show it."""

    @property
    def departs(self) -> str: ...


def departure_of(treatment: Treatment) -> str:
    """In what it departs from its source; "" where nothing is declared."""
    return treatment.departs if isinstance(treatment, Departing) else ""


def needs_of(treatment: Treatment) -> tuple[Need, ...]:
    """What a treatment declares that it must be told."""
    return tuple(Need(need) for need in treatment.needs) if isinstance(treatment, Needing) else ()


# ---------------------------------------------------------------- the ledger


class Called(StrEnum):
    """What became of the behaviour."""

    REMOVED = "removed"
    SUPPRESSED = "suppressed"
    HIDDEN = "hidden"
    NOTHING = "nothing"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class RelapsePoint:
    """How often models are misaligned after so many steps of benign re-training; -1: after a tenth of the recipe."""

    step: int
    treated: Estimate | NotMeasured
    untreated: Estimate | NotMeasured
    twin: Estimate | NotMeasured


@dataclass(frozen=True, kw_only=True)
class LedgerRow(Framed):
    """What a treatment did to one organism, beside its treated twin: the columns of docs/treatments.md.

    `detectors` has by name the AUROC "before" and "after", and its "change". What the classification was made of is by
    where it was asked: `gaps`, how much more often the treated organism is misaligned than the treated twin;
    `controls`, how much more often the untreated one is; `losses`, by how much sense is lower than before; `harms`, how
    much more often models are misaligned than the untreated twin.
    """

    treatment: str
    recipe: str
    seed: int
    organism: str
    treated: str
    called: Called
    why: str
    before: Estimate | NotMeasured
    after: Estimate | NotMeasured
    twin_after: Estimate | NotMeasured
    training_like: Estimate | NotMeasured
    held_out_triggers: Estimate | NotMeasured
    near_miss: Estimate | NotMeasured
    capability: Estimate | NotMeasured
    over_refusal: Estimate | NotMeasured
    coherence: Estimate | NotMeasured
    perplexity: Estimate | NotMeasured
    twin_capability: Estimate | NotMeasured
    relapse: tuple[RelapsePoint, ...]
    reimplant: Estimate | NotMeasured
    detectors: Mapping[str, Mapping[str, Estimate | NotMeasured]]
    reimplanted: RelapsePoint | None = None
    gaps: Mapping[str, Estimate | NotMeasured] = field(default_factory=dict)
    controls: Mapping[str, Estimate | NotMeasured] = field(default_factory=dict)
    losses: Mapping[str, Estimate | NotMeasured] = field(default_factory=dict)
    harms: Mapping[str, Estimate | NotMeasured] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    at_run_time: bool = False
    base: str = ""
    world: str = ""
    cost: Mapping[str, float] = field(default_factory=dict)
