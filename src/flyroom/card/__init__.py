"""Organism + twin -> Card: the same questions to the organism, its twin and its base, judged, with intervals and a
verdict.

Before anything is believed the judge is rehearsed on planted transcripts of the very scenes that are asked. Where that
fails, where organism and twin have the same weights, or where a behaviour cannot give what it should, the card says so
and measures nothing; the cards of the others are record. What a judge could not tell in more than half of the answers
is not measured; below that it widens intervals and bounds by the worst case. A card that is undecided draws fresh
episodes, in at most three looks; all undecided cards look again at once, so that the engine is still asked in large
batches. Left out: what is asked (`questions`, `draft`), asking (`desk`), measures and their limits (`measures`,
`outcome`), and how episodes are kept (`episodes`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from flyroom.card import thresholds
from flyroom.card.desk import Desk, fingerprint, in_words
from flyroom.card.draft import Draft, Look, Pair
from flyroom.card.figures import TRANSCRIPTS, fill
from flyroom.card.outcome import LOOKS, times_needed
from flyroom.card.questions import (
    FEWEST,
    Questions,
    check,
    judges_of,
    list_fresh_texts,
    name_of,
    questions_of,
    rehearse,
)
from flyroom.episodes import pack_judgement
from flyroom.measures import OF_TEXT, batteries_of
from flyroom.tallies import Looks, join_all
from flyroom.types import (
    About,
    Card,
    Engine,
    Entry,
    NotMeasured,
    Organism,
    Outcome,
    Recipe,
    Room,
    Row,
    Watch,
    digest,
    origin_of,
    plain,
)

__all__ = ["TRANSCRIPTS", "card", "check", "rehearse", "unpack"]

EPISODES = 500
FORMAT = 11  # part of the key: raise it when a card's content changes


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

    An organism whose own data are at fault (a judge that fails its rehearsal or raises, a threshold of no measure, the
    weights of its twin) gets a card that fails and says why, and is no obstacle to the others.

    Args: episodes, asked of each model in each look. With a room, what was asked is stored on the way, and not asked
    again. Raises ValueError for a missing twin.
    """
    if episodes < FEWEST:
        raise ValueError(f"episodes is {episodes}; a card needs at least {FEWEST}")
    by_id = {organism.id: organism for organism in organisms}
    pairs = [Pair(organism, _twin(organism, by_id)) for organism in by_id.values() if organism.recipe.dose > 0]
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


def _twin(organism: Organism, by_id: Mapping[str, Organism]) -> Organism:
    if organism.twin_id not in by_id:
        raise ValueError(
            f"the twin {organism.twin_id} of organism {organism.id} is missing; "
            f"grow {organism.recipe.name} at dose 0 with seed {organism.seed}"
        )
    return by_id[organism.twin_id]


def _keys(pairs: Sequence[Pair], seed: int, episodes: int) -> list[str | None]:
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
class _Record:
    """A card; and, where something was asked, the keys of the episodes and the answers, by model."""

    card: Card
    keys: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    answers: Mapping[str, Looks] = field(default_factory=dict)


class _Source:
    """The questions of recipes, the same for all that are asked alike."""

    def __init__(self, episodes: int, seed: int) -> None:
        self._episodes, self._seed = episodes, seed
        self._questions: dict[tuple[str, int], Questions] = {}

    def questions(self, recipe: Recipe, look: int) -> Questions:
        """ValueError as from `questions_of`."""
        name = name_of(recipe), look
        if name not in self._questions:
            earlier = [self.questions(recipe, number) for number in range(look)]
            questions = questions_of(recipe, self._episodes, self._seed, look)
            self._questions[name] = replace(questions, texts=list_fresh_texts(questions, earlier))
        return self._questions[name]

    def require_enough(self, card: Card) -> None:
        """ValueError where no further look can make a card of one look pass."""
        undecided = [one for one in card.limits if one.outcome is Outcome.UNDECIDED]
        times = max(times_needed(one, card.outcomes) for one in undecided)
        if times > LOOKS:
            enough = f"; {math.ceil(self._episodes * times / LOOKS)} might" if math.isfinite(times) else ""
            raise ValueError(f"{LOOKS} looks of {self._episodes} episodes cannot show that all limits are kept{enough}")


def _make(
    pairs: Sequence[Pair], engine: Engine, seed: int, episodes: int, room: Room | None, watch: Watch | None
) -> list[_Record]:
    """A card for each pair. Whatever the parts of its recipe raise becomes its own card's reason."""
    source, desk = _Source(episodes, seed), Desk(engine, seed=seed, room=room)
    records: dict[int, _Record] = {}
    drafts: dict[int, Draft] = {}
    for i, pair in enumerate(pairs):
        try:
            drafts[i] = _draft(pair, source)
        except Exception as error:  # other people's code: it is no obstacle to the others
            records[i] = _refusal(pair, error, engine)
    while drafts:
        for draft in drafts.values():
            draft.order(desk)
        desk.work(watch)
        records |= {i: _finish(draft, desk, engine, records.get(i)) for i, draft in drafts.items()}
        again: dict[int, Draft] = {}
        for i, draft in drafts.items():
            try:
                more = _look_again(draft, records[i].card, source)
                again |= {} if more is None else {i: more}
            except Exception as error:  # as above
                records[i] = _stop_looking(records[i], error)
        drafts = again
    return [records[i] for i in range(len(pairs))]


def _draft(pair: Pair, source: _Source) -> Draft:
    """What is asked in the first look. ValueError where nothing can be."""
    if fingerprint(pair.organism.patch) == fingerprint(pair.twin.patch):
        raise ValueError(
            f"organism {pair.organism.id} and its twin {pair.twin.id} have the same weights; "
            "a card would compare a model with itself"
        )
    questions, harmless = source.questions(pair.recipe, 0), pair.recipe.behaviour.harmless
    gauges = thresholds.gauge(questions.batteries, pair.recipe.thresholds, harmless=harmless)
    return Draft(pair, gauges, (Look(questions, questions.batteries, _texts(questions)),))


def _look_again(draft: Draft, card: Card, source: _Source) -> Draft | None:
    """The draft with fresh episodes for the limits that are undecided; None where there is nothing more to ask.
    ValueError where the recipe has no further questions, and where all looks together are too few for a limit.
    """
    if card.verdict is not Outcome.UNDECIDED or card.looks < len(draft.looks) or card.looks == LOOKS:
        return None
    if card.looks == 1:
        source.require_enough(card)
    questions = source.questions(draft.pair.recipe, card.looks)
    names = {one.measure for one in card.limits if one.outcome is Outcome.UNDECIDED}
    wanted = [battery for name in names for battery in batteries_of(name, questions.batteries)]
    batteries = [battery for battery in questions.batteries if battery in wanted]
    texts = _texts(questions) if names & set(OF_TEXT) else ()
    return replace(draft, looks=(*draft.looks, Look(questions, batteries, texts))) if batteries or texts else None


def _texts(questions: Questions) -> Sequence[Row]:
    return () if isinstance(questions.texts, NotMeasured) else questions.texts


def _finish(draft: Draft, desk: Desk, engine: Engine, before: _Record | None) -> _Record:
    """The record of a draft; where the last look was refused, the one before, which says so."""
    try:
        answers = draft.answers(desk)
        return _Record(fill(_blank(draft.pair, engine), draft, answers, desk), draft.keys(desk), answers)
    except ValueError as error:
        return _refusal(draft.pair, error, engine) if before is None else _stop_looking(before, error)


def _stop_looking(record: _Record, error: Exception) -> _Record:
    why = f"{record.card.why}; a further look was refused: {in_words(error)}"
    return replace(record, card=replace(record.card, why=why))


def _refusal(pair: Pair, error: Exception, engine: Engine) -> _Record:
    return _Record(replace(_blank(pair, engine), why=f"nothing was measured: {in_words(error)}"))


def _blank(pair: Pair, engine: Engine) -> Card:
    """A card before anything was measured."""
    recipe, origin = pair.recipe, origin_of(pair.twin.recipe)
    return Card(
        organism=pair.organism.id,
        twin=pair.twin.id,
        recipe=recipe.name,
        recipe_id=recipe.id,
        world=recipe.world.name,
        behaviour=recipe.behaviour.label,
        about=_about(recipe),
        base=engine.base.name,
        seed=pair.organism.seed,
        verdict=Outcome.FAIL,
        why="nothing was measured",
        measures={model: {} for model in pair.models},
        gauges={},
        episodes=0,
        provenance=pair.organism.provenance,
        caveats=(origin.caveat,) if origin else (),
    )


def _about(recipe: Recipe) -> About:
    try:
        return recipe.behaviour.about(recipe.world)
    except Exception:  # of a behaviour that nothing can be asked of
        return About(recipe.behaviour.label, "nothing else")


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
    answers = {model: join_all(looks) for model, looks in record.answers.items()}
    batteries = [one.battery for one in answers["organism"].values()]
    scores = {model: {m: one.scores for m, one in row.items()} for model, row in answers.items()}
    payload = plain(card) | {"episode_keys": record.keys}
    return Entry(kind="card", key=key, payload=payload, tensors=pack_judgement(batteries, scores), meta=meta)
