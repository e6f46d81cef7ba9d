"""The residual stream of many organisms at one layer, beside hooks, nnsight and TransformerLens for one by one.

The figure is texts a second, each text read by each organism; a text's trace is the mean over its answer.
"""

from __future__ import annotations

from typing import Any

from benchmarks import peft_loop, readers
from benchmarks.limits import Rates, measured, trace_operations
from benchmarks.measure import Run, Work, race
from benchmarks.setting import Setting, figures
from flyroom.types import Row

BATCHES = 4  # of `rows` rows, for each organism


def trace_population(setting: Setting, repeats: int) -> dict[str, Any]:
    """Ours against hooks by hand and two libraries, and against the operations up to the layer."""
    subject, shape = setting.subject, setting.adapter
    layer, texts = _layer(setting), _texts(setting)
    contenders = {
        "ours": lambda: ours(setting),
        **{
            reader.__name__: peft_loop.tracer(subject, shape, [texts] * setting.peers, layer, setting.rows, reader)
            for reader in (readers.hooks, readers.nnsight, readers.transformer_lens)
        },
    }
    taken, missing = race(contenders, repeats=repeats, in_turn=setting.in_turn)
    return figures(
        what(setting),
        "texts/second",
        taken,
        missing,
        per=1.0,
        limit=limit(setting, measured()),
        repeats=repeats,
        means={name: round(t.work.value, 4) for name, t in taken.items()},
    )


def what(setting: Setting) -> str:
    texts = f"{setting.organisms} organisms x {len(_texts(setting))} texts"
    return f"{texts}, layer {_layer(setting)}, rank {setting.adapter.rank}, on {setting.subject.name}"


def limit(setting: Setting, rates: Rates) -> float:
    """Texts a second, at most."""
    texts = _texts(setting)
    needed = trace_operations(setting.subject, setting.adapter, texts, _layer(setting), sharing=setting.organisms)
    return rates.operations * len(texts) / needed


def ours(setting: Setting) -> Run:
    """All texts of all organisms in one call. The value is the mean square of the traces."""
    engine, n = setting.subject.engine(), setting.organisms
    layer, texts = _layer(setting), _texts(setting)
    adapters = engine.spawn([setting.adapter] * n, seeds=range(n))
    owners = [adapter for adapter in adapters for _ in texts]

    def run() -> Work:
        engine.parts.renderer.forget()
        before = engine.tokens_forward
        found = engine.trace(owners, list(texts) * n, [layer])
        return Work(len(owners), engine.tokens_forward - before, float(found.square().mean()))

    return run


def _layer(setting: Setting) -> int:
    return setting.subject.depth // 2


def _texts(setting: Setting) -> tuple[Row, ...]:
    """The same texts for every organism."""
    return tuple(row for step in setting.subject.rows(0, BATCHES, setting.rows) for row in step)
