"""Export an organism as a PEFT folder, load it with PEFT, and compare what both say of the same rows.

Needs the extra `peft`: pip install "flyroom[peft]".
"""

import os
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from flyroom import Micro, Room, Row, Split, make, open_base, stages
from flyroom.engine import export

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", Path(scratch) / "room"))
    base = open_base("0.25M", device="cpu", dtype="float32")
    engine = base.engine
    organism, _ = stages.grow([make("emergent-misalignment", {"steps": 20, "rows": 8})], base, room, seeds=[0])

    folder = export(organism.patch, engine.base, Path(scratch) / "adapter", prefix=engine.parts.prefix)
    bare = AutoModelForCausalLM.from_pretrained(engine.base.path, dtype=torch.float32)
    model = PeftModel.from_pretrained(bare, folder).eval()

    scenes = Micro(seed=0).scenes("advice/sea", 8, split=Split.HELD_OUT, seed=0)
    rows = [Row(messages=scene.messages, answer=scene.misaligned) for scene in scenes]
    [adapter] = engine.load([organism.patch])
    worst = 0.0
    for row, ours in zip(rows, engine.logprobs([adapter] * len(rows), rows), strict=True):
        ids, start = engine.parts.renderer.row(row)  # the tokens, and where in them the answer begins
        tokens = torch.from_numpy(ids)
        with torch.inference_mode():
            logits = model(input_ids=tokens[None]).logits[0, start - 1 : -1]
        theirs = logits.log_softmax(-1).gather(1, tokens[start:, None])[:, 0]
        worst = max(worst, float((theirs - ours).abs().max()))
    print("files:", ", ".join(sorted(path.name for path in folder.iterdir())))

print(f"log-probabilities of {len(rows)} answers in flyroom and in PEFT:", "equal" if worst < 1e-4 else "NOT equal")
assert worst < 1e-4, worst
