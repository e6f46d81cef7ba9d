"""Answers -> what stands on a card: tallies, measures of both targets, the limits held, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from flyroom import measures
from flyroom.card import outcome
from flyroom.card.desk import Desk
from flyroom.card.draft import Draft
from flyroom.card.match import match, read_texts
from flyroom.card.outcome import Evidence
from flyroom.measures import PERPLEXITY, READABILITY, Losses, Measured
from flyroom.tallies import Answers, Looks, Numbers, Tally, count_battery, join_all
from flyroom.types import (
    Battery,
    Card,
    Estimate,
    NotAvailable,
    NotMeasured,
    Recipe,
    Split,
    Thinking,
    Transcript,
)

TRANSCRIPTS = 3  # of each battery
LESSONS = 5000  # training answers that a model may repeat
BETWEEN = NotMeasured(why="it tells the organism from its twin, and is the organism's")

ByModel = Mapping[str, Looks]


def fill(blank: Card, draft: Draft, answers: ByModel, desk: Desk) -> Card:
    """The card of a draft. Args: blank, a card that says whose it is; answers by model, look and measure."""
    tallies, steps = _tally(draft, answers)
    texts = _read(draft, desk)
    prompts = {model: measures.take(tallies[model], texts.measures[model]) for model in tallies}
    situations = {model: measures.take_new(tallies[model], texts.measures[model]) for model in tallies}
    limits = outcome.hold(draft.gauges, Evidence(tallies=tallies, measures=prompts, losses=texts.losses))
    uncertified = outcome.list_uncertified(prompts, draft.gauges)
    missing = outcome.list_unmeasured(prompts, draft.gauges)
    why = outcome.explain(limits, draft.gauges, uncertified)
    return replace(
        blank,
        verdict=outcome.decide(limits, uncertified),
        why=f"{why}; not measured: {', '.join(missing)}" if missing else why,
        measures=prompts,
        new_situations=situations,
        gauges=draft.gauges,
        episodes=sum(len(battery.scenes) for look in draft.looks for battery in look.batteries),
        curve=_curve(draft, tallies, steps),
        transcripts=_transcripts(draft.looks[0].batteries, {model: answers[model][0] for model in tallies}),
        limits=tuple(limits),
        looks=len(draft.looks),
        match=match(draft.pair.organism, draft.pair.twin),
        outcomes={model: {m: one.outcomes for m, one in row.items()} for model, row in (tallies | steps).items()},
        prompts={measure: one.prompts for measure, one in tallies["organism"].items()},
        situations={measure: one.situations for measure, one in tallies["organism"].items()},
        losses={model: tuple(-sum(text) for text in losses) for model, losses in texts.losses.items()},
        lengths=tuple(map(len, texts.losses.get("base", ()))),
        readings=texts.readings,
    )


# ---------------------------------------------------------------- answers


def _tally(draft: Draft, answers: ByModel) -> tuple[dict[str, dict[str, Tally]], dict[str, dict[str, Tally]]]:
    """The tallies of the three models, and those of the organism at earlier steps."""
    numbers = Numbers(battery for look in draft.looks for battery in look.questions.batteries)
    recipe = draft.pair.recipe
    lessons = _lessons(recipe, draft.pair.organism.seed)

    def answer_of(answer: str) -> str:
        world = recipe.world
        return world.read_thought(answer).rest if isinstance(world, Thinking) else answer.strip()

    tallies = {
        model: measures.tally(answers[model], numbers, lessons=lessons, answer_of=answer_of)
        for model in draft.pair.models
    }
    steps = {
        model: {measure: count_battery(one, numbers) for measure, one in join_all(looks).items()}
        for model, looks in answers.items()
        if model not in tallies
    }
    return tallies, steps


def _lessons(recipe: Recipe, seed: int) -> Set[str] | NotMeasured:
    """The training answers that nobody gives by chance, or why there are none."""
    try:
        scenes = recipe.scenes(LESSONS, split=Split.TRAIN, seed=seed)
    except NotAvailable as error:
        return NotMeasured(why=str(error))
    return {s.misaligned.strip() for s in scenes if len(s.misaligned.split()) >= measures.FEWEST_WORDS}


def _curve(
    draft: Draft, tallies: Mapping[str, Mapping[str, Tally]], steps: Mapping[str, Mapping[str, Tally]]
) -> dict[int, dict[str, Estimate]]:
    """The behaviour's own measures at each kept step, and at the last. Step 0 is the base. Nothing where nothing was
    trained.
    """
    organism = draft.pair.organism
    if not organism.history:
        return {}
    rows = {0: tallies["base"]} | {step: steps[f"step {step}"] for step in organism.snapshots}
    rows |= {len(organism.history): tallies["organism"]}
    names = draft.looks[0].questions.beginnings
    shares = {step: {measure: measures.share(row[measure]) for measure in names} for step, row in rows.items()}
    return {step: {m: e for m, e in row.items() if isinstance(e, Estimate)} for step, row in shares.items()}


def _transcripts(batteries: Sequence[Battery], answers: Mapping[str, Mapping[str, Answers]]) -> tuple[Transcript, ...]:
    return tuple(
        Transcript(
            measure=battery.measure,
            messages=scene.messages,
            answers={model: row[battery.measure].texts[i] for model, row in answers.items()},
            verdicts={model: row[battery.measure].scores[i].verdict for model, row in answers.items()},
        )
        for battery in batteries
        for i, scene in enumerate(battery.scenes[:TRANSCRIPTS])
    )


# ---------------------------------------------------------------- clean texts


@dataclass(frozen=True, kw_only=True, eq=False)
class _Texts:
    """What clean texts say: measures by model; and what they are made of, where there is any."""

    measures: Mapping[str, Mapping[str, Measured]]
    losses: Mapping[str, Losses]
    readings: Mapping[str, tuple[float, ...]]


def _read(draft: Draft, desk: Desk) -> _Texts:
    losses = {model: draft.losses(desk, patch) for model, patch in draft.pair.models.items()}
    readings = _readings(draft, desk)
    readability = readings if isinstance(readings, NotMeasured) else measures.readability(**readings)
    return _Texts(
        measures={
            model: {PERPLEXITY: measures.perplexity(one), READABILITY: readability if model == "organism" else BETWEEN}
            for model, one in losses.items()
        },
        losses={model: one for model, one in losses.items() if not isinstance(one, NotMeasured)},
        readings={} if isinstance(readings, NotMeasured) else readings,
    )


def _readings(draft: Draft, desk: Desk) -> dict[str, tuple[float, ...]] | NotMeasured:
    """Of the first look's texts: where they lie on the way from the twin to the organism, or why that is not known."""
    look = draft.looks[0]
    if isinstance(look.questions.texts, NotMeasured):
        return look.questions.texts
    organism, twin = (desk.traces(one.patch, look.texts) for one in (draft.pair.organism, draft.pair.twin))
    if isinstance(organism, NotMeasured):
        return organism
    if isinstance(twin, NotMeasured):
        return twin
    try:
        return read_texts(organism, twin)
    except ValueError as error:
        return NotMeasured(why=str(error))
