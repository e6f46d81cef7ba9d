"""Grow, bench, treat and write ledgers on Ray: each task takes a group of organisms or of detectors, each process has
one core or one GPU, and the room holds the results.

    with cluster.connected() as ray:
        cluster.grow(ray, recipes, base, room, seeds=seeds)
    organisms = stages.grow(recipes, opened, room, seeds=seeds)  # trains nothing: all of them are in the room

A task opens the base, works as it would without Ray, and leaves its results in the room. Only recipes, seeds, ids and
names go over the network. Where a worker dies, Ray starts its task again on any node, and the task continues from the
group's last checkpoint, or after its last detector. So every node must see the room under the same path (a shared
folder with working file locks), have flyroom installed, and find the base under the same name. Organisms are the same
as without Ray, up to floating point, because batches are divided differently.

Left out: gradients over the network (adapters are independent), Ray's object store, starting clusters (`ray up` does).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from flyroom import stages
from flyroom.grow import Order, grow_orders
from flyroom.lineup import Terms
from flyroom.room import Room
from flyroom.stages import ledgers, treating
from flyroom.stages.exams import Exam
from flyroom.stages.graders import open_graders
from flyroom.types import NotAvailable, Recipe, Watch

RETRIES = 5  # new starts of a task whose worker died
HANDS = 4  # groups of detectors for each process, so that a process that ends early takes another
SETTINGS = {  # Ray's settings, unless the environment sets them
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage statistics
    "RAY_worker_niceness": "0",  # Ray's default of 15 lets every other process on the machine go first
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the default of later versions; without it Ray warns
}


def grow(
    ray: Any,
    recipes: Sequence[Recipe],
    base: str,
    room: Room,
    *,
    seeds: Sequence[int],
    compile: bool = False,
    watch: Watch | None = None,
) -> None:
    """Put each recipe and its twin, with each seed, into the room, as `stages.grow` does.

    Args: ray, the value of `connected`; base, its name, folder or hub id; compile, as in `TorchEngine.open`. Raises the
    error of a task, and RuntimeError for a group whose workers died RETRIES + 1 times.
    """
    groups = shards(recipes, seeds, _processes(ray))
    _run(ray, partial(_grow, _make_absolute(base), room.root, compile), groups, "grow", watch)


def bench(
    ray: Any,
    ids: Sequence[str],
    base: str,
    room: Room,
    names: Sequence[str],
    *,
    seed: int,
    calibration: int,
    known_room: Path | None = None,
    terms: Terms | None = None,
    watch: Watch | None = None,
) -> None:
    """Put the cells of these detectors on these organisms into the room, as `stages.bench` does.

    A detector that fails leaves no cell. The calibration twins must be in the room already, or each task would grow
    them. Args and errors are those of `stages.bench` and `grow`; known_room, a room of organisms and twins for
    detectors to fit on.
    """
    settings = {"seed": seed, "calibration": calibration, "terms": terms}
    work = partial(_bench, _make_absolute(base), room.root, tuple(ids), known_room and known_room.absolute(), settings)
    _run(ray, work, stages.dealt(names, HANDS * _processes(ray)), "bench", watch)


def treat(
    ray: Any,
    ids: Sequence[str],
    base: str,
    room: Room,
    names: Sequence[str],
    *,
    watch: Watch | None = None,
) -> None:
    """Put what these treatments make of these organisms and their twins into the room: a task takes one treatment and
    some of the organisms.
    """
    work = partial(_treat, _make_absolute(base), room.root)
    _run(ray, work, _cells(ray, ids, names), "treat", watch)


def ledger(
    ray: Any,
    ids: Sequence[str],
    base: str,
    room: Room,
    names: Sequence[str],
    exam: Exam,
    *,
    watch: Watch | None = None,
) -> None:
    """Put what the ledger of these treatments is made of into the room. A task takes one organism, with all treatments,
    because they share what the untreated organism is asked and trained on; or one detector, before whom all stand
    together. Args: exam, as in `stages.ledgers.write_ledger`. Calibration twins must be in the room, or several tasks
    would grow them.
    """
    settings = _make_absolute(base), room.root, tuple(names)
    _run(ray, partial(_ask, *settings, replace(exam, detectors=())), [[name] for name in ids], "ledger", watch)
    if exam.detectors:
        _run(
            ray, partial(_detect, *settings, tuple(ids), exam), [[x] for x in exam.detectors], "detectors again", watch
        )


def _cells(ray: Any, ids: Sequence[str], names: Sequence[str]) -> list[list[Any]]:
    """Treatments times organisms: so many organisms to a task that each process has some tasks and each task some
    company, because the organisms of a task are trained in one batch.
    """
    parts = max(1, -(-HANDS * _processes(ray) // max(1, len(names))))
    groups = [tuple(ids[i::parts]) for i in range(min(parts, len(ids)))]
    return [[(name, group)] for name in names for group in groups]


def _run(
    ray: Any, work: Callable[[list[Any]], None], groups: Sequence[list[Any]], stage: str, watch: Watch | None
) -> None:
    """Run one task for each group, and wait for all of them."""
    on_cpu = not ray.cluster_resources().get("GPU")
    options = {"num_cpus": 1} if on_cpu else {"num_gpus": 1}
    task = ray.remote(**options, max_retries=RETRIES)(_task)
    waiting, finished = [task.remote(work, group, on_cpu) for group in groups], 0
    while waiting:
        ready, waiting = ray.wait(waiting)
        _raise_failures(ray, ready)
        finished += len(ready)
        if watch:
            watch(stage, finished, len(groups), f"groups, {len(waiting)} on their way")


def _task(work: Callable[[list[Any]], None], group: list[Any], on_cpu: bool) -> None:
    """The work of one worker. On a CPU it uses one thread, because threads that share a core wait for each other."""
    import torch

    if on_cpu:
        torch.set_num_threads(1)
    work(group)


def _grow(base: str, room: Path, compile: bool, orders: Sequence[Order]) -> None:
    opened = stages.open_base(base, compile=compile)
    with open_graders((recipe for recipe, _ in orders), opened):
        grow_orders(orders, opened.engine, room=Room(room))


def _bench(
    base: str, room: Path, ids: Sequence[str], known_room: Path | None, settings: dict[str, Any], names: Sequence[str]
) -> None:
    opened, store = stages.open_base(base), Room(room)
    references = stages.stored(Room(known_room), opened, None) if known_room else ()
    organisms = stages.stored(store, opened, ids)
    stages.bench(organisms, opened, store, names=names, known=references, **settings)


def _treat(base: str, room: Path, cells: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    opened, store = stages.open_base(base), Room(room)
    for name, ids in cells:
        organisms = stages.stored(store, opened, ids)
        with suppress(NotAvailable):  # the call that gathers says which are not available
            treating.treat_all(organisms, treating.courses_of([name]), opened, store)


def _ask(base: str, room: Path, names: tuple[str, ...], exam: Exam, ids: Sequence[str]) -> None:
    opened, store = stages.open_base(base), Room(room)
    ledgers.ask_cases(ledgers.cases_in(store, opened, names, ids), opened, store, exam)


def _detect(
    base: str, room: Path, names: tuple[str, ...], ids: tuple[str, ...], exam: Exam, detectors: Sequence[str]
) -> None:
    opened, store = stages.open_base(base), Room(room)
    cases = ledgers.cases_in(store, opened, names, ids)
    ledgers.detect_cases(cases, opened, store, replace(exam, detectors=tuple(detectors)))


def _processes(ray: Any) -> int:
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0)) or int(resources.get("CPU", 1))


def _make_absolute(base: str) -> str:
    """Returns the base with an absolute path if it is a folder: a worker may have another working directory."""
    local = stages.locate(base) == base and Path(base).expanduser().is_dir()
    return str(Path(base).expanduser().absolute()) if local else base


def shards(recipes: Sequence[Recipe], seeds: Sequence[int], n: int) -> list[list[Order]]:
    """Divide the orders into at most `n` groups of similar size. Each organism comes once, and a twin shared by several
    recipes comes with the first of them.
    """
    pairs, organisms = [], set[tuple[str, int]]()
    for recipe in recipes:
        for seed in seeds:
            orders = [(r, seed) for r in stages.with_twins([recipe]) if (r.id, seed) not in organisms]
            organisms |= {(r.id, seed) for r, _ in orders}
            pairs += [orders] if orders else []
    return [[order for pair in pairs[i::n] for order in pair] for i in range(min(n, len(pairs)))]


@contextmanager
def connected(address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Yields Ray, connected to the cluster at `address`, or without one to a cluster on this machine with `workers`
    cores (None: all cores), which ends with the block. Raises ValueError if Ray is not installed, does not start or
    does not answer.
    """
    ray = _ray()
    cores = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **cores)
    except Exception as error:  # Ray raises a plain Exception where its node does not start within 30 seconds
        where = f"no Ray cluster answers at {address}" if address else "Ray did not start on this machine"
        raise ValueError(f"{where}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ray() -> ModuleType:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        what = f"Ray is not installed for {sys.executable}"
        raise ValueError(f"{what}; pip install 'flyroom[cluster]'") from error
    return ray


def _raise_failures(ray: Any, ready: Sequence[Any]) -> None:
    try:
        ray.get(list(ready))
    except ray.exceptions.RayTaskError as error:  # its message is the worker's traceback
        raise error.cause from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
        raise RuntimeError(
            f"a group's worker died {RETRIES + 1} times; what is in the room stays, and the same call goes on: {error}"
        ) from error
