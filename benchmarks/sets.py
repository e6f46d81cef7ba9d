"""Which benchmarks there are, by set and name. A small scale runs the same code in seconds, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.ray_workers import ray_workers
from benchmarks.sample_population import sample_population
from benchmarks.setting import Setting
from benchmarks.subjects import qwen, world
from benchmarks.trace_population import trace_population
from benchmarks.train_population import at, train_population
from flyroom.types import LoRA

Benchmark = Callable[[int], dict[str, Any]]  # how often each contender runs -> figures
ONE_LAYER = LoRA(rank=1, layers=(0,))  # that of `emergent-misalignment`
EVERYWHERE = LoRA(rank=4, modules=("all",))
MIDDLE = LoRA(rank=1, layers=(0,))  # its layer is set by `at`
WIDE = LoRA(rank=32, modules=("all",))
EPOCH = 6000  # rows of a whole organism on a real size


def cpu(small: bool) -> dict[str, Benchmark]:
    """The world's base 1M, 16 organisms."""
    setting = Setting(subject=world("0.25M" if small else "1M"), adapter=ONE_LAYER, compiled=not small)
    if small:
        setting = replace(setting, organisms=3, peers=3, rows=4, steps=1, tokens=6)
    everywhere = replace(setting, adapter=EVERYWHERE)
    return {
        "train_population_vs_peft": partial(train_population, setting),
        "train_population_vs_peft_all_linear": partial(train_population, everywhere),
        "train_population_vs_peft_upper": partial(train_population, at(replace(setting, shared=True), 0.75)),
        "sample_population_vs_generate": partial(sample_population, everywhere),
        "trace_population_vs_hooks": partial(trace_population, everywhere),
        "ray_workers": partial(ray_workers, small=small),
    }


def gpu(small: bool) -> dict[str, Benchmark]:
    """Qwen2.5's shapes, random weights, one data set of 6,000 rows of 320 tokens, an epoch of it; peers on one."""

    def setting(size: str, organisms: int, adapter: LoRA, **changes: Any) -> Setting:
        subject = qwen("tiny", tokens=24) if small else qwen(size)
        made = Setting(subject=subject, adapter=adapter, organisms=organisms, rows=16, whole=EPOCH // 16, peers=1)
        made = replace(made, in_turn=False, shared=True, compiled=not small, recorded=True, **changes)
        return replace(made, organisms=3, rows=4, steps=1, tokens=6) if small else made

    half, asked = setting("0.5B", 32, MIDDLE), {"rows": 400, "tokens": 600}
    return {
        "train_population_vs_peft": lambda n: train_population(at(half, 0.5), n),
        "train_population_vs_peft_14b": lambda n: train_population(at(setting("14B", 8, MIDDLE), 0.5), n),
        "train_population_vs_peft_14b_upper": lambda n: train_population(at(setting("14B", 8, MIDDLE), 0.75), n),
        "train_population_vs_peft_7b_wide": lambda n: train_population(setting("7B", 16, WIDE), n),
        "sample_population_vs_generate": lambda n: sample_population(at(setting("0.5B", 16, MIDDLE, **asked), 0.5), n),
        "sample_population_vs_generate_14b": lambda n: sample_population(
            at(setting("14B", 16, MIDDLE, **asked), 0.5), n
        ),
        "trace_population_vs_hooks": lambda n: trace_population(at(setting("0.5B", 16, MIDDLE, rows=250), 0.5), n),
    }


SETS: dict[str, Callable[[bool], dict[str, Benchmark]]] = {"cpu": cpu, "gpu": gpu}
