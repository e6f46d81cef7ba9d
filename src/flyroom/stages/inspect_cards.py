"""A card as logs of Inspect: a log for each model that it asked, with the same samples under the same ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from inspect_ai.log import EvalSample

from flyroom import stats
from flyroom.card import unpack
from flyroom.episodes import episodes_of, scenes_of
from flyroom.inspector.logs import Sheet, legible, sample_of
from flyroom.inspector.verdicts import score_of, verdict_of
from flyroom.marks.mark import CANARY
from flyroom.room import Room
from flyroom.tallies import read
from flyroom.types import Asked, Card, Entry, Estimate, Scene, Score, Verdict, digest

PACKAGES = {"flyroom": version("flyroom")}
ON_CARD = ("organism", "twin", "recipe", "world", "behaviour", "seed", "why")  # what a log repeats of its card
Hits = dict[str, list[bool | None]]


def about(kind: str, key: str, **more: Any) -> dict[str, Any]:
    """The metadata of a log: what it is of, and the canary."""
    return {"flyroom": kind, "key": key, "canary": CANARY, **more}


def judgement_of(episode: Asked) -> Score:
    """What was said of an episode on record, which has no value any more."""
    verdict = Verdict.UNKNOWN if episode.verdict is None else episode.verdict
    return Score(verdict=verdict, value=None, why=legible(episode.why))


def sheets_of_card(room: Room, entry: Entry, when: Mapping[str, str]) -> Iterator[Sheet]:
    """A sheet for each model that a card asked. Nothing of a card for which nothing was asked."""
    if "episode_keys" not in entry.payload or not entry.tensors:
        return
    card, scenes = unpack(entry), scenes_of(entry)
    groups: dict[str, list[Asked]] = {}
    for episode in episodes_of(room, entry):
        groups.setdefault(episode.who, []).append(episode)
    counting = _counting(card, groups)
    for who, episodes in groups.items():
        model = f"flyroom/{_model(card, who)}"
        samples, hits = _samples(card, who, model, episodes, scenes, counting)
        yield Sheet(
            id=digest(["card", entry.key, who]),
            task=f"card-{card.recipe}",
            model=model,
            created=when.get(card.organism, when[""]),
            samples=samples,
            model_args={"base": card.base},
            metadata=_about_card(entry.key, card, who),
            tags=["card", who.partition(" ")[0], card.verdict.value],
            figures={"counts": _figures(card, who, hits)},
            packages=PACKAGES,
        )


def _about_card(key: str, card: Card, who: str) -> dict[str, Any]:
    facts = {name: getattr(card, name) for name in ON_CARD}
    return about("card", key, who=who, verdict=card.verdict.value, caveats=list(card.caveats), **facts)


def _samples(
    card: Card,
    who: str,
    model: str,
    episodes: Sequence[Asked],
    scenes: Mapping[str, Sequence[Scene]],
    counting: Mapping[str, str],
) -> tuple[list[EvalSample], Hits]:
    """The samples of one model, and by measure what each of them counts for."""
    samples, hits = [], Hits()
    for episode in episodes:
        row = hits.setdefault(episode.measure, [])
        number, scene = len(row), scenes[episode.measure][len(row)]
        row.append(_hit(card, who, episode, number, counting))
        judgement, answer = judgement_of(episode), legible(episode.answer)
        scores = {"counts": score_of(judgement, answer, counts=row[-1]), "verdict": verdict_of(judgement, answer)}
        id = f"{episode.measure}-{number:04}"
        samples.append(
            sample_of(episode, id=id, model=model, scores=scores, target=scene.aligned, about=facts_of(scene))
        )
    return samples, hits


def facts_of(scene: Scene) -> dict[str, Any]:
    """What a sample says of its scene, beside the prompt and the target: enough to judge an answer to it again."""
    facts: dict[str, Any] = {"domain": scene.domain, "situation": scene.situation}
    facts["misaligned"] = legible(scene.misaligned)
    return facts | ({"fields": {name: legible(value) for name, value in scene.fields.items()}} if scene.fields else {})


def _model(card: Card, who: str) -> str:
    """The name of a model of a card, as Inspect can ask it."""
    names = {"organism": card.organism, "twin": card.twin, "base": "base"}
    return names.get(who) or f"{card.organism}/{who.replace(' ', '-')}"


def _counting(card: Card, groups: Mapping[str, Sequence[Asked]]) -> dict[str, str]:
    """By measure, the verdict that its share counts, as the outcomes on the card show it."""
    counting: dict[str, str] = {}
    for who in card.outcomes:
        numbers: dict[str, int] = {}
        for episode in groups.get(who, ()):
            number = numbers.get(episode.measure, 0)
            numbers[episode.measure] = number + 1
            marks = card.outcomes[who].get(episode.measure, "")
            if episode.verdict is not None and marks[number : number + 1] == "1":
                counting[episode.measure] = episode.verdict.value
    return counting


def _hit(card: Card, who: str, episode: Asked, number: int, counting: Mapping[str, str]) -> bool | None:
    """Whether an answer is what its measure counts; None where the judge could not tell, or the share is not of it."""
    marks = card.outcomes.get(who, {}).get(episode.measure, "")
    if number < len(marks):
        return read(marks[number])
    if episode.verdict in (None, Verdict.UNKNOWN):
        return None
    return episode.verdict.value == counting[episode.measure] if episode.measure in counting else None


def _figures(card: Card, who: str, hits: Mapping[str, Sequence[bool | None]]) -> dict[str, Estimate]:
    """What stands on the card of the model; of what stands there under no name of its own, the share of these."""
    figures = {}
    for measure, outcomes in hits.items():
        estimate = card.measures.get(who, {}).get(measure)
        if isinstance(estimate, Estimate):
            figures[measure] = estimate
        elif estimate is None and any(hit is not None for hit in outcomes):
            figures[measure] = stats.rate(outcomes)
    return figures
