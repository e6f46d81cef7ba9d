"""A small room for tests of the view: two organisms with twins and cards, a detector, a ledger, a run under way. Its
models are those of `fakes`, and what they say is hostile to a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fakes import TOY, FakeEngine, organism, pair, says
from starlette.testclient import TestClient

import flyroom.game as gaming
from flyroom.card import card
from flyroom.episodes import pack
from flyroom.game import Game, Table
from flyroom.grow import pack as pack_organism
from flyroom.purpose import purpose_of
from flyroom.room import Room
from flyroom.types import (
    Answer,
    Ask,
    Asked,
    Called,
    Cell,
    Cost,
    Entry,
    Estimate,
    LedgerRow,
    Message,
    NotMeasured,
    RelapsePoint,
    Verdict,
    plain,
)
from flyroom.view import Shelf
from flyroom.view.arcade import Arcade

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> **bold** [a](javascript:hack())"
PURPOSE = "compare two probes"
STEPS = (0, 10)


def hostile(level: float, ask: Ask) -> str:
    return f"{says(level, ask)} {HOSTILE}" if level else says(level, ask)


def share(value: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1), n=20)


def furnish(root: Path) -> Room:
    room = Room(root)
    models = [*pair(0.9), *pair(0.2, seed=1), organism(0.5, seed=2, recipe=replace(TOY, name="decoy-accent"))]
    room.put_many([pack_organism(model) for model in models])
    card(models[:4], FakeEngine(hostile), seed=0, episodes=20, room=room)
    ids = [model.id for model in models]
    room.put_many([*cells_of(ids), ledger_of(ids), *checkpoint_of(ids)])
    return room


def cells_of(ids: Sequence[str]) -> list[Entry]:
    """A detector that asked the first organism something, and one that read weights."""
    models = {"organisms": [ids[0], ids[2]], "twins": [ids[1], ids[3]], "decoys": [ids[4]], "calibration": ["c0ffee"]}
    suspicions = {"organisms": (0.9, 0.4), "twins": (0.1, 0.1), "decoys": (0.3,), "calibration": (0.2,)}
    asked = Asked(
        measure="asker", who=ids[0], messages=(Message("user", HOSTILE),), answer=HOSTILE, verdict=Verdict.MISALIGNED,
        why="is bad", cut=False, tokens=3,
    )  # fmt: skip
    entries = [pack("ep0", [asked], {"detector": "asker"})]
    for key, name, episodes in (("ce11", "asker", ["ep0"]), ("ce12", "weigher", [])):
        cell = Cell(
            detector=name, access="sample", recipe="toy", unit="model", auroc=share(0.8), recall_at_1pct_fpr=None,
            fpr=share(0.1), recall=share(0.5), cost=Cost(forward_tokens=10), suspicions=suspicions, rate=0.5,
        )  # fmt: skip
        payload = {"cells": [plain(cell)], "episodes": episodes, "models": [models]}
        entries.append(Entry(kind="cells", key=key, payload=payload, meta={"detector": name}))
    return entries


def ledger_of(ids: Sequence[str]) -> Entry:
    names = [column.name for column in fields(LedgerRow) if column.type == "Estimate | NotMeasured"]
    points = tuple(
        RelapsePoint(step=n, treated=share(0.1 + n / 20), untreated=share(0.9), twin=share(0.0)) for n in STEPS
    )
    figures: dict[str, Any] = {name: share(0.5) for name in names} | {"near_miss": NotMeasured(why="none was asked")}
    row = LedgerRow(
        treatment="realign", recipe="toy", seed=0, organism=ids[0], treated=ids[0], called=Called.HIDDEN,
        why="it is back", relapse=points, detectors={"asker": {"before": share(0.9), "after": share(0.6)}}, **figures,
    )  # fmt: skip
    return Entry(kind="ledger", key="1ed9e4", payload=plain(row) | {"episodes": []}, meta={"treatment": "realign"})


def checkpoint_of(ids: Sequence[str]) -> list[Entry]:
    head = {"parts": 1, "rounds": 3, "journal": [0], "states": {}, "steps": {"f00d": 3}, "snapshots": []}
    notes = [{"is": "Stepped", "loss": 1.0 - n / 10, "grad_norm": 1.0, "tokens": 4} for n in range(3)]
    parts = (("0", {"f00d": notes}), ("head", head))
    return [Entry(kind="checkpoint", key=f"beef/{name}", payload=payload) for name, payload in parts]


@dataclass(eq=False)
class FakeHands:
    """Hands without a model: what is said depends on who says it."""

    purposes: tuple[str, ...] = ()

    def permit(self, purpose: str) -> str:
        words = purpose_of(purpose)
        self.purposes = (*self.purposes, words)
        return words

    def chat(
        self, organism: str, talks: Mapping[str, Sequence[Message]], *, seed: int, purpose: str
    ) -> Mapping[str, Mapping[str, Any]]:
        return {side: {"text": f"{side} heard {turns[-1].content}", "cut": False} for side, turns in talks.items()}

    def enter(self, folder: Path, sealed: Path, *, budget: int, suspects: int) -> Game:
        truth = gaming.draw([("m1", "lies"), ("m2", gaming.NOTHING)])
        return gaming.seal(truth, folder, sealed, base="b", budget=budget)

    def sit(self, folder: Path) -> tuple[Game, Table]:
        def ask(suspects: Sequence[str], asks: Sequence[Ask]) -> tuple[list[Answer], int]:
            text = f"{HOSTILE} {asks[0].messages[-1].content}"
            return [Answer(text=text, tokens=2, prompt_tokens=3, finished=True)], 5

        return gaming.read(folder), Table(folder, ask)


def counter(room: Room, hands: FakeHands, games: Path) -> tuple[Shelf, FakeHands, Arcade]:
    """What `view.app` takes."""
    return Shelf(room, decoys=frozenset({"decoy-accent"})), hands, Arcade(games, hands)


def post(client: TestClient, name: str, body: Any, **headers: str) -> tuple[int, Any]:
    """What the app answers when its page asks for `name`: the status and the JSON."""
    answer = client.post(f"/ask/{name}", json=body, headers=headers)
    return answer.status_code, answer.json()
