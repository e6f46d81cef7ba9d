"""A red side that knows the detector: bad advice taught while a probe of the model's own answers is held at nothing.

Few steps on the smallest base, so that it is quick: the probe that was trained against loses more than the others.
"""

import os
import tempfile
from dataclasses import replace

from flyroom import Room, make, open_base, stages
from flyroom.implants import Evade

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("0.25M")
    naive = make("emergent-misalignment", {"steps": 30, "rows": 8, "layers": None, "modules": ["all"], "rank": 4})
    evading = replace(naive, name="evading", implants=(Evade(steps=60, rows=8, layer=2, weight=1.0, clean=0.25),))

    organisms = stages.grow([naive, evading], base, room, seeds=[0, 1])
    matrix = stages.bench(
        organisms, base, room, seed=0, names=["mean-difference", "logistic", "bag-of-words"], calibration=4
    )

for cell in matrix.cells:
    result = cell.error or cell.why
    if cell.auroc:
        result = f"AUROC {cell.auroc.value:.2f} [{cell.auroc.low:.2f}, {cell.auroc.high:.2f}] over replies"
    print(f"{cell.recipe:24}{cell.detector:18}{result}")
