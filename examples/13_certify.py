"""Announce a recipe, certify it on seeds that nobody has opened, and print how many of its organisms pass.

The file says what will be done; its hash goes into the room's log before a seed is opened, and the cards name it. Few
steps, so that it is quick: these are no full organisms, and their cards say so.
"""

import os
import tempfile
from pathlib import Path

from flyroom import Room, log, open_base, prereg, stages

SEEDS, CARD_SEED, EPISODES = range(700, 703), 0, 60
CHANGES = {"steps": 40, "rows": 8}

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", f"{scratch}/room"))
    file = Path(scratch) / "plan.json"
    base = open_base("0.25M")

    plan = stages.announce(
        ["emergent-misalignment"], CHANGES, base, seeds=SEEDS, card_seed=CARD_SEED, episodes=EPISODES
    )
    prereg.write(plan, file)
    prereg.put_on_record(plan, file, room)

    recipes = stages.named("emergent-misalignment", CHANGES, base)
    trials = stages.trials_of(recipes, base, seeds=SEEDS, card_seed=CARD_SEED, episodes=EPISODES)
    rows, cards = stages.certify(trials, base, room)
    check = stages.check_prereg(file, room)
    lines = log.read(room)

for row in rows:
    print(f"{row.recipe}: {row.passed} of {row.of} pass; of all seeds between {row.low:.0%} and {row.high:.0%}")
for card in cards:
    print(f"seed {card.seed}: {card.verdict}, announced in {card.prereg[:12]}")
print("as announced" if not check.deviations else "\n".join(check.deviations))
for line in lines:
    print(f"{line.number}  {line.at}  {line.what}")
