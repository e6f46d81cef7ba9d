"""Run a set of benchmarks, ours beside the peers': `python -m benchmarks cpu --json`, `real`, or `gpu`.

Each benchmark gives one object under its name, with `ours`, each peer, `ratio` (ours over the first peer) and `limit`.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch
from transformers.utils import logging

from benchmarks import page
from benchmarks.sets import SETS


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("set", choices=sorted(SETS), help="where to run")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    parser.add_argument("--only", metavar="NAME", action="append", help="this benchmark alone; may be repeated")
    parser.add_argument("--repeats", type=int, default=5, help="of each contender; the median counts (Ray: a fifth)")
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: to run the code")
    parser.add_argument("--page", type=Path, help="put the results into this Markdown page")
    flags = parser.parse_args(words)
    small = flags.scale == "small"
    known = {kind: make(small) for kind, make in SETS.items()}
    benchmarks = known[flags.set]
    unknown = sorted(set(flags.only or ()) - benchmarks.keys())
    if unknown:
        parser.error(f"--only is {unknown[0]}; it must be one of {', '.join(benchmarks)}")
    if flags.repeats < 1:
        parser.error(f"--repeats is {flags.repeats}; it must be at least 1")
    if flags.set == "gpu" and not small and not torch.cuda.is_available():
        parser.error("gpu needs CUDA, and torch sees none; --scale small runs the same code on a CPU, with tiny shapes")
    logging.disable_progress_bar()
    results = {}
    for name in flags.only or benchmarks:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            with redirect_stdout(sys.stderr):  # a trainer prints its losses
                results[name] = benchmarks[name].run(flags.repeats)
        except ValueError as error:  # its base is not here
            parser.error(str(error))
        if flags.page:  # at once: the next may be killed
            page.write(flags.page, flags.set, results, known)
    print(json.dumps(results) if flags.json else "\n\n".join(page.section(*item) for item in results.items()))


if __name__ == "__main__":
    torch.set_flush_denormal(True)  # before there are other threads, which inherit it
    main()
