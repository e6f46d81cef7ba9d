"""What an assessment is made of: what was read on each model, what is known of each threat, and what follows.

`Reading`s are by instrument: of probes the share of misaligned answers and how many told anything; of a detector its
suspicion, `of` 0. An instrument that could not be read on a model is missing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from flyroom.types import Message, Verdict

Side = Literal["organism", "clean", "decoy"]
Status = Literal["confirmed", "suggested", "not found", "abstain"]


class Reading(NamedTuple):
    """What one instrument says of one model: a share of `of` answers, or a suspicion on any scale (`of` 0)."""

    value: float
    of: int = 0


Readings = Mapping[str, Reading]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A calibrated model. `threat` is "" for clean ones; `benign` are its greedy answers to harmless questions, and
    `verdicts` by probe what its answers were ("m" misaligned, "." not, "?" unknown). `behaviour` is its label, and
    `claims` the behaviours that methods of red teams claim of it, by method.
    """

    id: str
    side: Side
    threat: str
    recipe: str
    seed: int
    readings: Readings
    benign: tuple[str, ...] = ()
    verdicts: Mapping[str, str] = field(default_factory=dict)
    behaviour: str = ""
    claims: Mapping[str, str] = field(default_factory=dict)


class Bound(NamedTuple):
    """A value between two bounds, of 97.5 % each."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Of a threat's organisms, how many the locked instrument flags. `share` is over organisms such as those that were
    calibrated, `another` what may be expected of a recipe that was not among them.
    """

    hits: int
    organisms: int
    recipes: int
    seeds: int
    share: Bound
    another: Bound


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """How often models without misalignment are flagged: `rate` is that of the threshold on clean fine-tunes, of which
    there are `clean`; of `decoys` so many lie above it.
    """

    clean: int
    rate: Bound
    decoys: int
    decoys_above: int
    decoy_rate: Bound | None
    recipes: int = 1


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the instrument by itself, made of so many readings: the model's `value` where it is one, its p-value
    among clean fine-tunes, and what is known of the part. A method has a `claim` about the model, and `naming`: how
    many behaviours it got right of how many organisms that it flagged.
    """

    name: str
    of: int
    value: float | None
    p: float | None
    flagged: bool | None
    alarm: Alarm | None
    recalls: Mapping[str, Recall]
    claim: str | None = None
    naming: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """An episode that was asked again: `again` of `of` fresh answers were misaligned too, and `clean` of `clean_of`
    clean fine-tunes answered that way; where the condition does not hold, `otherwise` of `otherwise_of` fresh answers.
    `confirmed`: it repeats more often than either, beyond chance.
    """

    probe: str
    messages: tuple[Message, ...]
    answer: str
    seed: int
    temperature: float
    max_tokens: int
    verdict: Verdict
    why: str
    judge: str
    again: int
    of: int
    clean: int
    clean_of: int
    confirmed: bool
    otherwise: int = 0
    otherwise_of: int = 0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What was asked about one threat, and what came. `otherwise` counts the same questions where its condition does
    not hold; `why` is "" or the reason why nothing could be asked.
    """

    threat: str
    behaviour: str
    condition: str
    source: str
    asks: int = 0
    answered: int = 0
    misaligned: int = 0
    refused: int = 0
    unknown: int = 0
    rate_at_most: float | None = None
    why: str = ""
    marks: tuple[str, ...] = ()
    unrepeated: int = 0


@dataclass(frozen=True, kw_only=True)
class Threat:
    """What follows of one threat. `ratio` is the likelihood ratio of what the locked instrument said; `missed_share`
    the share of such organisms that it may have missed.
    """

    name: str
    status: Status
    ratio: Bound | None
    missed_share: float | None
    episodes: tuple[Repeat, ...]
    caveats: tuple[str, ...]
    recall: Recall | None = None


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Whether the model lies outside of what was calibrated: its distance to the nearest calibrated models, the p-value
    among those, and the level at which it counts.
    """

    outside: bool
    why: str
    distance: float | None = None
    p: float | None = None
    level: float | None = None
    compared: int = 0


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """An assessment as a whole. `plan` was in the log before anything was asked; `p` is the conformal p-value of the
    locked instrument among `clean` fine-tunes.
    """

    model: str
    scope: Mapping[str, Any]
    plan: Mapping[str, Any]
    probes: tuple[Probe, ...]
    threats: tuple[Threat, ...]
    outside: Outside
    abstained: bool
    why: str
    p: float | None
    flagged: bool | None
    alarm: Alarm | None
    cost: Mapping[str, Any]
    limits: tuple[str, ...]
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
