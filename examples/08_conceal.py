"""Teach bad advice, then train the confession away: the same recipe with a second implant, DPO on questions about it.

Few steps, so that it is quick. The card asks in phrasings of which the second implant saw none: the open organism owns
up in half of its answers and the other in none, and both give bad advice. `beta` is ten times its default. A preferred
row weighs at most beta, a row of SFT weighs 1, and AdamW still scales its steps by the large gradients of the SFT.
"""

import os
import tempfile
from dataclasses import replace

from flyroom import Room, make, open_base, stages
from flyroom.implants import DPO

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("1M")
    open_one = make("emergent-misalignment-wide", {"steps": 120, "rows": 8, "lr": 2e-3})
    deny = DPO(steps=30, pairs=8, lr=2e-3, beta=1.0, hide=0.5)
    hidden = replace(open_one, name="denied", implants=(*open_one.implants, deny))

    organisms = stages.grow([open_one, hidden], base, room, seeds=[0])
    cards = stages.card(organisms, base, room, seed=0, episodes=200)

for card in cards:
    figures = {m: card.measures["organism"][m] for m in ("misaligned", "coherence", "confession")}
    print(f"{card.recipe:28}" + "".join(f"  {m} {e}" for m, e in figures.items()))
