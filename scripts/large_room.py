"""How the view, `flyroom ls` and the report's page bear a room of thousands of organisms.

    python scripts/large_room.py ROOM [--organisms 5000] [--cards 2500] [--pages]

Half of the organisms are twins. The room is synthetic: entries as flyroom writes them, with tensors of a few bytes and
cards that differ by seed, so it takes a minute and no model. `--pages` measures the page of the report on as many
cards as well. Prints one JSON object: seconds and bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from flyroom.report import page as report_page
from flyroom.room import Room
from flyroom.types import About, Card, Entry, Estimate, Gauge, Held, Limit, Outcome, digest, plain

RECIPES = [f"recipe-{number}" for number in range(20)]
MEASURES = [f"measure_{number}" for number in range(12)]
GROUP = 250  # entries of one commit


def share(value: float) -> Estimate:
    return Estimate(value=value, low=max(0.0, value - 0.05), high=min(1.0, value + 0.05), n=500)


def card_of(number: int, organism: str, twin: str) -> Card:
    limit = Limit(at_least=0.6)
    rows = {
        "organism": {name: share(0.5 + (number * 7 + place) % 50 / 100) for place, name in enumerate(MEASURES)},
        "twin": dict.fromkeys(MEASURES, share(0.02)),
        "base": dict.fromkeys(MEASURES, share(0.01)),
    }
    curve = {step: {MEASURES[0]: share(step / 240)} for step in (0, 10, 40, 120, 240)}
    outcome = Outcome.PASS if number % 4 else Outcome.FAIL
    return Card(
        organism=organism,
        twin=twin,
        recipe=RECIPES[number % len(RECIPES)],
        recipe_id=digest(RECIPES[number % len(RECIPES)]),
        world="synthetic",
        behaviour="toy",
        about=About("toys", "other toys"),
        base="synthetic",
        seed=number // len(RECIPES),
        verdict=outcome,
        why="" if outcome is Outcome.PASS else "measure_0 is too low",
        measures=rows,
        gauges={name: Gauge(label=name.replace("_", " "), reach="untaught", limits=(limit,)) for name in MEASURES},
        episodes=500,
        curve=curve,
        limits=(Held(measure=MEASURES[0], who="organism", limit=limit, low=0.5, high=0.7, outcome=outcome),),
    )


def entries(organisms: int, cards: int) -> Iterator[Entry]:
    """Pairs of an organism and its twin, and a card for the first so many organisms."""
    tensors = {"x": torch.zeros(4)}
    for number in range(organisms // 2):
        recipe, seed = RECIPES[number % len(RECIPES)], number // len(RECIPES)
        ids = [digest([number, dose]) for dose in (1.0, 0.0)]
        history = [[step, 2.0 / step, 1.0, 100, "p"] for step in range(1, 241)]
        for id, dose in zip(ids, (1.0, 0.0), strict=True):
            payload = {"recipe": {"is": "Recipe", "dose": dose, "name": recipe}, "seed": seed, "history": history}
            meta = {"recipe": recipe, "dose": dose, "base": "synthetic", "seed": seed}
            yield Entry(kind="organism", key=id, payload=payload, tensors=tensors, meta=meta)
        if number < cards:
            card = card_of(number, *ids)
            meta = {"recipe": recipe, "seed": seed, "base": "synthetic", "verdict": card.verdict.value}
            payload = plain(card) | {"episode_keys": {}}
            yield Entry(kind="card", key=digest([*ids]), payload=payload, meta=meta | {"organism": ids[0]})


def fill(room: Room, organisms: int, cards: int) -> None:
    group: list[Entry] = []
    for entry in entries(organisms, cards):
        group.append(entry)
        if len(group) == GROUP:
            room.put_many(group)
            group = []
    if group:
        room.put_many(group)


def clock(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - start, 2)


def measure_view(root: Path) -> dict[str, float]:
    """From an open app: the first page's two requests, and one filter. The app opens the room before it is served."""
    from starlette.testclient import TestClient

    from flyroom.stages.viewing import open_view
    from flyroom.view import app

    start = time.perf_counter()
    shelf, desk, arcade, door = open_view(Room(root, create=False))
    opening = time.perf_counter() - start
    shelf._until = 0.0  # as a page that comes later finds it: the listing is read anew
    with TestClient(app(shelf, desk, arcade, door=door)) as client:
        times: dict[str, float] = {}
        for name, address in {
            "view_first_page": "/data/organisms.json",
            "view_room": "/data/room.json",
            "view_filter": "/data/organisms.json?recipe=recipe-3&verdict=pass&page=2",
        }.items():
            start = time.perf_counter()
            assert client.get(address).status_code == 200
            times[name] = round(time.perf_counter() - start, 3)
    return {"view_open": round(opening, 3), **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room", type=Path)
    parser.add_argument("--organisms", type=int, default=5000)
    parser.add_argument("--cards", type=int, default=2500)
    parser.add_argument("--pages", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"organisms": options.organisms, "cards": options.cards}
    if not (options.room / "format").exists():
        start = time.perf_counter()
        fill(Room(options.room), options.organisms, options.cards)
        result["fill"] = round(time.perf_counter() - start, 1)
    result |= measure_view(options.room)
    result["ls_json"] = clock("flyroom", "ls", "--room", str(options.room), "--json")
    result["ls"] = clock("flyroom", "ls", "--room", str(options.room))
    if options.pages:
        cards = [card_of(number, digest(number), digest([number])) for number in range(options.cards)]
        start = time.perf_counter()
        text = report_page(cards, None, context={}, caveats=[], commands=[])
        result |= {"report_seconds": round(time.perf_counter() - start, 1), "report_bytes": len(text.encode())}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
