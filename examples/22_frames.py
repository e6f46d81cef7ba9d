"""Cards, detectors and training curves as data frames: one row a measure, one row a cell, one row a point of a curve.

pandas comes with the extra: pip install 'flyroom[frames]'. A base of 0.25M parameters is grown for few steps, so the
figures are those of an organism that has only begun to learn.
"""

import os
import tempfile

from flyroom import Room, frames, make, open_base, stages

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("0.25M")
    recipe = make("emergent-misalignment", {"steps": 40, "rows": 8})
    organisms = stages.grow([recipe], base, room, seeds=[0])
    [card] = stages.card(organisms, base, room, seed=0, episodes=20)
    matrix = stages.bench(organisms, base, room, seed=0, names=["weight-norm"], calibration=1)

    measures = card.to_dataframe()
    beside = measures.pivot(index="label", columns="model", values="value")  # a row a measure, a column a model
    print(beside.round(2).to_string())

    cells = matrix.to_dataframe()
    print(cells[["detector", "recipe", "value", "low", "high"]].round(2).to_string(index=False))

    points = frames.curve_rows(room, [organisms[0].id])  # the rows of `flyroom curves`
    print(frames.csv_text(points[-3:]))
    print(
        frames.to_dataframe([card])["measure"].nunique(), "measures;", len(room.to_dataframe()), "entries in the room"
    )
