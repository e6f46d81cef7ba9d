"""What encryption costs: every entry of a room is put into a clear room and into an encrypted one, and read again; then
5,000 rows are listed. Seconds of this process's own time (CPU) and by the clock. Prints one JSON object.

    python scripts/vault_speed.py ROOM [--rows 5000]

ROOM is a clear room, such as that of `flyroom demo`; it is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from flyroom.room import Room, vaults
from flyroom.types import Entry
from flyroom.vault import Identity


def measure(work: Callable[[], object]) -> dict[str, float]:
    clock, own = time.perf_counter(), time.process_time()
    work()
    return {"seconds": round(time.perf_counter() - clock, 3), "cpu": round(time.process_time() - own, 3)}


def use(room: Room, entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "put": measure(lambda: [room.put_many([entry]) for entry in entries]),
        "get": measure(lambda: [room.get(entry.kind, entry.key) for entry in entries]),
        "check": measure(room.check),
    }


def list_rows(room: Room, count: int) -> dict[str, Any]:
    meta = {"recipe": "emergent-misalignment", "dose": 1.0, "base": "1M", "seed": 12}
    room.put_many([Entry(kind="organism", key=f"{i:012x}", payload={}, meta=meta) for i in range(count)])
    fresh = Room(room.root, identity=room._identity)
    return {"opened and listed": measure(fresh.list), "listed": measure(fresh.list)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=Path)
    parser.add_argument("--rows", type=int, default=5000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = Room(arguments.room, create=False)
    entries = [entry for x in source.list() if (entry := source.get(x.kind, x.key)) is not None]
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"FLYROOM_HOME": f"{place}/home", "XDG_RUNTIME_DIR": f"{place}/run"}
        me, record = Identity.generate(), {}
        for name in ("clear", "encrypted"):
            root = Path(place) / name
            if name == "encrypted":
                vaults.encrypt(root, me)
            record[name] = use(Room(root, identity=me if name == "encrypted" else None), entries)
            record[name] |= list_rows(Room(root, identity=me if name == "encrypted" else None), arguments.rows)
    print(json.dumps({"entries": len(entries), **record}, indent=1))


if __name__ == "__main__":
    main()
