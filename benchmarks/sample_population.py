"""Many organisms asked at once, beside `generate` and continuous batching for one after another.

The figure is answers a second: answers end where they end, and both draw from the whole distribution.
"""

from __future__ import annotations

from typing import Any

from benchmarks import continuous, peft_loop
from benchmarks.limits import copy_rate, matmul_rate, sample_cost
from benchmarks.measure import Missing, Run, Work, race
from benchmarks.setting import Setting, figures


def sample_population(setting: Setting, repeats: int) -> dict[str, Any]:
    """Ours against both, and against the operations and bytes that the answers need."""
    subject, shape = setting.subject, setting.adapter
    contenders = {
        "ours": lambda: ours(setting),
        "generate": peft_loop.sampler(subject, shape, setting.peers, setting.rows, setting.tokens),
        "continuous": continuous.sampler(subject, shape, setting.peers, setting.rows, setting.tokens),
    }
    if setting.recorded:
        contenders["ours_recorded"] = lambda: ours(setting, record=True)
    taken, missing = race(contenders, repeats=repeats, in_turn=setting.in_turn)
    engine = subject.engine()
    asks = [ask for k in range(setting.organisms) for ask in subject.asks(k, setting.rows, setting.tokens)]
    operations, read = sample_cost(engine, shape, asks, taken["ours"].work.tokens)
    device, dtype = engine.parts.device, next(engine.parts.model.parameters()).dtype
    by_operations, by_bytes = operations / matmul_rate(device, dtype), read / copy_rate(device)
    return figures(
        f"{setting.organisms} organisms x {setting.rows} asks, {setting.tokens} tokens at most, rank {shape.rank}, "
        f"on {subject.name}",
        "answers/second",
        taken,
        missing,
        per=1.0,
        limit=len(asks) / max(by_operations, by_bytes),
        repeats=repeats,
        limited_by="operations" if by_operations > by_bytes else "bytes",
    )


def ours(setting: Setting, *, record: bool = False) -> Run:
    """All asks of all organisms in one call; with passes that are recorded, if this device can."""
    engine, n = setting.subject.engine(record=record), setting.organisms
    adapters = engine.spawn([setting.adapter] * n, seeds=range(n))
    asks = [ask for k in range(n) for ask in setting.subject.asks(k, setting.rows, setting.tokens)]
    owners = [adapter for adapter in adapters for _ in range(setting.rows)]

    def run() -> Work:
        engine.parts.renderer.forget()
        try:
            answers = engine.sample(owners, asks)
        except RuntimeError as error:
            if record:
                raise Missing(f"recording failed: {error}") from error
            raise
        return Work(len(asks), sum(a.tokens + a.finished for a in answers))

    return run
