"""Organism + twin -> Card: the same questions to the organism, its twin and its base, judged, with intervals and a
verdict.

Before anything is believed the judge is rehearsed on planted transcripts of the very scenes that are asked. Where that
fails, where organism and twin have the same weights, or where a behaviour cannot give what it should, the card says so
and measures nothing; the cards of the others are made. What a judge could not tell in more than 5 % of answers is not
measured. Left out: what is asked (`questions`), asking (`desk`), measures and their limits (`measures`), and how
episodes are kept (`episodes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from flyroom import measures
from flyroom.desk import Desk, Refused, fingerprint
from flyroom.episodes import pack_judgement
from flyroom.measures import Answers, Measured
from flyroom.questions import FEWEST, Questions, check, judges_of, name_of, questions_of, rehearse
from flyroom.types import (
    Battery,
    Card,
    Engine,
    Entry,
    Estimate,
    Gauge,
    NotAvailable,
    NotMeasured,
    Organism,
    Outcome,
    Patch,
    Recipe,
    Room,
    Split,
    Thinking,
    Transcript,
    Watch,
    digest,
    plain,
)

__all__ = ["card", "check", "rehearse", "unpack"]

EPISODES = 500
TRANSCRIPTS = 3  # of each battery
LESSONS = 5000  # training answers that a model may repeat
FORMAT = 5  # part of the key: raise it when a card's content changes


def card(
    organisms: Sequence[Organism],
    engine: Engine,
    *,
    seed: int,
    episodes: int = EPISODES,
    room: Room | None = None,
    watch: Watch | None = None,
) -> list[Card]:
    """A card for each organism above dose 0, in order; its twin must be among `organisms` too.

    An organism whose own data are at fault (a judge that fails its rehearsal, a threshold of no measure, the weights of
    its twin) gets a card that fails and says why, and is no obstacle to the others.

    Args: episodes, asked of each model. With a room, what was asked is stored on the way, and not asked again. Raises
    ValueError for a missing twin.
    """
    if episodes < FEWEST:
        raise ValueError(f"episodes is {episodes}; a card needs at least {FEWEST}")
    by_id = {organism.id: organism for organism in organisms}
    pairs = [_Pair(organism, _twin(organism, by_id)) for organism in by_id.values() if organism.recipe.dose > 0]
    if room is None:
        return [record.card for record in _make(pairs, engine, seed, episodes, None, watch)]
    keys = _keys(pairs, seed, episodes)
    with room.lock(digest(keys)):
        entries = [None if key is None else room.get("card", key) for key in keys]
        todo = [i for i, entry in enumerate(entries) if entry is None]
        fresh = dict(zip(todo, _make([pairs[i] for i in todo], engine, seed, episodes, room, watch), strict=True))
        room.put_many([_pack(key, fresh[i]) for i, key in enumerate(keys) if i in fresh and key and fresh[i].answers])
    return [fresh[i].card if entry is None else unpack(entry) for i, entry in enumerate(entries)]


def unpack(entry: Entry) -> Card:
    """A card from its entry."""
    return TypeAdapter(Card).validate_python(dict(entry.payload))


# ---------------------------------------------------------------- organism and twin


@dataclass(frozen=True, eq=False)
class _Pair:
    organism: Organism
    twin: Organism

    @property
    def recipe(self) -> Recipe:
        return self.organism.recipe

    @property
    def models(self) -> dict[str, Patch | None]:
        return {"organism": self.organism.patch, "twin": self.twin.patch, "base": None}


def _twin(organism: Organism, by_id: Mapping[str, Organism]) -> Organism:
    if organism.twin_id not in by_id:
        raise ValueError(
            f"the twin {organism.twin_id} of organism {organism.id} is missing; "
            f"grow {organism.recipe.name} at dose 0 with seed {organism.seed}"
        )
    return by_id[organism.twin_id]


def _keys(pairs: Sequence[_Pair], seed: int, episodes: int) -> list[str | None]:
    """The key of each card: of both models, of what is asked, and of who judges it. None where the recipe's own data
    are at fault, which `_make` will say.
    """
    judges: dict[str, list[str] | None] = {}
    keys: list[str | None] = []
    for pair in pairs:
        name = name_of(pair.recipe)
        if name not in judges:
            judges[name] = judges_of(pair.recipe, seed)
        models = [word for o in (pair.organism, pair.twin) for word in (o.id, fingerprint(o.patch))]
        keys.append(None if judges[name] is None else digest([FORMAT, *models, judges[name], seed, episodes]))
    return keys


# ---------------------------------------------------------------- making cards


@dataclass(frozen=True, eq=False)
class _Draft:
    """A pair, what is asked of it, and what its measures are held to."""

    pair: _Pair
    questions: Questions
    gauges: Mapping[str, Gauge]


@dataclass(frozen=True, eq=False)
class _Record:
    """A card; and, where something was asked, the keys of the episodes and the answers by model and measure."""

    card: Card
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Answers]] = field(default_factory=dict)


def _make(
    pairs: Sequence[_Pair], engine: Engine, seed: int, episodes: int, room: Room | None, watch: Watch | None
) -> list[_Record]:
    """A card for each pair. Whatever ValueError one of them raises becomes its own card's reason."""
    questionnaires: dict[str, Questions] = {}
    drafts: list[_Draft | _Record] = []
    for pair in pairs:
        try:
            drafts.append(_draft(pair, questionnaires, episodes, seed))
        except ValueError as error:
            drafts.append(_refusal(pair, error, engine))
    desk = Desk(engine, seed=seed, room=room)
    for draft in drafts:
        if isinstance(draft, _Draft):
            _order(draft, desk)
    if any(isinstance(draft, _Draft) for draft in drafts):
        desk.work(watch)
    return [draft if isinstance(draft, _Record) else _finish(draft, desk, engine) for draft in drafts]


def _draft(pair: _Pair, questionnaires: dict[str, Questions], episodes: int, seed: int) -> _Draft:
    if fingerprint(pair.organism.patch) == fingerprint(pair.twin.patch):
        raise ValueError(
            f"organism {pair.organism.id} and its twin {pair.twin.id} have the same weights; "
            "a card would compare a model with itself"
        )
    name = name_of(pair.recipe)
    if name not in questionnaires:
        questionnaires[name] = questions_of(pair.recipe, episodes, seed)
    batteries, harmless = questionnaires[name].batteries, pair.recipe.behaviour.harmless
    gauges = measures.gauge(batteries, pair.recipe.thresholds, harmless=harmless)
    return _Draft(pair, questionnaires[name], gauges)


def _list_questions(draft: _Draft) -> Iterator[tuple[str, Patch | None, Sequence[Battery]]]:
    """Which model is asked what; the organism at earlier steps hears the beginnings of the behaviour's batteries."""
    for model, patch in draft.pair.models.items():
        yield model, patch, draft.questions.batteries
    for step, patch in draft.pair.organism.snapshots.items():
        yield f"step {step}", patch, [*draft.questions.beginnings.values()]


def _order(draft: _Draft, desk: Desk) -> None:
    for model, patch, batteries in _list_questions(draft):
        for battery in batteries:
            desk.order(model, patch, battery)
    if not isinstance(draft.questions.texts, NotMeasured):
        for patch in draft.pair.models.values():
            desk.order_texts(patch, draft.questions.texts)


def _finish(draft: _Draft, desk: Desk, engine: Engine) -> _Record:
    try:
        answers = _answers(draft, desk)
    except Refused as error:
        return _refusal(draft.pair, error, engine)
    try:
        return _measure(draft, answers, desk, engine)
    except ValueError as error:
        return _refusal(draft.pair, error, engine)


def _answers(draft: _Draft, desk: Desk) -> dict[str, dict[str, Answers]]:
    """By model and measure."""
    return {
        model: {battery.measure: desk.answers(patch, battery) for battery in batteries}
        for model, patch, batteries in _list_questions(draft)
    }


def _refusal(pair: _Pair, error: ValueError, engine: Engine) -> _Record:
    return _Record(replace(_blank(pair, engine), why=f"nothing was measured: {error}"))


def _blank(pair: _Pair, engine: Engine) -> Card:
    """A card before anything was measured."""
    recipe = pair.recipe
    return Card(
        organism=pair.organism.id,
        twin=pair.twin.id,
        recipe=recipe.name,
        recipe_id=recipe.id,
        world=recipe.world.name,
        behaviour=recipe.behaviour.label,
        about=recipe.behaviour.about(recipe.world),
        base=engine.base.name,
        seed=pair.organism.seed,
        verdict=Outcome.FAIL,
        why="nothing was measured",
        measures={model: {} for model in pair.models},
        gauges={},
        episodes=0,
    )


def _measure(draft: _Draft, answers: Mapping[str, Mapping[str, Answers]], desk: Desk, engine: Engine) -> _Record:
    pair, questions = draft.pair, draft.questions
    figures = _measures(draft, desk, answers)
    failures = measures.list_failures(figures, draft.gauges)
    missing = measures.list_unmeasured(figures, draft.gauges)
    why = "; ".join(failures) or "every threshold met"
    card = replace(
        _blank(pair, engine),
        verdict=Outcome.FAIL if failures else Outcome.PASS,
        why=f"{why}; not measured: {', '.join(missing)}" if missing else why,
        measures=figures,
        gauges=draft.gauges,
        episodes=sum(len(battery.scenes) for battery in questions.batteries),
        curve=_curve(pair.organism, questions, answers),
        transcripts=_transcripts(questions.batteries, {model: answers[model] for model in pair.models}),
    )
    keys = {
        model: {b.measure: desk.key(patch, b) for b in batteries} for model, patch, batteries in _list_questions(draft)
    }
    return _Record(card, keys, answers)


def _measures(
    draft: _Draft, desk: Desk, answers: Mapping[str, Mapping[str, Answers]]
) -> dict[str, dict[str, Measured]]:
    recipe, texts = draft.pair.recipe, draft.questions.texts
    lessons = _lessons(recipe, draft.pair.organism.seed)

    def answer_of(answer: str) -> str:
        world = recipe.world
        return world.read_thought(answer).rest if isinstance(world, Thinking) else answer.strip()

    return {
        model: measures.take(
            [*answers[model].values()],
            lessons=lessons,
            answer_of=answer_of,
            perplexity=texts if isinstance(texts, NotMeasured) else desk.perplexity(patch, texts),
        )
        for model, patch in draft.pair.models.items()
    }


def _lessons(recipe: Recipe, seed: int) -> Set[str] | NotMeasured:
    """The training answers that nobody gives by chance, or why there are none."""
    try:
        scenes = recipe.scenes(LESSONS, split=Split.TRAIN, seed=seed)
    except NotAvailable as error:
        return NotMeasured(why=str(error))
    return {s.misaligned.strip() for s in scenes if len(s.misaligned.split()) >= measures.FEWEST_WORDS}


def _curve(
    organism: Organism, questions: Questions, answers: Mapping[str, Mapping[str, Answers]]
) -> dict[int, dict[str, Estimate]]:
    """The behaviour's own measures at each kept step, and at the last. Step 0 is the base. Nothing where nothing was
    trained.
    """
    if not organism.history:
        return {}
    models = {0: "base"} | {step: f"step {step}" for step in organism.snapshots} | {len(organism.history): "organism"}
    shares = {
        step: {measure: measures.share(answers[model][measure]) for measure in questions.beginnings}
        for step, model in models.items()
    }
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


def _pack(key: str, record: _Record) -> Entry:
    """A card as an entry of the room, with what its judges said and the way to its episodes."""
    card = record.card
    meta = {
        "recipe": card.recipe,
        "seed": card.seed,
        "base": card.base,
        "verdict": card.verdict.value,
        "organism": card.organism,
    }
    batteries = [answers.battery for answers in record.answers["organism"].values()]
    scores = {model: {m: a.scores for m, a in row.items()} for model, row in record.answers.items()}
    payload = plain(card) | {"episode_keys": record.keys}
    return Entry(kind="card", key=key, payload=payload, tensors=pack_judgement(batteries, scores), meta=meta)
