"""One round: what the plans wait for, each kind of request in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flyroom.lockstep.runner import Failure, Runner
from flyroom.types import AdapterRef, Diverged, Engine, Grade, Judge, LogProb, Sample, Step, Tell, Trace, score_with

Waiting = Sequence[tuple[Runner, Any]]  # jobs with their requests, all of one kind


def serve(runs: Sequence[Runner], engine: Engine) -> list[Any]:
    """One result for each job, in the same order. Raises ValueError for a plan that yields anything else."""
    results: dict[str, Any] = {}
    for kind, call in CALLS.items():
        waiting = [(runner, runner.request) for runner in runs if isinstance(runner.request, kind)]
        if waiting:
            results |= zip((runner.name for runner, _ in waiting), call(waiting, engine), strict=True)
    for runner in runs:
        if runner.name not in results:
            kinds = ", ".join(kind.__name__ for kind in CALLS)
            raise ValueError(
                f"the plan of {runner.name} yields a {type(runner.request).__name__}; it must be one of {kinds}"
            )
    return [results[runner.name] for runner in runs]


def _step(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    """Where some diverge no step was taken: the others take it without them, and theirs is a Failure."""
    try:
        return engine.step([runner.adapter for runner, _ in waiting], [request for _, request in waiting])
    except Diverged as error:
        reasons = {r.name: error.reasons[r.adapter.slot] for r, _ in waiting if r.adapter.slot in error.reasons}
    rest = [(runner, request) for runner, request in waiting if runner.name not in reasons]
    stepped = iter(_step(rest, engine) if rest else ())
    return [Failure(reasons[r.name]) if r.name in reasons else next(stepped) for r, _ in waiting]


def _sample(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    asks = [request.asks for _, request in waiting]
    return _split(engine.sample(_repeat(waiting, asks), _join(asks)), asks)


def _score(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    rows = [request.rows for _, request in waiting]
    return _split(engine.logprobs(_repeat(waiting, rows), _join(rows)), rows)


def _trace(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    """Plans may look at different layers: one call for each."""
    results: dict[str, Any] = {}
    for layer in sorted({request.layer for _, request in waiting}):
        group = [(runner, request) for runner, request in waiting if request.layer == layer]
        rows = [request.rows for _, request in group]
        traces = engine.trace(_repeat(group, rows), _join(rows), [layer])[:, 0]
        results |= zip((runner.name for runner, _ in group), _split(list(traces), rows), strict=True)
    return [results[runner.name] for runner, _ in waiting]


def _tell(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    return [engine.tell(runner.adapter, request.prompt) for runner, request in waiting]


def _grade(waiting: Waiting, engine: Engine) -> Sequence[Any]:
    """Judges with one id are one judge: it is called once, with the episodes of all."""
    groups: dict[str, tuple[Judge, list[tuple[Runner, Grade]]]] = {}
    for runner, request in waiting:
        if runner.job.judge is None:
            raise ValueError(f"the plan of {runner.name} asks for grades; its job needs a judge")
        groups.setdefault(runner.job.judge.id, (runner.job.judge, []))[1].append((runner, request))
    results: dict[str, Any] = {}
    for judge, group in groups.values():
        parts = [request.episodes for _, request in group]
        episodes = _join(parts)
        scores = score_with(judge, episodes) if episodes else []
        results |= zip((runner.name for runner, _ in group), _split(scores, parts), strict=True)
    return [results[runner.name] for runner, _ in waiting]


CALLS: Mapping[type, Callable[[Waiting, Engine], Sequence[Any]]] = {
    Step: _step,
    Sample: _sample,
    LogProb: _score,
    Trace: _trace,
    Tell: _tell,
    Grade: _grade,
}


def _repeat(waiting: Waiting, parts: Sequence[Sequence[Any]]) -> list[AdapterRef]:
    """Each job's adapter, as often as its part has items."""
    return [runner.adapter for (runner, _), part in zip(waiting, parts, strict=True) for _ in part]


def _join(parts: Sequence[Sequence[Any]]) -> list[Any]:
    return [item for part in parts for item in part]


def _split(values: Sequence[Any], parts: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Values in a row, as long as the parts are."""
    rest: Iterator[Any] = iter(values)
    return [[next(rest) for _ in part] for part in parts]
