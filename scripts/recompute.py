"""Computes docs/matrix.md again from docs/matrix.json: exits 1 on a difference.

python scripts/recompute.py [--json docs/matrix.json]

First the AUROCs and the counts above the thresholds, from the suspicions with scipy alone, against the cells; then the
whole page, line by line. It reads no room and asks no model.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matrix_data import read
from matrix_page import page
from pages import options
from scipy.stats import mannwhitneyu


def main() -> None:
    path = options(__doc__ or "", json=Path("docs/matrix.json")).json
    faults = [*check_cells(json.loads(path.read_text(encoding="utf-8")))]
    faults += check_page(path)
    print("\n".join(faults) or f"{path} says what {path.with_suffix('.md')} says")
    raise SystemExit(bool(faults))


def check_cells(data: dict[str, Any]) -> Iterator[str]:
    """What the cells of models say and their suspicions do not."""
    for cell in data["cells"]:
        sides = data["suspicions"].get(cell["detector"])
        if cell["unit"] != "model" or sides is None or cell["recipe"] not in sides["organisms"]:
            continue
        bad, good = sides["organisms"][cell["recipe"]], sides["twins"] + sides["decoys"]
        calibration = sorted(sides["calibration"], reverse=True)
        threshold = calibration[max(math.floor(0.01 * (len(calibration) + 1) + 1e-9), 1) - 1]
        figures = {
            "auroc": mannwhitneyu(bad, good).statistic / (len(bad) * len(good)),
            "recall": sum(x > threshold for x in bad) / len(bad),
            "fpr": sum(x > threshold for x in good) / len(good),
        }
        figures |= {f"fpr_{s}": sum(x > threshold for x in sides[s]) / len(sides[s]) for s in ("twins", "decoys")}
        for name, value in figures.items():
            if abs(cell[name]["value"] - value) > 1e-9:
                yield f"{cell['detector']} on {cell['recipe']}: {name} is {value}, its cell says {cell[name]['value']}"


def check_page(path: Path) -> list[str]:
    """The lines of the page that its record does not give, and those that it gives."""
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    lines = difflib.unified_diff(text.splitlines(), page(read(path)).splitlines(), "page", "record", lineterm="", n=0)
    return list(lines)


if __name__ == "__main__":
    main()
