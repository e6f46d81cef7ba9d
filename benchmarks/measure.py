"""Contenders run in turn, the median of their repeats counts: wall clock, the process's CPU seconds, memory.

On a machine that others use too the wall clock says how busy they were; taking turns makes all contenders suffer alike,
and the CPU seconds beside it leave the others out. Memory is what a run added at its peak: on CUDA what torch
allocated, elsewhere the resident pages of the process (Linux alone; None where it cannot be told).

Left out: energy, and money.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

LIBRARIES = ("torch", "transformers", "peft", "trl", "ray", "nnsight", "transformer-lens")
MIB = 1 << 20


class Work(NamedTuple):
    """What a run did: `units` of what the benchmark counts, tokens (no padding), a value to compare (a loss), and where
    the run kept the clock itself, its seconds and CPU seconds.
    """

    units: float
    tokens: int
    value: float = 0.0
    clock: tuple[float, float] | None = None


Run = Callable[[], Work]


class Missing(Exception):
    """A contender cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A contender's median run: seconds, CPU seconds, MiB, and the fastest and slowest run."""

    work: Work
    seconds: float
    cpu_seconds: float
    memory_mib: float | None
    fastest: float
    slowest: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.work.units / self.seconds


def race(
    contenders: Mapping[str, Callable[[], Run]], *, repeats: int, in_turn: bool = True
) -> tuple[dict[str, Taken], dict[str, str]]:
    """Every contender's median, and why the others could not run. Each is run once before the clock.

    `in_turn`: all are kept ready and take turns. Else one is built, measured and dropped before the next is built, for
    models of which only one fits.
    """
    taken: dict[str, list[tuple[float, float, float | None]]] = {}
    work, missing, ready = dict[str, Work](), dict[str, str](), dict[str, Run]()
    for name, build in contenders.items():
        try:
            ready[name] = build()
            ready[name]()
        except Missing as why:
            missing[name] = str(why)
            ready.pop(name, None)
            continue
        if not in_turn:
            runs = [_once(ready[name]) for _ in range(repeats)]
            taken[name], work[name] = [run[0] for run in runs], runs[-1][1]
            ready.clear()
            _tidy()
    for _ in range(repeats if in_turn else 0):
        for name, run in ready.items():
            cost, work[name] = _once(run)
            taken.setdefault(name, []).append(cost)
    return {name: _median(work[name], costs) for name, costs in taken.items()}, missing


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, threads, accelerator, versions."""
    found = {"python": platform.python_version(), "processor": _processor(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _once(run: Run) -> tuple[tuple[float, float, float | None], Work]:
    _tidy()
    before = _start_memory()
    began, cpu = time.perf_counter(), time.process_time()
    work = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds, cpu_seconds = work.clock or (time.perf_counter() - began, time.process_time() - cpu)
    return (seconds, cpu_seconds, _peak_memory(before)), work


def _median(work: Work, costs: list[tuple[float, float, float | None]]) -> Taken:
    seconds, cpu, memory = (list(column) for column in zip(*costs, strict=True))
    known = [m for m in memory if m is not None]
    return Taken(
        work=work,
        seconds=statistics.median(seconds),
        cpu_seconds=statistics.median(cpu),
        memory_mib=statistics.median(known) if known else None,
        fastest=min(seconds),
        slowest=max(seconds),
    )


def _tidy() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif platform.system() == "Linux":
        ctypes.CDLL(None).malloc_trim(0)  # or what the last contender freed would hide what this one takes


def _start_memory() -> float | None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak of resident pages starts anew
    except OSError:
        return None
    return _status("VmRSS")


def _peak_memory(before: float | None) -> float | None:
    if before is None:
        return None
    return (torch.cuda.max_memory_allocated() / MIB if torch.cuda.is_available() else _status("VmHWM")) - before


def _status(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
