"""Kill `flyroom demo` with SIGKILL at random moments, run it again each time, and compare with an undisturbed run.

    python scripts/kill_demo.py [--kills 20] [--base 0.25M] [--seed 0]

After every kill the room is checked: no lost, no corrupt blob, nothing half-written. At the end the run that was killed
so often must give the same figures as the one that was not. Exits with 1 and says what differs otherwise.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pages import options

from flyroom.room import Room


def command(seed: int, base: str, room: Path) -> list[str]:
    code = "from flyroom.cli import main; main()"
    return [sys.executable, "-c", code, "demo", "--seed", str(seed), "--base", base, "--room", str(room), "--json"]


def figures(text: str) -> dict[str, Any]:
    """What must be equal: everything but where the page lies and how long things took."""
    found = json.loads(text)
    for cell in found["detectors"]:
        cell["cost"].pop("seconds")
    return {name: found[name] for name in ("organisms", "detectors")}


def main() -> None:
    flags = options(__doc__ or "", kills=20, base="0.25M", seed=0)
    rng = random.Random(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        quiet, troubled = Path(folder) / "quiet", Path(folder) / "troubled"
        began = time.perf_counter()
        undisturbed = subprocess.run(command(flags.seed, flags.base, quiet), capture_output=True, text=True, check=True)
        whole = time.perf_counter() - began
        print(f"undisturbed: {whole:.1f} s")
        killed, finished, wrong = 0, 0, 0

        def compare(output: str) -> None:
            """Hold a run that was killed on its way against the undisturbed one, and begin anew."""
            nonlocal finished, wrong
            finished += 1
            wrong += figures(output) != figures(undisturbed.stdout)
            shutil.rmtree(troubled)

        while killed < flags.kills:
            process = subprocess.Popen(
                command(flags.seed, flags.base, troubled), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            moment = rng.uniform(0, whole / 2)
            try:
                output, _ = process.communicate(timeout=moment)
                compare(output)
                continue
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
            report = Room(troubled).check()
            kinds = [entry.kind for entry in Room(troubled).list()]
            held = f"{len(kinds)} entries, {kinds.count('checkpoint')} checkpoints"
            print(f"kill {killed} at {moment:.1f} s: {held}, lost {report.lost}, corrupt {report.corrupt}", flush=True)
            if report.lost or report.corrupt:
                raise SystemExit("the room is damaged")
        last = subprocess.run(command(flags.seed, flags.base, troubled), capture_output=True, text=True, check=True)
        compare(last.stdout)
        print(f"killed {killed} times on the way to {finished} finished runs; {wrong} differ from the undisturbed one")
        raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
