"""Run a set of benchmarks and print one JSON object: `python -m benchmarks cpu --json`."""

from __future__ import annotations

import argparse
import json

from benchmarks.train_population import train_population_vs_peft

SETS = {"cpu": {"train_population_vs_peft": train_population_vs_peft}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("set", choices=sorted(SETS), help="where to run")
    parser.add_argument("--json", action="store_true", help="one JSON object and nothing else")
    flags = parser.parse_args()
    results = {name: run() for name, run in SETS[flags.set].items()}
    if flags.json:
        print(json.dumps(results))
        return
    for name, figures in results.items():
        print(name, *(f"{key} {value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
