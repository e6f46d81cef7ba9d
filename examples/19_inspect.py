"""Inspect and flyroom, both ways: organisms as models, a recipe's questions as a task, cards as logs, an auditor as a
detector. Needs flyroom[inspect]; no network.
"""

import tempfile
from pathlib import Path

from inspect_ai import eval as run_tasks
from inspect_ai.log import list_eval_logs, read_eval_log

from flyroom import Room, make, open_base, stages
from flyroom.bench import bench
from flyroom.detectors import Auditor
from flyroom.inspect_entry import probe
from flyroom.lineup import Lineup, Terms
from flyroom.material import Material
from flyroom.stages import inspect_logs

PURPOSE = "an example"

with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    room, base = Room(folder / "room"), open_base("0.25M")
    assert base.world is not None
    recipe = make("emergent-misalignment", {"steps": 30, "rows": 8}, world=base.world)
    organism, twin = stages.grow([recipe], base, room, seeds=[0])
    stages.card([organism, twin], base, room, seed=0, episodes=20)

    # organisms as models, and our questions as a task: three models are asked in the same batches
    logs = run_tasks(
        probe(recipe="emergent-misalignment", episodes=20),
        model=[f"flyroom/{organism.id}", f"flyroom/{organism.id}/twin", "flyroom/base"],
        model_args={"room": str(folder / "room"), "base": "0.25M", "purpose": PURPOSE},
        log_dir=str(folder / "asked"),
        display="none",
    )
    for log in logs:
        assert log.results is not None
        print(log.eval.model, {name: m.value for name, m in log.results.scores[0].metrics.items() if " " not in name})

    # what the card asked, as logs that `inspect view` opens
    inspect_logs.record(room, [], folder / "logs", purpose=PURPOSE)
    rows = inspect_logs.write_all(room, [], folder / "logs", [])
    samples = [len(read_eval_log(info).samples or ()) for info in list_eval_logs(str(folder / "logs"))]
    print(f"{len(rows)} logs of {sum(samples)} episodes; Inspect reads as many: {sum(r['samples'] for r in rows)}")

    # an auditor of Inspect as a detector, under the lab's access and meter
    calibration = stages.grow([recipe.twin()], base, room, seeds=[1000])
    lineup = Lineup.of([organism, twin], calibration=calibration, terms=Terms(isolated=False))
    auditor = Auditor(topics=("advice",), options={"questions": 8})
    material = Material.of(base.world, seed=0)
    (cell,) = bench(lineup, {"interview": auditor}, base.engine, material=material, seed=0).cells
    print(cell.error or f"{cell.suspicions}, for {cell.cost.generated_tokens} tokens")
