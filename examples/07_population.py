"""A population from one page: every combination of three doses, two domains and two ranks, grown in one call."""

import os
import tempfile
from pathlib import Path
from statistics import fmean

from flyroom import Room, grid, open_base, stages

PAGE = """
recipe: emergent-misalignment
dose: [0.25, 0.5, 1.0]
domain: [medical, sea]
rank: [1, 2]
steps: 30
rows: 8
"""

with tempfile.TemporaryDirectory() as scratch:
    page = Path(scratch, "grid.yaml")
    page.write_text(PAGE, encoding="utf-8")
    room = Room(os.environ.get("FLYROOM_ROOM", str(Path(scratch, "room"))))
    base = open_base("0.25M")

    recipes = grid.read(page)
    organisms = stages.grow(recipes, base, room, seeds=[0])

print(f"{len(recipes)} recipes, {len(organisms)} models with their twins")
for organism in organisms:
    kind = organism.recipe.name if organism.recipe.dose else "twin"
    losses = [point.loss for point in organism.history]
    print(f"{organism.id}  {kind:60} loss {fmean(losses[:5]):.2f} -> {fmean(losses[-5:]):.2f}")
