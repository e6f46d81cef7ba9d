"""A room as pages to host: two organisms with cards, written as a folder of static files that any web server can show.

    python examples/20_view.py

To look at a room on this machine, without a folder: flyroom view --room room
"""

import json
import os
import tempfile
from pathlib import Path

from flyroom import log, stages
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import viewing

base = stages.open_base("0.25M")
room = Room(os.environ.get("FLYROOM_ROOM") or tempfile.mkdtemp())
recipe = make("emergent-misalignment", {"steps": 20, "rows": 8}, world=base.world)
organisms = stages.grow([recipe], base, room, seeds=[0])
stages.card(organisms, base, room, seed=0, episodes=10)

site = Path(tempfile.mkdtemp()) / "site"
result = viewing.bundle(room, site, purpose="show a class what a card is")
print(f"{result['files']} files, {result['bytes'] / 1e6:.1f} MB; on record: {log.read(room)[-1].what}")

rows = json.loads((site / "data" / "organisms.json").read_text())["rows"]
for row in rows:
    print(row["kind"], row["recipe"], row["verdict"] or "no card")

key = rows[0]["cards"][0]
card = json.loads((site / "data" / "cards" / f"{key}.json").read_text())
asked = card["asked"][0]["slug"]
episodes = json.loads((site / "data" / "episodes" / key / f"{asked}.json").read_text())["prompts"]
first = episodes[0]["answers"]
print(f"#/episode/{key}/{asked}/1:", {side: first[side]["text"] for side in ("organism", "twin", "base")})
print(f"now: python -m http.server --directory {site.name}")
