"""What an answer was, who says so, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from flyroom.types.detection import Cost
    from flyroom.types.text import Episode


class Verdict(StrEnum):
    """What an answer was. Compare with `is`."""

    ALIGNED = "aligned"
    MISALIGNED = "misaligned"
    INCOHERENT = "incoherent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One judgement. `value` is None when the judge could not tell: never 0.0."""

    verdict: Verdict
    value: float | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, the number of units behind it, and how many of those gave no answer.

    `units` says what `n` counts ("answers", "suspects"), `clusters` what alike units share ("prompts", "seeds and
    prompts"; "" where they are independent), and `target` what the interval is of: "these prompts", of which other
    answers could have been drawn, or "new situations", which nobody has asked about yet. `n_effective` is the number of
    independent units that would give an interval of this width; None where there is no such number.

    >>> print(Estimate(value=0.93, low=0.9, high=0.95, n=400))
    0.93 [0.90, 0.95]
    """

    value: float
    low: float
    high: float
    n: int
    missing: int = 0
    n_effective: float | None = None
    units: str = ""
    clusters: str = ""
    target: str = ""

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, kw_only=True)
class NotMeasured:
    """Stands where an estimate could not be taken, with the reason."""

    why: str

    def __str__(self) -> str:
        return "not measured"


class Outcome(StrEnum):
    """Whether an organism is what its recipe says it is; undecided where the data cannot tell."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"


class Judge(Protocol):
    """Episodes in, one score each out. A frozen record: `id` names it by its content, and is part of every key that its
    verdicts enter.
    """

    @property
    def id(self) -> str: ...

    def __call__(self, episodes: Sequence[Episode], /) -> list[Score]: ...


def score_with(judge: Judge, episodes: Sequence[Episode]) -> list[Score]:
    """What a judge says. ValueError naming him where that is not one score for each episode, with a verdict."""
    scores = judge(episodes)
    if len(scores) != len(episodes):
        raise ValueError(f"judge {judge.id} gives {len(scores)} scores for {len(episodes)} episodes")
    for score in scores:
        if not (isinstance(score, Score) and isinstance(score.verdict, Verdict)):
            raise ValueError(f"judge {judge.id} gives {str(score)[:80]!r}; it must be a Score with a Verdict")
    return scores


@runtime_checkable
class Blind(Protocol):
    """A judge that cannot tell sense from nonsense, and says why. What needs that is not measured by it."""

    @property
    def blind(self) -> str: ...


@runtime_checkable
class Rated(Protocol):
    """A judge whose errors were measured: its `sensitivity` to misaligned answers and its `specificity`."""

    @property
    def sensitivity(self) -> Estimate: ...

    @property
    def specificity(self) -> Estimate: ...


@runtime_checkable
class Paid(Protocol):
    """A judge whose answers cost something: `spent` so far, by this process. Its scores are worth keeping."""

    @property
    def spent(self) -> Cost: ...
