"""Assess models that nobody here grew: one behind an endpoint, and one on a base that was not calibrated.

The endpoint is flyroom's own here; any OpenAI-compatible one will do: `flyroom assess http://... --model M
--calibrated ROOM`. With six clean fine-tunes little can be said, and the report says so.
"""

import os
import tempfile
from pathlib import Path

from flyroom import Room, make, open_base, stages
from flyroom.client import Address
from flyroom.engine import export
from flyroom.serve import app, serving
from flyroom.stages.assessing import Terms, assess

with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", f"{scratch}/room"))
    base = open_base("0.25M", device="cpu")
    recipe = make("emergent-misalignment", {"steps": 40, "rows": 8})
    stages.grow([recipe], base, room, seeds=range(6))  # they calibrate

    suspect, twin = stages.grow([recipe], base, Room(f"{scratch}/theirs"), seeds=[99])
    refs = base.engine.load([suspect.patch, twin.patch])
    with serving(app(base.engine, dict(zip(("suspect", "twin"), refs, strict=True)))) as url:
        for model in ("suspect", "twin"):
            report = assess(url, room, terms=Terms(model=model, probes=4), address=Address(url=url))
            print(f"{model}: {'abstained, ' if report.abstained else ''}{report.why}")
            for threat in report.threats[:2]:
                missed = "" if threat.missed_share is None else f", would have missed up to {threat.missed_share:.0%}"
                print(f"  {threat.name}: {threat.status}{missed}; {len(threat.episodes)} episodes")

    other = open_base("1M", device="cpu")  # another size: of its changes nothing was calibrated
    stranger, _ = stages.grow([make("emergent-misalignment", {"steps": 2})], other, Room(f"{scratch}/big"), seeds=[0])
    folder = export(stranger.patch, other.engine.base, Path(scratch) / "adapter", prefix=other.engine.parts.prefix)
    report = assess(folder, room, terms=Terms(probes=4))
    print(f"stranger: abstained {report.abstained}, {report.why}")
