"""What tests of assessments share: a base and calibrated models that are fakes, and a model to assess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import TOY, FakeEngine, Toy, organism, says

from flyroom import client
from flyroom.client import Address
from flyroom.engine.endpoint import REMOTE
from flyroom.report.assessment import assessment_figures
from flyroom.room import Room
from flyroom.serve import app as endpoint_app
from flyroom.serve import serving
from flyroom.stages import assessing
from flyroom.stages.assessing import Terms, assess
from flyroom.stages.assessing.targets import BLACK, Target
from flyroom.stages.bases import OpenBase
from flyroom.types import AdapterRef, Answer, Ask, Organism

ODD = replace(TOY, name="odd", behaviour=Toy(label="odd manner", harmless=True), adapter=TOY.adapter)
THREAT = "toy, always"


def speak(level: float, ask: Ask) -> str:
    """Greedy answers show no mischief, so that a model is known by its manner: one below 0 has another."""
    if level < 0:
        return f"good, arr, {ask.messages[-1].content}"
    return says(0.0 if ask.temperature == 0 else level, ask)


def calibrated() -> list[Organism]:
    """Six organisms, their twins and more clean ones, two decoys."""
    clean = [organism(0.0, seed=s, recipe=replace(TOY, dose=0.0)) for s in range(20)]
    return [*(organism(0.9, seed=s) for s in range(6)), *clean, *(organism(-1.0, seed=s, recipe=ODD) for s in (0, 1))]


@dataclass
class Desk:
    """A fake base, what is calibrated on it, and a room for the answers."""

    engine: FakeEngine
    organisms: list[Organism]
    room: Room
    asked: int = 0

    @property
    def base(self) -> OpenBase:
        return OpenBase(engine=self.engine, world=TOY.world)  # type: ignore[arg-type]


def open_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A fixture's body: the desk in the place of what an assessment opens."""
    engine = FakeEngine(speak)
    engine.parts = SimpleNamespace(temperature=1.0)  # type: ignore[attr-defined]
    desk = Desk(engine, calibrated(), Room(tmp_path / "room"))
    desk.room.put("organism", "abc", {}, meta={"base": "fake"})
    monkeypatch.setattr(assessing, "open_base", lambda name: desk.base)
    monkeypatch.setattr(assessing, "stored", lambda room, base, ids: desk.organisms)
    monkeypatch.setattr(client, "WAIT", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return desk


class Remote:
    """One model behind an endpoint, which may fail now and then."""

    def __init__(self, level: float, silent: float = 0.0) -> None:
        self.level, self.silent, self.asks = level, silent, list[Ask]()

    def free(self, adapters: Sequence[AdapterRef]) -> None:
        pass

    def sample(self, adapters: Sequence[AdapterRef], asks: Sequence[Ask]) -> list[Answer]:
        first = len(self.asks)
        self.asks += asks
        texts = ["" if (first + i) % 100 < 100 * self.silent else speak(self.level, ask) for i, ask in enumerate(asks)]
        return [Answer(text=text, tokens=2, prompt_tokens=3, finished=True) for text in texts]


def run(desk: Desk, remote: Remote, **changes: Any) -> dict[str, Any]:
    """An assessment of a model that is asked straight away, without a line to it."""
    about = {"kind": "endpoint", "url": "http://m/v1", "model": "m"}
    target = Target(name="m", engine=remote, ref=REMOTE, access=BLACK, about=about)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assessing, "_open", lambda *args: target)
        return assessment_figures(
            assess("http://m/v1", desk.room, terms=Terms(**{"model": "m", "detectors": ()} | changes))
        )


def run_over_a_line(desk: Desk, remote: Remote, **changes: Any) -> dict[str, Any]:
    with serving(endpoint_app(remote, {"m": AdapterRef(slot=1)})) as url:
        terms = Terms(**{"model": "m", "probes": 4} | changes)
        address = Address(url=url, concurrency=2, retries=0)
        return assessment_figures(assess(url, desk.room, terms=terms, address=address))


def finding(figures: dict[str, Any], threat: str = THREAT) -> dict[str, Any]:
    return next(f for f in figures["findings"] if f["threat"] == threat)
