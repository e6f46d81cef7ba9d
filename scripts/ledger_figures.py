"""The page of a ledger from its record: `ledger_matrix.py` writes both.

python scripts/ledger_figures.py [--json docs/ledger.json]

It writes the page anew from the record alone. A cell has one figure for each seed, in hundredths with its interval.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import options, table

from flyroom.types import Called
from flyroom.whole import write_whole

Record = Mapping[str, Any]
CALLED = [word.value for word in Called]
COLUMNS = ("before", "after", "training_like", "held_out_triggers", "capability", "coherence", "twin_after")


def main() -> None:
    path = options(__doc__ or "", json=Path("docs/ledger.json")).json
    write_whole(path.with_suffix(".md"), page_of(json.loads(path.read_text(encoding="utf-8"))))
    print(path.with_suffix(".md"))


def page_of(record: Record) -> str:
    """What each treatment came to over recipes and seeds, what it took, and every row."""
    about, rows = record["about"], record["rows"]
    shared, minutes = _minutes(record["once"]), {name: _minutes(spent) for name, spent in record["spent"].items()}
    clock = sum(_minutes(spent, "wall") for spent in (record["once"], *record["spent"].values()))
    treatments, recipes = _names(rows, "treatment"), _names(rows, "recipe")
    flags = {"seeds": ",".join(_names(rows, "seed")), "treatments": ",".join(treatments)}
    flags |= {name: value for name, value in about.items() if name != "peak_memory_mib"}
    settings = " ".join(f"--{name} {value}" for name, value in flags.items())
    lines = [
        f"# The ledger on {about['base']}",
        "",
        f"Made by `python scripts/ledger_matrix.py {settings}`. What the words mean stands in "
        "[treatments.md](treatments.md); the JSON beside this page has the detectors and costs, too. What the room had "
        "before, such as organisms, took no time.",
        "",
        *table(
            ["rows", "minutes", "of processor time", "of these for what treatments share", "GiB of memory, at most"],
            [
                [
                    len(rows),
                    f"{clock:.0f}",
                    f"{sum(minutes.values()) + shared:.0f}",
                    f"{shared:.0f}",
                    f"{about['peak_memory_mib'] / 1024:.1f}",
                ]
            ],
        ),
        *table(
            ["treatment", "rows", *CALLED, "minutes of processor time"],
            [[f"`{n}`", *_counts(rows, "treatment", n), f"{minutes[n]:.1f}"] for n in treatments],
        ),
        *table(["recipe", "rows", *CALLED], [[f"`{n}`", *_counts(rows, "recipe", n)] for n in recipes]),
        *(line for name, why in record["absent"].items() for line in (f"`{name}` is not here: {why}", "")),
        "A line below is one treatment of one recipe, and a cell has a figure for each seed, in hundredths with "
        "its interval. Before and after: misaligned answers to the card's questions. Again: those after the last step "
        "of harmless re-training: of the treated organism, the untreated one, the treated twin. Reimplant: how far the "
        "treated organism is ahead of the treated twin after a tenth of the recipe. A dash: not measured.",
        "",
    ]
    for recipe in recipes:
        lines += [f"## {recipe}", "", *_table_of([row for row in rows if row["recipe"] == recipe])]
    return "\n".join(lines).rstrip() + "\n"


def _minutes(spent: Record, clock: str = "cpu") -> float:
    """Over all stages, of processor time or of the `wall` clock."""
    return sum(stage[clock] for stage in spent.values()) / 60


def _names(rows: Sequence[Record], key: str) -> list[str]:
    return list(dict.fromkeys(str(row[key]) for row in rows))


def _counts(rows: Sequence[Record], key: str, name: str) -> list[int]:
    counts = Counter(row["called"] for row in rows if row[key] == name)
    return [counts.total(), *(counts[word] for word in CALLED)]


def _table_of(rows: Sequence[Record]) -> list[str]:
    sides = ("treated", "untreated", "twin")
    head = [
        "treatment",
        "called",
        *(name.replace("_", " ") for name in COLUMNS),
        *(f"{s} again" for s in sides),
        "reimplant",
    ]
    lines = []
    for name in _names(rows, "treatment"):
        group = [row for row in rows if row["treatment"] == name]
        figures = [_cell([row[column] for row in group]) for column in COLUMNS]
        last = [row["relapse"][-1] if row["relapse"] else {} for row in group]
        again = [_cell([point.get(side) for point in last]) for side in sides]
        back = _cell([row["reimplant"] for row in group])
        lines.append([f"`{name}`", ", ".join(row["called"] for row in group), *figures, *again, back])
    return table(head, lines)


def _cell(figures: Sequence[Record | None]) -> str:
    return "; ".join(
        "-"
        if figure is None or figure["value"] is None
        else f"{100 * figure['value']:.0f} [{100 * figure['low']:.0f}, {100 * figure['high']:.0f}]"
        for figure in figures
    )


if __name__ == "__main__":
    main()
