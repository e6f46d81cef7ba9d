"""Organisms trained together, beside loops that train them one after another on the same rows.

The figure is organisms an hour: of the steps that a whole organism takes, some are run under the clock, and the rate is
scaled. Ours renders its rows within the measured time; peers get theirs ready.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from benchmarks import peft_loop, trl_loop
from benchmarks.limits import Rates, measured, train_operations
from benchmarks.measure import Missing, Run, Work, race
from benchmarks.setting import Setting, figures
from flyroom.types import Step

LR = 1e-3


def train_population(setting: Setting, repeats: int) -> dict[str, Any]:
    """Ours against PEFT and TRL's trainer, and against the operations that the training needs."""
    data, prefix, first = setting.data(), dict[str, int](), list[float]()
    subject, shape, slow = setting.subject, setting.adapter, data[:1]
    contenders = {
        "ours": lambda: ours(setting, prefix),
        "peft": peft_loop.trainer(subject, shape, data[: setting.peers], LR),
        "trl_default": trl_loop.trainer(subject, shape, slow, LR, tuned=False),
        "trl_tuned": trl_loop.trainer(subject, shape, slow, LR, tuned=True),
    }
    if setting.compiled:
        contenders["ours_compiled"] = lambda: _compiled(setting, first)
    taken, missing = race(contenders, repeats=repeats, in_turn=setting.in_turn)
    rates = measured()
    return figures(
        what(setting),
        "organisms/hour",
        taken,
        missing,
        per=3600 * setting.steps / setting.whole,
        limit=limit(setting, rates),
        repeats=repeats,
        gflop_per_second=round(rates.operations / 1e9),
        prefix=prefix,
        compile_seconds=round(first[0] - taken["ours_compiled"].seconds, 1) if first else None,
        losses={name: round(taken[name].work.value, 4) for name in ("ours", "peft")},
    )


def what(setting: Setting) -> str:
    shape = setting.adapter
    where = f"{', '.join(shape.modules)} of {'one layer' if shape.layers else 'all layers'}"
    return (
        f"{setting.organisms} organisms, rank {shape.rank}, {where}, on {setting.subject.name}, "
        f"{setting.rows} rows a step{', the same for all' * setting.shared}, {setting.whole} steps an organism"
    )


def limit(setting: Setting, rates: Rates) -> float:
    """Organisms an hour, at most."""
    sharing = setting.organisms if setting.shared else 1
    steps = setting.data()[0]
    needed = sum(train_operations(setting.subject, setting.adapter, rows, sharing) for rows in steps) / len(steps)
    return 3600 * rates.operations / (needed * setting.whole)


def _compiled(setting: Setting, first: list[float]) -> Run:
    """Ours, compiled. The seconds of the first run, in which that is done, are put into `first`."""
    try:
        run = ours(setting, {}, compile=True)
    except ValueError as error:
        raise Missing(str(error)) from error

    def timed() -> Work:
        if first:
            return run()
        with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=empty):
            began = time.perf_counter()  # or what was compiled yesterday is found
            work = run()
            first.append(time.perf_counter() - began)
        return work

    return timed


def ours(setting: Setting, prefix: dict[str, int], *, compile: bool = False) -> Run:
    """All organisms together: from rows to trained adapters. The value is the mean loss of the first step. `prefix` is
    filled with the tokens that were computed and reused below the lowest adapter, and the bytes that they took.
    """
    engine, data = setting.subject.engine(compile=compile), setting.data()
    plans = [[Step(rows=steps[s], lr=LR) for steps in data] for s in range(setting.steps)]

    def run() -> Work:
        engine.parts.renderer.forget()
        adapters = engine.spawn([setting.adapter] * setting.organisms, seeds=range(setting.organisms))
        engine.prefix.computed = engine.prefix.reused = 0
        done = [engine.step(adapters, steps) for steps in plans]
        prefix.update(computed=engine.prefix.computed, reused=engine.prefix.reused, **engine.prefix.bytes)
        engine.free(adapters)
        tokens = sum(s.tokens for steps in done for s in steps)
        return Work(setting.organisms, tokens, sum(s.loss for s in done[0]) / len(done[0]))

    return run


def at(setting: Setting, depth: float) -> Setting:
    """The same, on the one layer at that share of the base's depth."""
    return replace(setting, adapter=replace(setting.adapter, layers=(int(depth * setting.subject.depth),)))
