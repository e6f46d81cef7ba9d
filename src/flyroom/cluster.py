"""Growth and the bench on Ray: groups of organisms or of detectors as tasks, one process a core or a GPU, results
through the room.

    with cluster.connected() as ray:
        cluster.grow(ray, recipes, base, room, seeds=seeds)
    organisms = stages.grow(recipes, opened, room, seeds=seeds)  # trains nothing: all of them are in the room

A task opens the base, works as it would anywhere and leaves what it made in the room; nothing but recipes, seeds, ids
and names travels. A task whose worker dies is started again by Ray, on any node, and goes on from the group's last
checkpoint, or after its last detector. So every node must see the room under the same path (a shared folder with
working file locks), have flyroom installed, and find the base under the same name. Organisms are as without Ray, up to
floating point: who stands in a batch beside whom is different.

Left out: gradients over the network (adapters are independent), Ray's object store, starting clusters (`ray up` does).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from flyroom import stages
from flyroom.grow import Order, grow_orders
from flyroom.lineup import Terms
from flyroom.room import Room
from flyroom.types import Recipe, Watch
from flyroom.worlds.micro.bundled import bundled

RETRIES = 5  # of a task whose worker died
HANDS = 4  # groups of detectors for each process, so that one who is done early takes another
SETTINGS = {  # unless the environment says otherwise
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told what is grown here
    "RAY_worker_niceness": "0",  # or all else on the machine comes before the organisms: Ray's default is 15
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's coming default, and no warning about it
}


def address_of(on: str) -> str | None:
    """Where "ray" (None, a cluster on this machine) or "ray:ADDRESS" points; what `ray.init` takes as an address.

    >>> address_of("ray:10.0.0.4:6379")
    '10.0.0.4:6379'
    """
    scheme, colon, address = on.partition(":")
    if scheme != "ray" or bool(colon) is not bool(address):
        raise ValueError(f'on is "{on}"; it must be "ray", or "ray:ADDRESS" such as ray:auto or ray:10.0.0.4:6379')
    return address or None


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

    Args: ray, what `connected` gave; base, its name, folder or hub id; compile, as in `TorchEngine.open`. Raises what a
    task raised, if it was no death of its worker; RuntimeError for a group whose workers died RETRIES + 1 times.
    """
    groups = shards(recipes, seeds, _processes(ray))
    _run(ray, partial(_grow, _anywhere(base), room.root, compile), groups, "grow", watch)


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
    certify: float | None = None,
    watch: Watch | None = None,
) -> None:
    """Put the cells of these detectors on these organisms into the room, as `stages.bench` does; a detector that failed
    leaves none. The calibration twins must be there already, or each task would grow them. Args and errors as there and
    in `grow`; known_room, a room whose organisms and twins are told apart.
    """
    settings = {"seed": seed, "calibration": calibration, "terms": Terms(certify=certify)}
    work = partial(_bench, _anywhere(base), room.root, tuple(ids), known_room and known_room.absolute(), settings)
    _run(ray, work, stages.dealt(names, HANDS * _processes(ray)), "bench", watch)


def _run(
    ray: Any, work: Callable[[list[Any]], None], groups: Sequence[list[Any]], stage: str, watch: Watch | None
) -> None:
    """One task a group, until all are done."""
    on_cpu = not ray.cluster_resources().get("GPU")
    options = {"num_cpus": 1} if on_cpu else {"num_gpus": 1}
    task = ray.remote(**options, max_retries=RETRIES)(_task)
    waiting, count = [task.remote(work, group, on_cpu) for group in groups], 0
    while waiting:
        ready, waiting = ray.wait(waiting)
        _take(ray, ready)
        count += len(ready)
        if watch:
            watch(stage, count, len(groups), f"groups, {len(waiting)} on their way")


def _task(work: Callable[[list[Any]], None], group: list[Any], on_cpu: bool) -> None:
    """What a worker does. Two processes that share a core spin; so each has one thread."""
    import torch

    if on_cpu:
        torch.set_num_threads(1)
    work(group)


def _grow(base: str, room: Path, compile: bool, orders: Sequence[Order]) -> None:
    grow_orders(orders, stages.open_base(base, compile=compile).engine, room=Room(room))


def _bench(
    base: str, room: Path, ids: Sequence[str], known_room: Path | None, settings: dict[str, Any], names: Sequence[str]
) -> None:
    opened, store = stages.open_base(base), Room(room)
    references = stages.stored(Room(known_room), opened, None) if known_room else ()
    organisms = stages.stored(store, opened, ids)
    stages.bench(organisms, opened, store, names=names, known=references, **settings)


def _processes(ray: Any) -> int:
    resources = ray.cluster_resources()
    return int(resources.get("GPU", 0)) or int(resources.get("CPU", 1))


def _anywhere(base: str) -> str:
    """The base's name for a worker, who may stand in another folder."""
    local = base not in bundled() and Path(base).expanduser().is_dir()
    return str(Path(base).expanduser().absolute()) if local else base


def shards(recipes: Sequence[Recipe], seeds: Sequence[int], n: int) -> list[list[Order]]:
    """At most `n` groups of orders, as equal as can be: every organism once, a twin beside the first that it is of."""
    pairs, names = [], set[tuple[str, int]]()
    for recipe in recipes:
        for seed in seeds:
            fresh = [(r, seed) for r in stages.with_twins([recipe]) if (r.id, seed) not in names]
            names |= {(r.id, seed) for r, _ in fresh}
            pairs += [fresh] if fresh else []
    return [[order for pair in pairs[i::n] for order in pair] for i in range(min(n, len(pairs)))]


@contextmanager
def connected(address: str | None = None, workers: int | None = None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`; or to one on this machine, of `workers` cores (None: all), that lives
    as long as the block. ValueError if Ray is not installed, does not start or does not answer there.
    """
    ray = _ray()
    cores = {} if address else {"num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **cores)
    except Exception as error:  # a plain Exception is what Ray raises where its node is not up within 30 seconds
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


def _take(ray: Any, ready: Sequence[Any]) -> None:
    try:
        ray.get(list(ready))
    except ray.exceptions.RayTaskError as error:  # its own text is the worker's traceback
        raise error.cause from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as error:
        raise RuntimeError(
            f"a group's worker died {RETRIES + 1} times; what is in the room stays, and the same call goes on: {error}"
        ) from error
