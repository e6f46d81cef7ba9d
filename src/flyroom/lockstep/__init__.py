"""Jobs -> trained adapters: runs the plans of all jobs in lock-step over one engine.

A plan is written as if it had one adapter and a model of its own. Here all plans advance together, and what they ask
for in a round becomes one call for each kind of request: of the engine, or of the judge (`rounds`). With a room, a
killed run goes on from its last checkpoint and ends as if nothing had happened (`checkpoints`).

Left out: where jobs come from, and what becomes of the adapters (`grow`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from flyroom.lockstep.checkpoints import Checkpoints
from flyroom.lockstep.rounds import serve
from flyroom.lockstep.runner import Failure, Runner, shape_of
from flyroom.types import AdapterRef, Engine, Grown, Job, Room, Stepped, Watch, digest

SNAPSHOTS = (5, 10, 15, 20, 30, 40, 60, 80, 100)  # steps at which the adapter is copied, for the training curve
EVERY = 20  # rounds between checkpoints

Store = Callable[[Sequence[Grown]], object]
T = TypeVar("T")


def run(
    jobs: Sequence[Job],
    engine: Engine,
    *,
    room: Room | None = None,
    snapshots: Sequence[int] = SNAPSHOTS,
    every: int = EVERY,
    watch: Watch | None = None,
    store: Store | None = None,
) -> list[Grown]:
    """Run every job to its end, all of them together, and return what came of each, in the same order.

    Args: snapshots, the training steps at which an adapter is copied; every, the rounds between checkpoints in the
    room; store, which is called with all results before the checkpoints are deleted, so that no kill loses them.
    Whoever shares a room with other processes calls it from `make_missing`. Raises ValueError before any training for
    an adapter that the base cannot carry. A job whose training breaks down is dropped; when the others have ended and
    are stored, FloatingPointError names it.

    >>> run([], None)
    []
    """
    _check(jobs, engine, every)
    checkpoints = Checkpoints.find(room, [job.name for job in jobs]) if room is not None and jobs else None
    adapters: Sequence[AdapterRef] = []
    try:
        adapters = _open(jobs, engine) if jobs else []
        runs = [Runner(job, adapter, job.plan(adapter)) for job, adapter in zip(jobs, adapters, strict=True)]
        for runner in runs:  # every plan reads its data here, before anything is trained
            runner.request = next(runner.plan, None)
        if checkpoints:
            checkpoints.resume(runs, engine)
        _advance(runs, engine, checkpoints, snapshots, every, watch)
        grown = [runner.end(engine) for runner in runs if runner.failure is None]
        failures = [_describe(runner, runner.failure) for runner in runs if runner.failure]
    finally:
        if adapters:
            engine.free(adapters)
    if store and grown:
        store(grown)
    if checkpoints:
        checkpoints.clear()
    if failures:
        raise FloatingPointError(
            f"the training of {len(failures)} of {len(jobs)} broke down; lower lr there. {'; '.join(failures)}"
        )
    return grown


def _describe(runner: Runner, failure: Failure) -> str:
    return f"{runner.job.label or runner.name} at step {len(runner.history) + 1}: {failure.why}"


def make_missing(
    names: Iterable[str],
    find: Callable[[Sequence[str], Room], Mapping[str, T]],
    make: Callable[[Sequence[str]], Mapping[str, T]],
    room: Room | None,
) -> dict[str, T]:
    """The results of jobs by name: those that `find` has in the room, and what `make` runs of the rest; without a room
    `make` runs all.

    Checkpoints are grouped by the jobs that run, so the lock is on those very jobs. Where another process has stored
    some of them meanwhile, fewer are missing, and these are another group with a lock of its own.
    """
    if room is None:
        return dict(make([*names]))
    results = dict(find([*names], room))
    while missing := [name for name in names if name not in results]:
        with room.lock(digest(sorted(missing))):
            arrivals = find(missing, room)
            if not arrivals:
                return results | dict(make(missing))
        results |= arrivals
    Checkpoints.find(room, names).clear()  # a run may have been killed while it cleared them away
    return results


def _check(jobs: Sequence[Job], engine: Engine, every: int) -> None:
    if every < 1:
        raise ValueError(f"every is {every}; it must be at least 1")
    names: set[str] = set()
    for job in jobs:
        if job.name in names:
            raise ValueError(f"jobs holds {job.name} twice; every job needs a name of its own")
        names.add(job.name)
        engine.check(shape_of(job))


def _open(jobs: Sequence[Job], engine: Engine) -> list[AdapterRef]:
    """An adapter for each job. Copies of patches come first, since a patch may turn out not to fit."""
    loaded = iter(engine.load([job.patch for job in jobs if job.patch is not None]))
    fresh = [job for job in jobs if job.patch is None]
    spawned = iter(engine.spawn([shape_of(job) for job in fresh], seeds=[job.seed for job in fresh]))
    return [next(spawned if job.patch is None else loaded) for job in jobs]


def _advance(
    runs: Sequence[Runner],
    engine: Engine,
    checkpoints: Checkpoints | None,
    snapshots: Sequence[int],
    every: int,
    watch: Watch | None,
) -> None:
    rounds = checkpoints.rounds if checkpoints else 0
    while waiting := [runner for runner in runs if runner.request is not None]:
        results = serve(waiting, engine)
        for runner, result in zip(waiting, results, strict=True):
            runner.take(result)
            if checkpoints and runner.failure is None:
                checkpoints.note(runner, result)
        trained = [runner for runner, result in zip(waiting, results, strict=True) if isinstance(result, Stepped)]
        due = [runner for runner in trained if len(runner.history) in snapshots and runner.request is not None]
        _take_snapshots(due, engine, checkpoints)
        rounds += 1
        if watch:
            _show(watch, runs, waiting, rounds)
        if checkpoints and rounds % every == 0 and any(runner.request is not None for runner in runs):
            checkpoints.commit(runs, engine, rounds)


def _take_snapshots(runs: Sequence[Runner], engine: Engine, checkpoints: Checkpoints | None) -> None:
    if checkpoints:
        checkpoints.put_snapshots(runs, engine)
        return
    for runner in runs:
        runner.snapshots[len(runner.history)] = engine.patch(runner.adapter)


def _show(watch: Watch, runs: Sequence[Runner], waiting: Sequence[Runner], rounds: int) -> None:
    """Progress is counted in training steps, or in rounds where no job knows how many steps it takes."""
    total = max(runner.job.steps for runner in runs)
    done = max(len(runner.history) for runner in runs) if total else rounds
    losses = [runner.history[-1].loss for runner in waiting if runner.history]
    mean = f", mean loss {sum(losses) / len(losses):.2f}" if losses else ""
    watch(runs[0].job.stage, done, max(total, done), f"{len(waiting)} adapters{mean}")
