"""Many organisms asked at once, beside `generate` and continuous batching for one after another.

The figure is answers a second: answers end where they end, and both draw from the whole distribution.
"""

from __future__ import annotations

from typing import Any

from benchmarks import continuous, peft_loop
from benchmarks.limits import Rates, measured, sample_cost
from benchmarks.measure import Missing, Run, Work, race
from benchmarks.setting import Setting, figures
from flyroom.types import Ask


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
    most, by = limit(setting, measured(), taken["ours"].work.tokens)
    return figures(
        what(setting),
        "answers/second",
        taken,
        missing,
        per=1.0,
        limit=most,
        repeats=repeats,
        limited_by=by,
    )


def what(setting: Setting) -> str:
    asked = f"{setting.organisms} organisms x {setting.rows} asks, {setting.tokens} tokens at most"
    return f"{asked}, rank {setting.adapter.rank}, on {setting.subject.name}"


def limit(setting: Setting, rates: Rates, tokens: int) -> tuple[float, str]:
    """Answers a second, at most, where so many tokens are generated in all; and by what it is limited."""
    subject, asks = setting.subject, _asks(setting)
    owners = [k for k in range(setting.organisms) for _ in range(setting.rows)]
    operations, read = sample_cost(subject, setting.adapter, owners, asks, tokens, rates.size)
    seconds = {"operations": operations / rates.operations, "bytes": read / rates.bytes}
    by = max(seconds, key=lambda name: seconds[name])
    return len(asks) / seconds[by], by


def ours(setting: Setting, *, record: bool = False) -> Run:
    """All asks of all organisms in one call; with passes that are recorded, if this device can."""
    engine, n = setting.subject.engine(record=record), setting.organisms
    adapters = engine.spawn([setting.adapter] * n, seeds=range(n))
    asks = _asks(setting)
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


def _asks(setting: Setting) -> list[Ask]:
    return [ask for k in range(setting.organisms) for ask in setting.subject.asks(k, setting.rows, setting.tokens)]
