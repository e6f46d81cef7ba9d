"""Which benchmarks there are, by set and name. A small scale runs the same code in seconds, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from benchmarks import sample_population as sample
from benchmarks import trace_population as trace
from benchmarks import train_population as train
from benchmarks.limits import H200
from benchmarks.ray_workers import ray_workers
from benchmarks.setting import Setting
from benchmarks.subjects import chat_model, qwen, world
from benchmarks.train_population import at
from flyroom.types import LoRA


class Benchmark(NamedTuple):
    """How often each contender runs -> figures; and what is run, with the most that an H200 could do of it."""

    run: Callable[[int], dict[str, Any]]
    counted: Callable[[], str] | None


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
        "train_population_vs_peft": _training(setting),
        "train_population_vs_peft_all_linear": _training(everywhere),
        "train_population_vs_peft_upper": _training(at(replace(setting, shared=True), 0.75)),
        "sample_population_vs_generate": _sampling(everywhere),
        "trace_population_vs_hooks": _tracing(everywhere),
        "ray_workers": Benchmark(partial(ray_workers, small=small), None),
    }


def real(small: bool) -> dict[str, Benchmark]:
    """A real chat model on a CPU: eight organisms and their twins on SmolLM2-135M-Instruct; peers on two of them. It is
    opened once it is run: whoever has not fetched it can run the others.
    """

    def setting(adapter: LoRA) -> Setting:
        subject = world("0.25M") if small else chat_model("smollm2-135m")
        made = Setting(subject=subject, adapter=adapter, rows=8, whole=60, peers=2, in_turn=False)
        return replace(made, organisms=3, rows=4, steps=1, tokens=6) if small else made

    everywhere = replace(EVERYWHERE, rank=8)
    return {
        "train_population_vs_peft": _later(lambda: _training(at(setting(MIDDLE), 2 / 3))),
        "train_population_vs_peft_all_linear": _later(lambda: _training(setting(everywhere))),
        "sample_population_vs_generate": _later(lambda: _sampling(setting(everywhere))),
        "trace_population_vs_hooks": _later(lambda: _tracing(setting(everywhere))),
    }


def _later(benchmark: Callable[[], Benchmark]) -> Benchmark:
    return Benchmark(lambda repeats: benchmark().run(repeats), None)


def gpu(small: bool) -> dict[str, Benchmark]:
    """Qwen2.5's shapes, random weights, one data set of 6,000 rows of 320 tokens, an epoch of it; peers on one."""

    def setting(size: str, organisms: int, adapter: LoRA, **changes: Any) -> Setting:
        subject = qwen("tiny", tokens=24) if small else qwen(size)
        made = Setting(subject=subject, adapter=adapter, organisms=organisms, rows=16, whole=EPOCH // 16, peers=1)
        made = replace(made, in_turn=False, shared=True, compiled=not small, recorded=True, **changes)
        return replace(made, organisms=3, rows=4, steps=1, tokens=6) if small else made

    half, asked = setting("0.5B", 32, MIDDLE), {"rows": 400, "tokens": 600}
    large, wide = setting("14B", 8, MIDDLE), setting("7B", 16, WIDE)
    return {
        "train_population_vs_peft": _training(at(half, 0.5)),
        "train_population_vs_peft_14b": _training(at(large, 0.5)),
        "train_population_vs_peft_14b_upper": _training(at(large, 0.75)),
        "train_population_vs_peft_7b_wide": _training(wide),
        "sample_population_vs_generate": _sampling(at(setting("0.5B", 16, MIDDLE, **asked), 0.5)),
        "sample_population_vs_generate_14b": _sampling(at(setting("14B", 16, MIDDLE, **asked), 0.5)),
        "trace_population_vs_hooks": _tracing(at(setting("0.5B", 16, MIDDLE, rows=250), 0.5)),
    }


def _training(setting: Setting) -> Benchmark:
    @cache  # it takes seconds, and the page is written after each benchmark
    def counted() -> str:
        return f"{train.what(setting)}: at most {train.limit(setting, H200):,.0f} an hour on an H200"

    return Benchmark(partial(train.train_population, setting), counted)


def _sampling(setting: Setting) -> Benchmark:
    @cache
    def counted() -> str:
        most, by = sample.limit(setting, H200, setting.organisms * setting.rows * setting.tokens)
        return f"{sample.what(setting)}: at most {most:,.0f} answers a second on an H200, for its {by}"

    return Benchmark(partial(sample.sample_population, setting), counted)


def _tracing(setting: Setting) -> Benchmark:
    @cache
    def counted() -> str:
        return f"{trace.what(setting)}: at most {trace.limit(setting, H200):,.0f} texts a second on an H200"

    return Benchmark(partial(trace.trace_population, setting), counted)


SETS: dict[str, Callable[[bool], dict[str, Benchmark]]] = {"cpu": cpu, "real": real, "gpu": gpu}
