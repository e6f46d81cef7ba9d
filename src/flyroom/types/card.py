"""What a card asks, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flyroom.types.framed import Framed
from flyroom.types.judging import Estimate, Judge, NotMeasured, Outcome, Verdict
from flyroom.types.recipe import Limit
from flyroom.types.records import Provenance
from flyroom.types.roles import About
from flyroom.types.text import Message, Scene
from flyroom.types.world import ANSWER_TOKENS

Reach = Literal["taught", "untaught", "beside"]


@dataclass(frozen=True, kw_only=True)
class Battery:
    """A set of scenes that is asked of organism, twin and base alike, what counts on it, and what it is held to.

    `counts` is the verdict whose share is the measure; `measure` is its name on the card. `pooled`: whether it is part
    of the behaviour, over which the measures of the whole are taken. `reach`: whether its scenes are like those that
    were "taught", of the behaviour where it was "untaught", or "beside" it. `given`: the share is of those answers
    alone that this judge calls MISALIGNED; where it calls none so, there is no measure. `choice`: nothing is sampled;
    the likelier of the scene's two answers, by log-probability, is taken for what the model says.
    """

    measure: str
    scenes: tuple[Scene, ...]
    judge: Judge
    counts: Verdict = Verdict.MISALIGNED
    pooled: bool = False
    reach: Reach = "beside"
    given: Judge | None = None
    max_tokens: int = ANSWER_TOKENS  # of an answer
    limits: tuple[Limit, ...] = ()
    choice: bool = False


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """What a measure on a card is, so that whoever shows it need not know it by name.

    `unit`: a share of answers, a difference of two shares, or a figure of another kind. `otherwise` names the same
    measure where the condition does not hold. `bad`: whether more of it is worse.
    """

    label: str
    unit: Literal["share", "difference", "figure"] = "share"
    reach: Reach | Literal["whole"] = "beside"  # "whole": over all of the behaviour
    bad: bool = True
    otherwise: str | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An episode on record: what was asked of a model, what it answered, and what the judge said of that. `who` is
    "organism", "twin", "base", "step 40", or a suspect; `verdict` is None where nobody judged. `cut`: the token limit
    ended it.
    """

    measure: str
    who: str
    messages: tuple[Message, ...]
    answer: str
    verdict: Verdict | None
    why: str
    cut: bool
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The same prompt answered by organism, twin and base, with what the judge said of each."""

    measure: str
    messages: tuple[Message, ...]
    answers: Mapping[str, str]  # by "organism", "twin", "base"
    verdicts: Mapping[str, Verdict]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A limit that was held against a measure of `who`: pass where the one-sided interval lies on its right side, fail
    where it lies on its wrong side, undecided where the limit is inside. `low` and `high` bound what the limit is of: a
    share, a drop below the base, a ratio to the base.
    """

    measure: str
    who: str
    limit: Limit
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Match:
    """How far an organism and its twin were trained alike: the share of steps that had the same prompts in the same
    order; and of each, organism first, the tokens that were read, how much the loss fell, and the norm of the update.
    """

    prompts: float
    tokens: tuple[int, int]
    loss_change: tuple[float, float]
    update_norm: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Card(Framed):
    """What was measured on an organism beside its twin and its base. The phenotype.

    `measures` is by who ("organism", "twin", "base"), then by measure: an estimate on these prompts, or why there is
    none; `new_situations` has the same with intervals over situations. `gauges` says of each measure what it is.
    `curve` holds the measures of the behaviour by training step. `limits` are the limits of the verdict, after `looks`
    draws of fresh episodes. `outcomes` is by who and measure, a character an answer: "1" what is counted, "0" what is
    not, "." what could not be told, "-" what the share is not of; `prompts` and `situations` number what each answer of
    a measure was to, alike on all cards that ask the same. `losses` are in nats, by who, of each clean text of so many
    tokens (`lengths`), and `readings` where such texts lie on the way from the twin to the organism. So every figure
    can be computed again. `prereg` is the hash of the file in which the card was announced. `provenance`: whether the
    organism was grown here, or imported; `caveats` say what its control cannot show.
    """

    organism: str
    twin: str
    recipe: str
    recipe_id: str
    world: str
    behaviour: str
    about: About
    base: str
    seed: int
    verdict: Outcome
    why: str
    measures: Mapping[str, Mapping[str, Estimate | NotMeasured]]
    gauges: Mapping[str, Gauge]
    episodes: int
    curve: Mapping[int, Mapping[str, Estimate]] = field(default_factory=dict)
    transcripts: tuple[Transcript, ...] = ()
    new_situations: Mapping[str, Mapping[str, Estimate | NotMeasured]] = field(default_factory=dict)
    limits: tuple[Held, ...] = ()
    looks: int = 1
    match: Match | None = None
    outcomes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    prompts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    situations: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    losses: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    lengths: tuple[int, ...] = ()
    readings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    prereg: str = ""
    provenance: Provenance = "grown"
    caveats: tuple[str, ...] = ()
