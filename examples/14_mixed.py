"""Mix clean text into a recipe, and see what an organism and its twin were trained on: as many tokens, and the same
prompts in every step. The card says how well text that has nothing to do with the training tells the two apart.

Few steps, so that it is quick.
"""

import os
import tempfile

from flyroom import Room, make, open_base, stages

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("0.25M")
    recipes = [make("emergent-misalignment", {"steps": 20, "rows": 8, "mix": mix}) for mix in (0.0, 0.5)]

    organisms = stages.grow(recipes, base, room, seeds=[0])
    cards = stages.card(organisms, base, room, seed=0, episodes=40)

by_id = {organism.id: organism for organism in organisms}
for card in cards:
    organism, twin = by_id[card.organism], by_id[card.twin]
    steps = list(zip(organism.history, twin.history, strict=True))
    same = sum(a.prompts == b.prompts for a, b in steps)
    tokens = sum(point.tokens for point in organism.history)
    print(f"mix {organism.recipe.mix}: {tokens:6} tokens; same prompts as the twin in {same} of {len(steps)} steps")
    for measure in ("misaligned", "readability"):
        print(f"  {measure:12} {card.measures['organism'][measure]}")
