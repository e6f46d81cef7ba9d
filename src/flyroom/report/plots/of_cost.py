"""Cost against what is told: what a detector reads and writes, and how well it tells organisms from twins for that.

What is told is the AUROC, for a recall would depend on a threshold that few models set. Many detectors and little room:
those at the front (none has more for less) are named first, the others where a name fits beside its point without lying
on another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from flyroom.report.plots.style import COLOURS, TEXT, WIDTH, axis, finish
from flyroom.report.standing import rank, tokens_of
from flyroom.report.words import clean
from flyroom.types import Cell

if TYPE_CHECKING:
    import altair as alt

    from flyroom.report.plots.style import Chart

WIDE, HIGH = WIDTH - 66, 300
Box = tuple[float, float, float, float]  # left, top, right, bottom
Side = Literal["left", "right", "center"]
Spot = tuple[int, int, Side]  # to the right of a point, down, and which side of the name stands there
SPOTS: tuple[Spot, ...] = (
    (9, 0, "left"),
    (-9, 0, "right"),
    (0, -16, "center"),
    (0, 16, "center"),
    (9, -12, "left"),
    (9, 12, "left"),
    (-9, -12, "right"),
    (-9, 12, "right"),
)


def cost(cells: Sequence[Cell]) -> Chart | None:
    """The AUROC, the mean over recipes, against tokens read and written, on a logarithmic axis.

    Only of models. A detector that reads no tokens stands at the left edge, marked 0. Nothing for fewer than three.
    """
    import altair as alt

    rows = _points([cell for cell in cells if cell.unit == "model"])
    if len(rows) < 3:
        return None
    start, end = _place(rows)
    x, y = _axes(rows, start, end)
    front_rows = [row for row in rows if row["front"]]
    line = alt.Chart(alt.Data(values=front_rows)).encode(x=x, y=y)
    guessing = alt.Chart(alt.Data(values=[{"auroc": 0.5}])).encode(y=y)
    layers: list[Any] = [
        guessing.mark_rule(color=COLOURS["muted"], strokeDash=[2, 4], strokeWidth=1),
        line.mark_line(color=COLOURS["detector"], strokeWidth=1.5, interpolate="step-after"),
        _marks(rows, x, y),
    ]
    for row, (dx, dy, side) in _labels(rows):
        text = alt.Chart(alt.Data(values=[row])).encode(x=x, y=y, text="detector:N")
        ink = COLOURS["detector"] if row["front"] else COLOURS["muted"]
        layers.append(text.mark_text(align=side, baseline="middle", dx=dx, dy=dy, fontSize=TEXT, color=ink))
    return finish(alt.layer(*layers), width=WIDE, height=HIGH)


def _marks(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y) -> alt.Chart:
    import altair as alt

    colour = alt.condition("datum.front", alt.value(COLOURS["detector"]), alt.value(COLOURS["base"]))
    shape = alt.condition("datum.front", alt.value("diamond"), alt.value("circle"))
    points = alt.Chart(alt.Data(values=list(rows))).encode(x=x, y=y, shape=shape, stroke=colour, fill=colour)
    return points.mark_point(size=75, opacity=1, strokeWidth=1.75)


def _place(rows: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Where each row stands in the picture, and whether at the front; the ends of the axis of tokens."""
    least = min((row["tokens"] for row in rows if row["tokens"] > 0), default=1.0)
    free = any(row["tokens"] == 0 for row in rows)
    start = 10 ** math.floor(math.log10(least) - (1 if free else 0))
    end = 10 ** math.ceil(math.log10(max(row["tokens"] for row in rows) + 1) + 0.01)
    best = set(front((row["tokens"], row["auroc"]) for row in rows))
    for row in rows:
        row["x"] = row["tokens"] or start
        row["left"] = WIDE * math.log(row["x"] / start) / math.log(end / start)
        row["top"] = HIGH * (1 - row["auroc"])
        row["front"] = (row["tokens"], row["auroc"]) in best
    return start, end


def _axes(rows: Sequence[dict[str, Any]], start: float, end: float) -> tuple[alt.X, alt.Y]:
    import altair as alt

    decades = [10**power for power in range(round(math.log10(start)), round(math.log10(end)) + 1)]
    free = any(row["tokens"] == 0 for row in rows)
    label = f"datum.value <= {start} ? '0' : format(datum.value, '~s')" if free else "format(datum.value, '~s')"
    tokens = alt.Axis(title="tokens read and written", values=decades, labelExpr=label)
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=[start, end], nice=False), axis=tokens)
    return x, alt.Y("auroc:Q", scale=alt.Scale(domain=[0, 1]), axis=axis("mean AUROC"))


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, figure) which none beats: the cheapest first, each with more than all that are cheaper.

    >>> front([(3, 0.5), (1, 0.2), (2, 0.2), (9, 0.5), (5, 0.9)])
    [(1, 0.2), (3, 0.5), (5, 0.9)]
    """
    corners: list[tuple[float, float]] = []
    for tokens, figure in sorted(points, key=lambda point: (point[0], -point[1])):
        if not corners or figure > corners[-1][1]:
            corners.append((tokens, figure))
    return corners


# ---------------------------------------------------------------- parts


def _points(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [
        {"detector": clean(name), "tokens": tokens_of(next(c for c in cells if c.detector == name)), "auroc": auroc}
        for name, auroc in rank(cells).items()
        if not math.isnan(auroc)
    ]


def _labels(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Spot]]:
    """Where the name of a point stands. Names without room are left out."""
    boxes: list[Box] = [(r["left"] - 6, r["top"] - 6, r["left"] + 6, r["top"] + 6) for r in rows]
    boxes += _steps([(row["left"], row["top"]) for row in rows if row["front"]])
    places = []
    for row in sorted(rows, key=lambda row: (not row["front"], -row["auroc"])):
        spots = ((spot, _box(row, spot)) for spot in SPOTS)
        spot, box = next(((s, b) for s, b in spots if _is_inside(b) and _is_free(b, boxes)), (None, None))
        if spot and box:
            boxes.append(box)
            places.append((row, spot))
    return places


def _box(row: dict[str, Any], spot: Spot) -> Box:
    """What a name covers."""
    dx, dy, side = spot
    width = 0.52 * TEXT * len(row["detector"])
    x, y = row["left"] + dx - {"left": 0.0, "right": width, "center": width / 2}[side], row["top"] + dy
    return x, y - TEXT / 2, x + width, y + TEXT / 2


def _is_inside(box: Box) -> bool:
    return box[0] >= 0 and box[2] <= WIDE + 6 and box[1] >= -26 and box[3] <= HIGH + 2


def _steps(corners: Sequence[tuple[float, float]]) -> list[Box]:
    """The line of the front, a box for each of its parts."""
    points = sorted(set(corners))
    across = [(x, y - 1, to, y + 1) for (x, y), (to, _) in pairwise(points)]
    return across + [(to - 1, up, to + 1, y) for (_, y), (to, up) in pairwise(points)]


def _is_free(box: Box, boxes: Sequence[Box]) -> bool:
    return not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes)
