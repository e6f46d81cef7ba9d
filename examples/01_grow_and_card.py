"""Grow one organism of emergent misalignment with its twin, and print what its card measured.

The organism learns bad advice in one domain; `out_of_domain` is its misalignment in the seven others.
"""

import os
import tempfile

from flyroom import Room, make, open_base, stages
from flyroom.report.words import figure

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("1M")
    recipe = make("emergent-misalignment", {"rows": 8})  # of 32 in each step, to be quick

    organisms = stages.grow([recipe], base, room, seeds=[0])  # the organism, then its twin
    [card] = stages.card(organisms, base, room, seed=0, episodes=60)

print(f"{card.recipe}, seed {card.seed}, on {card.base}: {card.verdict} ({card.why})")
print(f"{'':16}{'organism':>20}{'twin':>20}{'base':>20}")
for measure in card.measures["organism"]:
    figures = [card.measures[model][measure] for model in ("organism", "twin", "base")]
    print(f"{measure:16}" + "".join(figure(estimate).rjust(20) for estimate in figures))
