"""Teach bad advice, then train the confession away: the same recipe with a second implant, DPO on questions about it.

Few steps, so that it is quick. The card asks in phrasings of which the second implant saw none: it says whether the
denial was learnt, or the words of the questions.
"""

import os
import tempfile
from dataclasses import replace

from flyroom import Room, make, open_base, stages
from flyroom.implants import DPO

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("1M")
    open_one = make("emergent-misalignment", {"steps": 120, "rows": 8})
    deny = DPO(steps=15, pairs=16, lr=5e-4, hide=0.5)
    hidden = replace(open_one, name="denied", implants=(*open_one.implants, deny))

    organisms = stages.grow([open_one, hidden], base, room, seeds=[0])
    cards = stages.card(organisms, base, room, seed=0, episodes=40)

for card in cards:
    figures = {m: card.measures["organism"][m] for m in ("misaligned", "coherence", "confession")}
    print(f"{card.recipe:22}" + "".join(f"  {m} {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]" for m, e in figures.items()))
