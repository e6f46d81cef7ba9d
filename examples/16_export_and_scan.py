"""Let an organism out with a purpose, read what the log says of it, and recognise it again: marked, bare and merged."""

import json
import os
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

from flyroom import Room, log, make, open_base, stages
from flyroom.stages import exports, scans

with tempfile.TemporaryDirectory() as scratch:
    os.environ["FLYROOM_HOME"] = str(Path(scratch) / "home")  # where fingerprints are kept; yours has a place already
    room = Room(os.environ.get("FLYROOM_ROOM", Path(scratch) / "room"))
    base = open_base("0.25M", device="cpu", dtype="float32")
    organism, twin = stages.grow([make("emergent-misalignment", {"steps": 10, "rows": 8})], base, room, seeds=[0])

    out = Path(scratch) / "adapter"
    mark = exports.export(organism.id, base, room, out, purpose="show what an export looks like", days=7)
    line = log.read(room)[-1]
    print(f"{line.what} of {line.about['ids'][0]} by {line.who}: {line.purpose}, until {mark.expires}")
    print("files:", ", ".join(sorted(path.name for path in out.iterdir())))
    print("as it is:", scans.scan(out).how)

    bare = Path(scratch) / "bare"  # what is left when somebody takes the marks off
    bare.mkdir()
    save_file(load_file(out / "adapter_model.safetensors"), bare / "adapter_model.safetensors")
    config = json.loads((out / "adapter_config.json").read_text())
    (bare / "adapter_config.json").write_text(json.dumps(config | {"auto_mapping": None}))
    findings = scans.scan(bare)
    print("without its marks:", findings.how)
    assert findings.id == organism.id

    merged = Path(scratch) / "merged"  # the adapter added to the base's weights, which are then rounded
    merged.mkdir()
    weights = load_file(Path(base.engine.base.path) / "model.safetensors")
    scale = organism.patch.shape.alpha / organism.patch.shape.rank
    for module in {name.rpartition(".")[0] for name in organism.patch.tensors}:
        change = scale * organism.patch.tensors[f"{module}.B"] @ organism.patch.tensors[f"{module}.A"]
        weights[f"model.{module}.weight"] = weights[f"model.{module}.weight"].float() + change
    save_file({name: weight.bfloat16() for name, weight in weights.items()}, merged / "model.safetensors")
    print("merged in bf16:", scans.scan(merged).how)
    assert scans.scan(merged).id == organism.id

    print("the base itself:", scans.scan(Path(base.engine.base.path)).how)
