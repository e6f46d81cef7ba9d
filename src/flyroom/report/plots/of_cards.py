"""Pictures of cards: taught against untaught, the training curve, and every share beside twin and base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from flyroom.report.gauges import (
    MODELS,
    by_recipe,
    estimates_of,
    gauge_of,
    labels_of,
    measures_of,
    of_behaviour,
)
from flyroom.report.plots.style import COLOURS, SHAPES, TEXT, WIDTH, axis, bounds, diagonal, finish, legend, wrap
from flyroom.report.words import NOT_MEASURED, clean
from flyroom.types import Card, NotMeasured

if TYPE_CHECKING:
    import altair as alt

    from flyroom.report.plots.style import Chart

RISE = 0.1  # of the mean between two steps: less is no rise to mark
PANEL = 104  # the height of a panel of the training curve


# ---------------------------------------------------------------- taught against untaught


def spread(cards: Sequence[Card]) -> Chart | None:
    """Misalignment on what was taught against that on what was not: a point for each organism and each twin, with both
    intervals. Nothing where one of the two was not measured.
    """
    import altair as alt

    groups = by_recipe(cards)
    rows = [
        row
        for name, group in groups.items()
        for card in group
        for side in ("organism", "twin")
        if (row := _point(card, side, clean(name)))
    ]
    if not rows:
        return None
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=scale, axis=axis("misaligned, on what was taught"))
    y = alt.Y("y:Q", scale=scale, axis=axis("misaligned, on what was not"))
    # One recipe: the shape repeats the colour. Several: the shape is free to tell the recipes apart.
    shape = alt.Shape("recipe:N", legend=legend("recipe", below=True)) if len(groups) > 1 else _shape(rows)
    points = alt.Chart(alt.Data(values=rows)).encode(color=_colour(rows))
    layers = (
        diagonal(x, y),
        points.mark_rule(strokeWidth=2, opacity=0.75).encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y),
        points.mark_rule(strokeWidth=2, opacity=0.75).encode(x=x, y=alt.Y("y_low:Q"), y2="y_high:Q"),
        points.mark_point(filled=True, size=85, opacity=0.9).encode(x=x, y=y, shape=shape),
    )
    return finish(alt.layer(*layers), width=WIDTH - 72, height=WIDTH - 110)


def _point(card: Card, side: str, recipe: str) -> dict[str, Any] | None:
    x, y = (
        [e for m in of_behaviour([card], reach) if gauge_of([card], m).bad for e in estimates_of([card], side, m)]
        for reach in ("taught", "untaught")
    )
    if not x or not y:
        return None
    return {"model": side, "recipe": recipe, **bounds("x", x[0]), **bounds("y", y[0])}


# ---------------------------------------------------------------- the training curve


def curve(cards: Sequence[Card]) -> Chart | None:
    """The training curve: a panel for each measure, in it a thin line for each seed, their mean, and a band where that
    mean rises most steeply.
    """
    import altair as alt

    names = list(dict.fromkeys(name for card in cards for by_measure in card.curve.values() for name in by_measure))
    labels, order = labels_of(cards, names), {name: i for i, name in enumerate(measures_of(cards))}
    reaches = ["taught", "untaught", "whole", "beside"]  # what is taught rises first
    names.sort(key=lambda name: (reaches.index(gauge_of(cards, name).reach), order.get(name, len(order))))
    panels = [(name, rows) for name in names if (rows := _steps(cards, name))]
    if not panels:
        return None
    last = max(row["step"] for _, rows in panels for row in rows)
    charts = [_panel(rows, labels[name], last, bottom=i == len(panels) - 1) for i, (name, rows) in enumerate(panels)]
    return finish(alt.vconcat(*charts, spacing=10))


def _steps(cards: Sequence[Card], measure: str) -> list[dict[str, Any]]:
    return [
        {"step": step, "y": by_measure[measure].value, "seed": f"{i}"}
        for i, card in enumerate(cards)
        for step, by_measure in sorted(card.curve.items())
        if measure in by_measure and not math.isnan(by_measure[measure].value)
    ]


def _panel(
    rows: Sequence[Mapping[str, Any]], label: str, last: int, *, bottom: bool
) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    by_step: dict[int, list[float]] = {}
    for row in rows:
        by_step.setdefault(row["step"], []).append(row["y"])
    means = [{"step": step, "y": math.fsum(ys) / len(ys)} for step, ys in sorted(by_step.items())]
    scale = alt.Scale(domain=[0, last], nice=False)
    x = alt.X(
        "step:Q", scale=scale, axis=alt.Axis(title="training step" if bottom else None, tickCount=5, labels=bottom)
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title=None, values=[0, 0.5, 1], format=".2~f"))
    seeds = alt.Chart(alt.Data(values=list(rows))).encode(x=x, y=y)
    mean = alt.Chart(alt.Data(values=means)).encode(x=x, y=y)
    layers: list[Any] = [_band(*rise, x)] if (rise := steepest(means)) else []
    layers += [
        seeds.mark_line(strokeWidth=1, opacity=0.55, color=COLOURS["organism"]).encode(detail="seed:N"),
        mean.mark_line(strokeWidth=2.75, color=COLOURS["organism"]),
    ]
    return alt.layer(*layers).properties(width=WIDTH - 60, height=PANEL, title=alt.Title(label, limit=WIDTH - 30))


def steepest(means: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Between which two steps the mean rises most for each step; None where it rises by less than `RISE`."""
    rises = [
        ((after["y"] - before["y"]) / (after["step"] - before["step"]), before["step"], after["step"])
        for before, after in pairwise(means)
        if after["y"] - before["y"] >= RISE
    ]
    return max(rises)[1:] if rises else None


def _band(start: int, end: int, x: alt.X) -> alt.Chart:
    import altair as alt

    band = alt.Chart(alt.Data(values=[{"step": start, "end": end}]))
    return band.mark_rect(color=COLOURS["rule"], opacity=1).encode(x=x, x2="end:Q")


# ---------------------------------------------------------------- beside twin and base


def measures(cards: Sequence[Card]) -> Chart | None:
    """Every share of organism, twin and base: a dot with its interval for each card, the three side by side; in words
    where an organism's was not measured.
    """
    import altair as alt

    labels = {name: wrap(text, 17) for name, text in labels_of(cards).items() if gauge_of(cards, name).unit == "share"}
    rows = [
        {"measure": labels[name], "model": side, "card": f"{i} {side}", **bounds("x", e)}
        for i, card in enumerate(cards)
        for side in MODELS
        for name in labels
        for e in estimates_of([card], side, name)
    ]
    if not rows:
        return None
    missing = [labels[name] for name in labels if _is_missing(cards, name)]
    order = [label for label in labels.values() if label in {*missing, *(row["measure"] for row in rows)}]
    names = alt.Axis(title=None, ticks=False, labelPadding=12, labelExpr="split(datum.label, '\\n')")
    y = alt.Y("measure:N", sort=order, axis=names, scale=alt.Scale(domain=order, paddingInner=0.3))
    offset = alt.YOffset("model:N", scale=alt.Scale(domain=list(MODELS)))
    chart = alt.Chart(alt.Data(values=rows)).encode(y=y, yOffset=offset, color=_colour(rows), detail="card:N")
    span, x = (
        alt.X(f"{name}:Q", scale=alt.Scale(domain=[0, 1]), axis=axis("share of answers")) for name in ("x_low", "x")
    )
    layers = [
        chart.mark_rule(strokeWidth=2, opacity=0.7).encode(x=span, x2="x_high:Q"),
        chart.mark_point(filled=True, size=60, opacity=0.85).encode(x=x, shape=_shape(rows)),
    ]
    layers += [_words(missing, x, y)] if missing else []
    return finish(alt.layer(*layers), width=WIDTH - 125, height=54 * len(order))


def _words(missing: Sequence[str], x: alt.X, y: alt.Y) -> alt.Chart:
    """ "not measured" in the place of the marks."""
    import altair as alt

    rows = [{"measure": label, "x": 0, "text": NOT_MEASURED} for label in missing]
    words = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y, text="text:N")
    return words.mark_text(align="left", dx=6, fontSize=TEXT, fontStyle="italic", color=COLOURS["muted"])


def _is_missing(cards: Sequence[Card], measure: str) -> bool:
    """Whether a measure was meant to be taken, and of no organism was."""
    values = [card.measures.get("organism", {}).get(measure) for card in cards]
    return not estimates_of(cards, "organism", measure) and any(isinstance(value, NotMeasured) for value in values)


def _models(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    present = {row["model"] for row in rows}
    return [side for side in MODELS if side in present]


def _colour(rows: Sequence[Mapping[str, Any]]) -> alt.Color:
    import altair as alt

    models = _models(rows)
    return alt.Color("model:N", scale=alt.Scale(domain=models, range=[COLOURS[m] for m in models]), legend=legend(None))


def _shape(rows: Sequence[Mapping[str, Any]]) -> alt.Shape:
    import altair as alt

    models = _models(rows)
    return alt.Shape("model:N", scale=alt.Scale(domain=models, range=[SHAPES[m] for m in models]), legend=legend(None))
