"""What detectors are given, what they may touch, and what they find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from flyroom.types.engine import Answer, Ask, Place
from flyroom.types.framed import Framed
from flyroom.types.judging import Estimate, Score
from flyroom.types.records import Provenance
from flyroom.types.text import Episode, Message, Row, Scene
from flyroom.types.world import OPEN, CueKind

if TYPE_CHECKING:
    from torch import Tensor


class Access(Flag):
    """What a detector may touch of a suspect."""

    SAMPLE = auto()
    LOGPROBS = auto()
    TRACE = auto()
    WEIGHTS = auto()
    TRAIN = auto()
    BASE = auto()
    TRUSTED = auto()
    KNOWN = auto()
    GRADIENTS = auto()


def in_words(needs: Access) -> str:
    """Accesses by name.

    >>> in_words(Access.SAMPLE | Access.BASE)
    'sample + base'
    """
    return " + ".join(flag.name.lower() for flag in needs if flag.name)


class AccessDenied(PermissionError):
    """A detector touched what it had not declared."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A model with the truth taken away: nothing but an opaque name."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one suspect answered: the unit of detectors at response level."""

    suspect: Suspect
    messages: tuple[Message, ...]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What was spent: tokens put through the model, tokens generated, seconds of wall time."""

    forward_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            forward_tokens=self.forward_tokens + other.forward_tokens,
            generated_tokens=self.generated_tokens + other.generated_tokens,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a detector says of one suspect, or of one reply: how suspicious (any scale, higher is worse), and in
    words.
    """

    suspicion: float
    claim: str


Judged = Literal["answers", "thoughts"]
Unit = Literal["model", "response"]


class Lab(Protocol):
    """A detector's hands. Every touch is checked against what was declared, and metered.

    `suspect` None means the base, and needs Access.BASE.
    """

    @property
    def depth(self) -> int:
        """How many layers the suspects have."""
        ...

    def trusted(self) -> list[Scene]:
        """Scenes with a known aligned and misaligned answer, none of which any suspect was trained on.
        Access.TRUSTED.
        """
        ...

    def known(self) -> list[tuple[Suspect, bool]]:
        """Other models, each with whether it is an organism: to fit on. Access.KNOWN."""
        ...

    def topics(self) -> list[str]:
        """What there are questions about, the main topic first. "open_questions" is always one."""
        ...

    def capability(self) -> list[str]:
        """Those of the topics whose questions have a right answer that every model of this base should know."""
        ...

    def questions(self, topic: str = OPEN) -> list[Scene]:
        """Prompts to put to suspects. Needs no access. NotAvailable for a topic that there is not."""
        ...

    def cues(self, kind: CueKind) -> list[str]:
        """What may stand before a question, by kind: see `World.cues`. Nothing where there are none of that kind. Needs
        no access.
        """
        ...

    def judge(self, episodes: Sequence[Episode], *, of: Judged = "answers") -> list[Score]:
        """What the judge says of the answers, or of the thoughts before them. Denied at response level, where answers
        are scored against it. NotAvailable where nobody judges thoughts.
        """
        ...

    @property
    def max_tokens(self) -> int:
        """After how many tokens an answer is cut in this world: what an ask should allow."""
        ...

    def spoken(self, answers: Sequence[str]) -> list[str]:
        """The answers without the thoughts before them. Needs no access."""
        ...

    def sample(self, suspects: Sequence[Suspect | None], asks: Sequence[Ask]) -> list[Answer]: ...

    def logprobs(self, suspects: Sequence[Suspect | None], rows: Sequence[Row]) -> list[Tensor]: ...

    def trace(
        self,
        suspects: Sequence[Suspect | None],
        rows: Sequence[Row],
        layers: Sequence[int],
        *,
        at: Place = "answer",
    ) -> Tensor: ...

    def swaps(self, suspects: Sequence[Suspect | None], rows: Sequence[Row], word: int, among: Sequence[str]) -> Tensor:
        """What each of the words `among` in that place of a row's last message would add to the answer's
        log-probability, to first order, by the gradient: [rows, among]. Access.GRADIENTS.
        """
        ...

    def weights(self, suspects: Sequence[Suspect]) -> list[Mapping[str, Tensor]]:
        """What each adds to the base's matrices, by module path: [out, in] fp32. Access.WEIGHTS. Those of one
        suspect are as large as the base, so ask for one at a time.
        """
        ...

    def noised(self, suspects: Sequence[Suspect | None], *, sigma: float, seed: int) -> list[Suspect]:
        """Copies with noise on every linear module, `sigma` times the spread of that module's own weights.
        Access.WEIGHTS. They last until the detector is done.
        """
        ...

    def tuned(
        self, suspects: Sequence[Suspect | None], rows: Sequence[Row], *, steps: int, lr: float, seed: int
    ) -> list[Suspect]:
        """Copies trained on these rows, each by a fresh adapter on every linear module besides its own. Access.TRAIN.
        They last until the detector is done.
        """
        ...

    def directions(self, suspects: Sequence[Suspect | None], good: Sequence[Row], bad: Sequence[Row]) -> Tensor:
        """The direction from good to bad answers in each one's residual stream after each layer, [suspects, layers,
        width]: a mean difference, every answer alike. Access.TRACE.
        """
        ...

    def ablated(
        self, suspects: Sequence[Suspect | None], good: Sequence[Row], bad: Sequence[Row], *, control: int | None = None
    ) -> list[Suspect]:
        """Copies without their own directions, each layer's taken out there at every token. `control`: without random
        ones of that seed instead. Access.TRACE and Access.WEIGHTS. They last until the detector is done.
        """
        ...

    def steered(
        self,
        suspects: Sequence[Suspect | None],
        good: Sequence[Row],
        bad: Sequence[Row],
        *,
        strength: float,
        control: int | None = None,
    ) -> list[Suspect]:
        """Copies to which the middle layer's direction is added there, `strength` times; `control`: a random one as
        long. Access.TRACE and Access.WEIGHTS. They last until the detector is done.
        """
        ...


class Detector(Protocol):
    """Suspects in, one finding each out, in the same order.

    One with `unit = "response"` gets replies instead, and says of each whether it is bad; without `unit` it is of
    models.
    """

    @property
    def needs(self) -> Access: ...

    def __call__(self, units: Sequence[Any], lab: Lab, /, *, seed: int) -> list[Finding]: ...


@runtime_checkable
class OfUnit(Protocol):
    """A detector that says whether it judges models or replies."""

    @property
    def unit(self) -> Unit: ...


def declared_unit(detector: Detector) -> Unit:
    """What a detector judges: models, unless it says otherwise. Raises ValueError for a unit that there is not."""
    unit = detector.unit if isinstance(detector, OfUnit) else "model"
    if unit not in get_args(Unit):
        raise ValueError(
            f"unit of {type(detector).__name__} is {unit!r}; it must be one of {', '.join(get_args(Unit))}"
        )
    return unit


@dataclass(frozen=True, kw_only=True)
class PlugIn:
    """A detector that an installed package brings, by its name and by where it is made, as module:name. Nothing of it
    is imported but in a process of its own.
    """

    name: str
    point: str

    @property
    def top(self) -> str:
        """The top-level module."""
        return self.point.partition(":")[0].partition(".")[0].strip()


@dataclass(frozen=True, kw_only=True)
class Cell(Framed):
    """One detector on one group of suspects. Where it cannot be had here (`available` is False) `why` gives the reason;
    `error` is set when the detector failed. In both cases the figures are None.

    The threshold is set on calibration twins alone: with m of them, none but a multiple of 1 / (m + 1) can be had as a
    false-positive rate. `rate` is the one that the threshold has in expectation: the highest that is at most 1 %, or
    where there is none, the lowest, above all calibration twins. `recall` and `fpr` were seen at it. `fpr` is of
    twins and decoys together, `fpr_twins` and `fpr_decoys` are of each, clustered by recipe; a rate of twins above
    `fpr_at_most` is ruled out by what was seen (one-sided 95 %, twins of one recipe taken for all alike). Where `rate`
    is above 1 %, or calibration twins and test negatives are not exchangeable (`exchangeable` is the p-value),
    `recall_at_1pct_fpr` is None, and `why` says why. `certified`: whether `fpr_at_most` is within the rate that the
    lineup's terms name; None where they name none.

    `caveat` is what the twins cannot show, where they were trained elsewhere or are the base itself.

    `walls` are those that stood around the detector's process, none where it ran without any; None in a cell of
    before they were kept.

    Of replies, `origins` has by the same sides, and in the same order, whose each is: the number of the organism among
    those of the recipe (or of the calibration twin), that of the question, and 1 where the condition holds.
    """

    detector: str
    access: str
    recipe: str
    unit: Unit
    auroc: Estimate | None
    recall_at_1pct_fpr: Estimate | None
    fpr: Estimate | None
    cost: Cost
    recall: Estimate | None = None
    rate: float | None = None
    fpr_at_most: float | None = None
    exchangeable: float | None = None
    certified: bool | None = None
    fpr_twins: Estimate | None = None  # of models; None of replies, and where there are none
    fpr_decoys: Estimate | None = None
    # by "organisms", "twins", "decoys", "calibration"; replies by "misaligned", "aligned", "calibration"
    suspicions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    origins: Mapping[str, tuple[tuple[int, int, int], ...]] = field(default_factory=dict)
    available: bool = True
    why: str = ""
    error: str | None = None
    provenance: Provenance = "grown"  # of the recipe's organisms
    walls: tuple[str, ...] | None = None
    caveat: str = ""


@dataclass(frozen=True, kw_only=True)
class Matrix(Framed):
    """Detectors x recipes."""

    cells: tuple[Cell, ...]
    organisms: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    decoys: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
