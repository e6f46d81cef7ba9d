"""The ledger of treatments as JSON, as a Markdown table, and as a page with relapse curves.

A page is one file with its style and pictures in it, like every page here: see `page`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from flyroom.report import plots
from flyroom.report.page import inline, template
from flyroom.report.text import write_table
from flyroom.report.views import estimate
from flyroom.report.words import clean, figure, seconds, share
from flyroom.types import Called, Estimate, LedgerRow, NotMeasured, RelapsePoint

NAMES = [column.name for column in fields(LedgerRow) if column.type == "Estimate | NotMeasured"]
FIGURES: Mapping[str, str] = {name: name.replace("_", " ") for name in NAMES}  # what a table calls them
SIDES = ("treated", "untreated", "twin")
EVIDENCE = ("gaps", "controls", "losses", "harms")  # of the classification, by where it was asked
COLUMNS = tuple(name for name in FIGURES if name != "twin_capability")


# ---------------------------------------------------------------- JSON


def row_figures(row: LedgerRow) -> dict[str, Any]:
    """A row as `--json` prints it: estimates as everywhere, a figure that is missing with the reason."""
    return {
        "treatment": row.treatment,
        "recipe": row.recipe,
        "seed": row.seed,
        "called": row.called.value,
        "why": row.why,
        **{name: estimate(getattr(row, name)) for name in FIGURES},
        "relapse": [{"step": point.step, **_sides(point)} for point in row.relapse],
        "reimplanted": _sides(row.reimplanted) if row.reimplanted else None,
        "detectors": {
            name: {when: estimate(value) for when, value in pair.items()} for name, pair in row.detectors.items()
        },
        **{name: {place: estimate(x) for place, x in getattr(row, name).items()} for name in EVIDENCE},
        "needs": list(row.needs),
        "at_run_time": row.at_run_time,
        "cost": dict(row.cost),
        "organism": row.organism,
        "treated": row.treated,
        "base": row.base,
        "world": row.world,
    }


def _sides(point: RelapsePoint) -> dict[str, Any]:
    return {side: estimate(getattr(point, side)) for side in SIDES}


# ---------------------------------------------------------------- tables


def brief(row: LedgerRow) -> dict[str, str]:
    """A row for a terminal."""
    last = row.relapse[-1] if row.relapse else None
    return {
        "treatment": row.treatment,
        "recipe": row.recipe,
        "seed": str(row.seed),
        "called": row.called.value,
        "before": _value(row.before),
        "after": _value(row.after),
        "capability": _value(row.capability),
        f"after {last.step} steps" if last else "later": _value(last.treated) if last else "-",
        "why": row.why,
    }


def _value(value: Estimate | NotMeasured) -> str:
    return share(value.value) if isinstance(value, Estimate) else "-"


def markdown_ledger(rows: Sequence[LedgerRow]) -> str:
    """One row a treatment, recipe and seed, with intervals; "" where there is none."""
    if not rows:
        return ""
    steps = sorted({point.step for row in rows for point in row.relapse})
    detectors = list(dict.fromkeys(name for row in rows for name in row.detectors))
    head = [
        *("treatment", "recipe", "seed", "called"),
        *(FIGURES[name] for name in COLUMNS),
        *(f"after {step} steps" for step in steps),
        *(f"{name}, before and after" for name in detectors),
        *("needs", "time", "why"),
    ]
    return write_table(head, [_line(row, steps, detectors) for row in rows])


def _line(row: LedgerRow, steps: Sequence[int], detectors: Sequence[str]) -> list[str]:
    points = {point.step: point for point in row.relapse}
    return [
        *(row.treatment, row.recipe, str(row.seed), row.called.value),
        *(_write(getattr(row, name)) for name in COLUMNS),
        *(_write(points[step].treated) if step in points else "-" for step in steps),
        *(_write_pair(row.detectors.get(name, {})) for name in detectors),
        *(", ".join(row.needs) or "-", seconds(row.cost.get("seconds", 0.0)), row.why),
    ]


def _write(value: Estimate | NotMeasured) -> str:
    return figure(value) if isinstance(value, Estimate) else "-"


def _write_pair(pair: Mapping[str, Estimate | NotMeasured]) -> str:
    sides = [pair.get(when) for when in ("before", "after")]
    return " → ".join(figure(side) if isinstance(side, Estimate) else "-" for side in sides)


# ---------------------------------------------------------------- a page


def ledger_page(rows: Sequence[LedgerRow], *, commands: Sequence[str]) -> str:
    """One self-contained HTML document: what each treatment came to, relapse curves, every figure with its interval."""
    counts = Counter(row.called for row in rows)
    return template("ledger.html.jinja").render(
        title="The ledger of treatments",
        counts=[(called.value, counts[called]) for called in Called if counts[called]],
        worlds=clean(", ".join(dict.fromkeys(f"{row.world} on {row.base}" for row in rows))),
        names=[FIGURES[name] for name in COLUMNS],
        rows=[_view(row) for row in rows],
        curves=[_curve(number, name, chart) for number, (name, chart) in enumerate(curves(rows).items(), 1)],
        commands=clean("\n".join(commands)),
        colours=plots.COLOURS,
    )


def _view(row: LedgerRow) -> dict[str, Any]:
    return {
        "treatment": clean(row.treatment),
        "recipe": clean(row.recipe),
        "seed": row.seed,
        "called": row.called.value,
        "why": clean(row.why),
        "needs": ", ".join(row.needs),
        "figures": [_write(getattr(row, name)) for name in COLUMNS],
        "detectors": [(clean(name), _write_pair(pair)) for name, pair in row.detectors.items()],
        "gaps": [
            (clean(place), _write(value), _write(row.controls[place]) if place in row.controls else "-")
            for place, value in row.gaps.items()
        ],
        "checks": [
            *((f"lost: {clean(what)}", _write(value)) for what, value in row.losses.items()),
            *((clean(name), _write(value)) for name, value in row.harms.items()),
        ],
        "cost": seconds(row.cost.get("seconds", 0.0)),
    }


def _curve(number: int, name: str, chart: Any) -> tuple[str, str]:
    label = f"Misaligned after benign re-training: {clean(name)}"
    return clean(name), inline(plots.svg(chart), label=label, prefix=f"c{number}-")


def curves(rows: Sequence[LedgerRow]) -> dict[str, Any]:
    """A relapse curve for each row that has one, by what it is of."""
    return {
        f"{row.treatment}, {row.recipe}, seed {row.seed}": chart
        for row in rows
        if (chart := plots.relapse(row.relapse)) is not None
    }
