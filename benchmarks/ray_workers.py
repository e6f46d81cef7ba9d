"""The same organisms grown on a local Ray cluster with one worker, and with two: does the second halve the time?

The clock runs from the first task to the last, without starting and stopping the cluster; each worker opens its base
within it, and writes to its room. One thread a worker. Beside them one process without Ray, and two with half of the
organisms each: what they gain is what two cores of this machine have in them, which may share caches and memory. What
leaving organisms in a room takes is timed by doing it again, into an empty one. A repeat takes minutes, so one is made
where the other benchmarks make five.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from benchmarks.measure import Taken, Work
from benchmarks.setting import figures
from flyroom import cluster, stages
from flyroom.grow import pack
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.types import Recipe

RECIPE = "emergent-misalignment"
COMMAND = "from flyroom.cli import main; main()"
FEWER = 5


def ray_workers(repeats: int, *, small: bool = False) -> dict[str, Any]:
    """Two workers (ours) beside one, and two processes beside one; the limit is twice the one worker."""
    base, organisms, changes = ("0.25M", 2, {"steps": 1}) if small else ("1M", 8, {})
    what = f"{organisms} of {RECIPE} and their twins on {base}: two Ray workers beside one; and processes without Ray"
    if find_spec("ray") is None:
        missing = {"ray": "it is not installed: pip install 'flyroom[cluster]'"}
        return {"what": what, "ours": None, "ratio": None, "limit": None, "missing": missing}
    made, exports = [make(RECIPE, changes)], list[float]()
    ways = {
        "ours": partial(_on_ray, made, base, organisms, 2),
        "one_worker": partial(_on_ray, made, base, organisms, 1, exports),
        "two_processes": partial(_by_hand, changes, base, organisms, 2),
        "one_process": partial(_by_hand, changes, base, organisms, 1),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    repeats = max(1, repeats // FEWER)
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    taken = {name: _taken(times, organisms) for name, times in seconds.items()}
    limit = 3600 * 2 * taken["one_worker"].rate
    share = statistics.median(exports) / taken["one_worker"].seconds
    found = figures(what, "organisms/hour", taken, {}, per=3600, limit=limit, repeats=repeats, export_share=share)
    for name in ("cpu_seconds", "cpu_ratios", "memory_mib", "tokens_per_second"):  # that of other processes
        del found[name]
    return found


def _on_ray(
    made: Sequence[Recipe], base: str, organisms: int, workers: int, exports: list[float] | None = None
) -> float:
    with tempfile.TemporaryDirectory() as folder, cluster.connected(None, workers) as ray:
        began = time.perf_counter()
        cluster.grow(ray, made, base, Room(folder), seeds=range(organisms))
        taken = time.perf_counter() - began
        if exports is not None:
            exports.append(_export(made, base, organisms, Room(folder)))
        return taken


def _export(made: Sequence[Recipe], base: str, organisms: int, room: Room) -> float:
    """Seconds that the organisms of this room, and their twins, take into an empty one."""
    found = stages.grow(made, stages.open_base(base), room, seeds=range(organisms))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        Room(folder).put_many([pack(organism) for organism in found])
        return time.perf_counter() - began


def _by_hand(changes: Mapping[str, int], base: str, organisms: int, processes: int) -> float:
    """Processes of one thread, each with its share of the seeds and a room of its own."""
    share, wanted = organisms // processes, [f"{key}={value}" for key, value in changes.items()]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        running = []
        for i in range(processes):
            told = [
                "--seeds",
                f"{i * share}-{(i + 1) * share - 1}",
                "--base",
                base,
                "--room",
                f"{folder}/{i}",
                "--json",
            ]
            running.append(
                subprocess.Popen(
                    [sys.executable, "-c", COMMAND, "grow", RECIPE, *wanted, *told],
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    stdout=subprocess.DEVNULL,
                )
            )
        failed = [process.returncode for process in running if process.wait()]
        if failed:
            raise RuntimeError(f"flyroom grow ended with {failed}; run it by hand to see why")
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
