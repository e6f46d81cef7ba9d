"""Growth on Ray: packed groups of organisms as tasks, one process a core or a GPU, results through the room.

A task opens the base, grows its orders as `grow` does anywhere and leaves them in the room; nothing but recipes and
seeds travels. A task whose worker dies is started again by Ray, on any node, and goes on from the group's last
checkpoint. So every node must see the room under the same path (a shared folder with working file locks), have flyroom
installed, and find the base under the same name. Organisms are as without Ray, up to floating point: who stands in a
batch beside whom is different.

Left out: gradients over the network (adapters are independent), Ray's object store, starting clusters (`ray up` does).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from flyroom import stages
from flyroom.grow import Order, grow_orders
from flyroom.room import Room
from flyroom.types import Organism, Recipe
from flyroom.world.bundled import bundled

Watch = Callable[[str, int, int, str], None]
RETRIES = 5  # of a task whose worker died
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
    made: Sequence[Recipe],
    base: str,
    room: Room,
    *,
    seeds: Sequence[int],
    address: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> list[Organism]:
    """What `stages.grow` does, on a Ray cluster: each recipe and its twin, with each seed, in the same order.

    Args: base, its name, folder or hub id; address, of a running cluster (None: one is started on this machine and
    stopped at the end); workers, groups that are grown side by side (None: one a GPU, or one a core where there is
    none). ValueError if Ray is not installed, does not start or does not answer there; what a task raised, if it was no
    death of its worker; RuntimeError for a group whose workers died RETRIES + 1 times.
    """
    bench = stages.open_base(base)
    if base not in bundled() and Path(base).expanduser().is_dir():
        base = str(Path(base).expanduser().absolute())  # a worker may stand in another folder
    with connected(address, workers) as ray:
        run(ray, made, base, room, seeds=seeds, workers=workers, watch=watch)
    return stages.grow(made, bench, room, seeds=seeds)  # all of them are in the room


def run(
    ray: Any,
    made: Sequence[Recipe],
    base: str,
    room: Room,
    *,
    seeds: Sequence[int],
    workers: int | None = None,
    watch: Watch | None = None,
) -> None:
    """The tasks of `grow`, on a cluster that `connected` gave; when it returns, all organisms are in the room."""
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    groups = shards(made, seeds, workers or gpus or int(resources.get("CPU", 1)))
    options = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    task = ray.remote(**options, max_retries=RETRIES)(_grow_group)
    waiting, done = [task.remote(base, str(room.root), group, not gpus) for group in groups], 0
    while waiting:
        ready, waiting = ray.wait(waiting)
        _take(ray, ready)
        done += len(ready)
        if watch:
            watch("grow", done, len(groups), f"groups of organisms, {len(waiting)} on their way")


def shards(made: Sequence[Recipe], seeds: Sequence[int], n: int) -> list[list[Order]]:
    """At most `n` groups of orders, as equal as can be: every organism once, a twin beside the first that it is of."""
    pairs, seen = [], set[tuple[str, int]]()
    for recipe in made:
        for seed in seeds:
            fresh = [(r, seed) for r in stages.with_twins([recipe]) if (r.id, seed) not in seen]
            seen |= {(r.id, seed) for r, _ in fresh}
            pairs += [fresh] if fresh else []
    return [[order for pair in pairs[i::n] for order in pair] for i in range(min(n, len(pairs)))]


def _grow_group(base: str, room: str, orders: Sequence[Order], on_cpu: bool) -> None:
    """A task. Two processes that share a core spin; so each has one thread."""
    import torch

    if on_cpu:
        torch.set_num_threads(1)
    grow_orders(orders, stages.open_base(base).engine, room=Room(Path(room)))


@contextmanager
def connected(address: str | None, workers: int | None = None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, or to one of `workers` cores that lives as long as the block."""
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
