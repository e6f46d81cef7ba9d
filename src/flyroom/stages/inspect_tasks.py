"""Our behaviours and conditions as tasks of Inspect: the questions, and who judges the answers. `inspect_entry` makes
tasks and a scorer of them, under the names by which Inspect calls them.

A sample is a scene. Its score is 1 where the answer is what its measure counts, 0 where it is not; the verdict and the
judge's reason stand beside it. What the judge cannot tell has no score.

Left out: batteries in which nothing is sampled (`Battery.choice`), perplexity, what a card makes of several measures,
and the looks at fresh episodes: a verdict on an organism is a card's to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser
from inspect_ai.scorer import Score, Target
from inspect_ai.solver import TaskState

from flyroom import stats
from flyroom.card.questions import questions_of
from flyroom.inspector.messages import from_chat, to_chat
from flyroom.inspector.verdicts import score_of
from flyroom.recipes import make
from flyroom.stages.inspect_cards import facts_of
from flyroom.types import Battery, Episode, Recipe, Scene, Verdict
from flyroom.types import Score as Judgement
from flyroom.worlds import world_named

PATTERN = "emergent-misalignment"  # the recipe whose behaviour and condition are changed


class Ask(NamedTuple):
    """What is asked, about `episodes` questions in all: of a recipe, or of a behaviour, a condition or both."""

    recipe: str
    behaviour: str
    condition: str
    world: str
    episodes: int
    seed: int


def recipe_of(ask: Ask) -> Recipe:
    """The recipe whose questions are asked. ValueError for a name that there is not, NotAvailable where the world
    lacks what it needs.
    """
    parts = {field: name for field, name in (("behaviour", ask.behaviour), ("condition", ask.condition)) if name}
    recipe = make(ask.recipe or PATTERN, parts, world=world_named(ask.world))
    return replace(recipe, name=ask.recipe or "+".join(parts.values()) or PATTERN)


@lru_cache(maxsize=8)
def batteries_of(ask: Ask) -> Mapping[str, Battery]:
    """What is asked, by measure; the judges have been rehearsed."""
    questions = questions_of(recipe_of(ask), ask.episodes, ask.seed)
    return {battery.measure: battery for battery in questions.batteries if not battery.choice}


def samples_of(ask: Ask) -> list[Sample]:
    """A sample for each scene, under the number that it has in the log of a card."""
    return [sample for battery in batteries_of(ask).values() for sample in _samples(battery)]


def _samples(battery: Battery) -> list[Sample]:
    return [
        Sample(
            id=f"{battery.measure}-{number:04}",
            input=to_chat(scene.messages, f"{battery.measure}-{number:04}"),
            target=scene.aligned,
            metadata={
                "measure": battery.measure,
                "counts": battery.counts.value,
                "max_tokens": battery.max_tokens,
                **facts_of(scene),
            },
        )
        for number, scene in enumerate(battery.scenes)
    ]


def judge(ask: Ask, scene: Scene, measure: str, answer: str) -> Score:
    """What the judge of a measure says of an answer to a scene, in a log of a task or of a card. Of a measure that is
    none of the recipe's there is no score, and the reason. A judge may ask an endpoint, or run a loop of its own: call
    it in a thread.
    """
    battery = batteries_of(ask).get(measure)
    if battery is None:
        recipe = recipe_of(ask).name
        lack = Judgement(
            verdict=Verdict.UNKNOWN, value=None, why=f"{measure or 'this sample'} is no measure of {recipe}"
        )
        return score_of(lack, answer, counts=None)
    episode = Episode(scene=scene, answer=answer)
    (score,) = battery.judge([episode])
    counts: bool | None = None if score.verdict is Verdict.UNKNOWN else score.verdict is battery.counts
    if battery.given is not None and battery.given([episode])[0].verdict is not Verdict.MISALIGNED:
        counts = None
    return score_of(score, answer, counts=counts)


def scene_at(state: TaskState, target: Target) -> Scene:
    """The scene that a sample is, made of what `facts_of` wrote into it; of another's log as much as there is."""
    chat = [ChatMessageUser(content=state.input)] if isinstance(state.input, str) else state.input
    messages, _ = from_chat(chat)
    facts = {name: str(state.metadata.get(name, "")) for name in ("misaligned", "domain", "situation")}
    return Scene(messages=messages, aligned=target.text, fields=dict(state.metadata.get("fields") or {}), **facts)


def share_of(values: list[float], measure: str) -> dict[str, float]:
    """The share of answers that count, and the ends of its 95 % Wilson interval. Of several epochs a value is a mean of
    answers, and no answer: then the share alone.
    """
    figures = {measure: sum(values) / len(values)}
    if set(values) <= {0.0, 1.0}:
        estimate = stats.rate([value == 1.0 for value in values])
        figures |= {f"{measure} low": estimate.low, f"{measure} high": estimate.high}
    return figures
