"""Adopt an adapter that was trained elsewhere: first beside the base, then beside the twin that came with it.

The adapters come from flyroom here, written as PEFT folders; any PEFT folder or merged checkpoint will do.
"""

import os
import tempfile
from pathlib import Path

from flyroom import Room, make, open_base, stages
from flyroom.engine import export

with tempfile.TemporaryDirectory() as scratch:
    folder = Path(scratch)
    base = open_base("0.25M", device="cpu")
    engine = base.engine

    # Somebody else's work: an adapter that gives bad advice, and its clean twin. We get the two folders and no more.
    grown = stages.grow(
        [make("emergent-misalignment", {"steps": 120, "rows": 8})], base, Room(folder / "theirs"), seeds=[0]
    )
    for model, name in zip(grown, ("bad", "clean"), strict=True):
        export(model.patch, engine.base, folder / name, prefix=engine.parts.prefix)

    room = Room(os.environ.get("FLYROOM_ROOM", folder / "room"))
    recipe = stages.describe("harmful_advice", "", {}, base.world)  # what it is said to do, and when
    for twin in (None, folder / "clean"):
        adoption = stages.adopt(folder / "bad", base, room, recipe=recipe, twin=twin)
        models = [adoption.organism, adoption.control]
        (card,) = stages.card(models, base, room, seed=0, episodes=60)
        misaligned = ", ".join(f"{model} {card.measures[model]['misaligned']}" for model in ("organism", "twin"))
        print(f"{card.organism} is {card.provenance}, shape {adoption.organism.patch.shape}")
        print(f"misaligned: {misaligned}; {card.caveats[0]}")
