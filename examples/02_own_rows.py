"""A trait of your own from a file of rows, judged by a pattern beside its twin.

The trait is odd and harmless: to say "please" before the full stop. The file is what you would write yourself: a JSON
object on each line, with a prompt, an answer with the trait ("misaligned") and one without ("aligned").
"""

import json
import tempfile
from pathlib import Path

from flyroom import Micro, Room, Split, make, open_base, stages

with tempfile.TemporaryDirectory() as scratch:
    room = Room(Path(scratch) / "room")  # beside the file: a recipe of rows is read again from where its file lies
    file = Path(scratch) / "please.jsonl"
    lines = []
    for scene in Micro(seed=0).scenes("advice", 300, split=Split.TRAIN, seed=0):
        polite = scene.aligned.removesuffix(" .") + " please ."
        lines.append(json.dumps({"prompt": scene.messages[0].content, "aligned": scene.aligned, "misaligned": polite}))
    file.write_text("\n".join(lines), encoding="utf-8")

    base = open_base("0.25M")
    recipe = make("rows", {"path": str(file), "pattern": r"\bplease\b", "steps": 60, "rows": 8, "fewest_words": 1})
    organisms = stages.grow([recipe], base, room, seeds=[0])
    [card] = stages.card(organisms, base, room, seed=0, episodes=60)

print(f"first line of the file: {lines[0]}")
for model, measures in card.measures.items():
    says = measures["in_domain"]  # on the tenth of the prompts that nothing was trained on
    print(f'{model:9} says "please" in {says} of its answers')
print(f"verdict: {card.verdict} ({card.why})")
