"""A benchmark is a setting and a function that takes it: who races, in which numbers, and the figures that come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Taken, machine
from benchmarks.subjects import Subject
from flyroom.types import LoRA, Row

ROUND = 4  # significant figures


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Arguments: subject, base and rows; rows, of a step, a batch of asks or of texts; steps, that are run under the
    clock; whole, the steps of a whole organism; tokens, an answer's at most; peers, how many organisms a slow peer is
    measured on (its rate is what counts: it takes them one by one); in_turn, see `measure.race`; shared, all organisms
    learn from the first one's rows, as seeds of one recipe on one data set do; compiled, ours is run compiled, too;
    recorded, ours is asked with recorded passes, too.
    """

    subject: Subject
    adapter: LoRA
    organisms: int = 16
    rows: int = 32
    steps: int = 2
    whole: int = 240
    tokens: int = 24
    peers: int = 16
    in_turn: bool = True
    shared: bool = False
    compiled: bool = False
    recorded: bool = False

    def data(self) -> list[list[tuple[Row, ...]]]:
        """Each organism's steps, each its rows."""
        return [self.subject.rows(0 if self.shared else k, self.steps, self.rows) for k in range(self.organisms)]


def figures(
    what: str,
    unit: str,
    taken: Mapping[str, Taken],
    missing: Mapping[str, str],
    *,
    per: float,
    limit: float | None,
    repeats: int,
    **more: Any,
) -> dict[str, Any]:
    """One benchmark's object. `per` makes `unit` of units a second; `limit` is in `unit`. The first peer sets `ratio`.

    `cpu_ratio` is that of CPU seconds, which leaves out what others did to the machine.
    """
    peers = [name for name in taken if name != "ours"]
    ours, cpu = taken["ours"], {name: t.work.units / max(t.cpu_seconds, 1e-9) for name, t in taken.items()}
    found: dict[str, Any] = {"what": what, "unit": unit, "ours": _short(ours.rate * per)}
    found |= {name: _short(taken[name].rate * per) for name in peers} | dict.fromkeys(missing)
    found["ratio"] = _short(ours.rate / taken[peers[0]].rate) if peers else None
    found["limit"] = None if limit is None else _short(limit)
    found["of_limit"] = None if limit is None else _short(ours.rate * per / limit)
    found["ratios"] = {name: _short(ours.rate / taken[name].rate) for name in peers}
    found["cpu_ratios"] = {name: _short(cpu["ours"] / cpu[name]) for name in peers}
    found["tokens_per_second"] = {name: _short(t.work.tokens / t.seconds) for name, t in taken.items()}
    found["memory_mib"] = {name: None if t.memory_mib is None else round(t.memory_mib) for name, t in taken.items()}
    found["seconds"] = {name: [_short(s) for s in (t.fastest, t.seconds, t.slowest)] for name, t in taken.items()}
    found["cpu_seconds"] = {name: _short(t.cpu_seconds) for name, t in taken.items()}
    return found | more | {"repeats": repeats, "missing": dict(missing), "machine": machine()}


def _short(value: float) -> float:
    return float(f"{value:.{ROUND}g}")
