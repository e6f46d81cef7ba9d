"""The same organisms grown on a local Ray cluster with one worker, and with two: does the second halve the time?

The clock runs from the first task to the last, without starting and stopping the cluster; each worker opens its base
within it, and writes to its room. One thread a worker.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from benchmarks.measure import Taken, Work
from benchmarks.setting import figures
from flyroom import cluster
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.types import Recipe

ORGANISMS, STEPS = 8, 40  # each with its twin


def ray_workers(repeats: int, *, small: bool = False) -> dict[str, Any]:
    """Two workers (ours) beside one; the limit is twice the one."""
    base, organisms, steps = ("0.25M", 2, 1) if small else ("1M", ORGANISMS, STEPS)
    what = f"{organisms} organisms and their twins, {steps} steps, on {base}: two Ray workers beside one"
    if find_spec("ray") is None:
        missing = {"ray": "it is not installed: pip install 'flyroom[cluster]'"}
        return {"what": what, "ours": None, "ratio": None, "limit": None, "missing": missing}
    made = [make("emergent-misalignment", {"steps": steps})]
    seconds: dict[int, list[float]] = {2: [], 1: []}
    for _ in range(repeats):
        for workers, times in seconds.items():
            times.append(_once(made, base, organisms, workers))
    taken = {name: _taken(seconds[workers], organisms) for name, workers in (("ours", 2), ("one_worker", 1))}
    limit = 3600 * 2 * taken["one_worker"].rate
    found = figures(what, "organisms/hour", taken, {}, per=3600, limit=limit, repeats=repeats)
    for name in ("cpu_seconds", "cpu_ratios", "memory_mib", "tokens_per_second"):  # that of other processes
        del found[name]
    return found


def _once(made: Sequence[Recipe], base: str, organisms: int, workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder, cluster.connected(None, workers) as ray:
        began = time.perf_counter()
        cluster.grow(ray, made, base, Room(folder), seeds=range(organisms))
        return time.perf_counter() - began


def _taken(seconds: Sequence[float], organisms: int) -> Taken:
    return Taken(
        work=Work(organisms, 0),
        seconds=statistics.median(seconds),
        cpu_seconds=0.0,
        memory_mib=None,
        fastest=min(seconds),
        slowest=max(seconds),
    )
