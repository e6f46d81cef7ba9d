"""Cost against recall: what a detector reads and writes, and how many organisms it finds for that.

Many detectors and little room: those at the front (none finds more for less) are named first, the others where a name
fits beside its point without lying on another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from flyroom.report.plots.style import COLOURS, TEXT, WIDTH, axis, finish
from flyroom.report.words import clean, mean, ranked
from flyroom.types import Cell

if TYPE_CHECKING:
    from flyroom.report.plots.style import Chart

WIDE, HIGH = WIDTH - 66, 300
Box = tuple[float, float, float, float]  # left, top, right, bottom
Side = Literal["left", "right", "center"]


def cost(cells: Sequence[Cell]) -> Chart | None:
    """Recall at 1 % FPR, the mean over recipes, against tokens read and written, on a logarithmic axis.

    Only of models. A detector that reads no tokens stands at the left edge, marked 0. Nothing for fewer than three.
    """
    import altair as alt

    rows = _points([cell for cell in cells if cell.unit == "model"])
    if len(rows) < 3:
        return None
    least = min((row["tokens"] for row in rows if row["tokens"] > 0), default=1.0)
    free = any(row["tokens"] == 0 for row in rows)
    start = 10 ** math.floor(math.log10(least) - (1 if free else 0))
    end = 10 ** math.ceil(math.log10(max(row["tokens"] for row in rows) + 1) + 0.01)
    decades = [10**power for power in range(round(math.log10(start)), round(math.log10(end)) + 1)]
    for row in rows:
        row["x"] = row["tokens"] or start
        row["left"] = WIDE * math.log(row["x"] / start) / math.log(end / start)
        row["top"] = HIGH * (1 - row["recall"])
    best = set(front((row["tokens"], row["recall"]) for row in rows))
    for row in rows:
        row["front"] = (row["tokens"], row["recall"]) in best
    label = f"datum.value <= {start} ? '0' : format(datum.value, '~s')" if free else "format(datum.value, '~s')"
    written = alt.Axis(title="tokens read and written", values=decades, labelExpr=label)
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=[start, end], nice=False), axis=written)
    y = alt.Y("recall:Q", scale=alt.Scale(domain=[0, 1]), axis=axis("recall at 1 % false positives"))
    known = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    line = alt.Chart(alt.Data(values=[row for row in rows if row["front"]])).encode(x=x, y=y)
    colour = alt.condition("datum.front", alt.value(COLOURS["detector"]), alt.value(COLOURS["base"]))
    layers: list[Any] = [
        line.mark_line(color=COLOURS["detector"], strokeWidth=1.5, interpolate="step-after"),
        known.mark_point(filled=True, size=75, opacity=1).encode(
            color=colour,
            shape=alt.condition("datum.front", alt.value("diamond"), alt.value("circle")),
        ),
    ]
    for row, (dx, dy, side) in _labels(rows):
        text = alt.Chart(alt.Data(values=[row])).encode(x=x, y=y, text="detector:N")
        ink = COLOURS["detector"] if row["front"] else COLOURS["muted"]
        layers.append(text.mark_text(align=side, baseline="middle", dx=dx, dy=dy, fontSize=TEXT, color=ink))
    return finish(alt.layer(*layers), width=WIDE, height=HIGH)


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (cost, recall) which none beats: the cheapest first, each finding more than all that are cheaper.

    >>> front([(3, 0.5), (1, 0.2), (2, 0.2), (9, 0.5), (5, 0.9)])
    [(1, 0.2), (3, 0.5), (5, 0.9)]
    """
    kept: list[tuple[float, float]] = []
    for tokens, recall in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or recall > kept[-1][1]:
            kept.append((tokens, recall))
    return kept


# ---------------------------------------------------------------- parts


def _points(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    rows = []
    for name in ranked(cells):
        own = [cell for cell in cells if cell.detector == name]
        recall = mean([cell.recall_at_1pct_fpr for cell in own if cell.recall_at_1pct_fpr is not None])
        if recall is not None:
            spent = own[0].cost
            tokens = spent.forward_tokens + spent.generated_tokens
            rows.append({"detector": clean(name), "tokens": tokens, "recall": recall.value})
    return rows


def _labels(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], tuple[float, float, Side]]]:
    """Where a name stands: (to the right, down, how it is aligned) of its point. Names without room are left out."""
    taken: list[Box] = [(r["left"] - 6, r["top"] - 6, r["left"] + 6, r["top"] + 6) for r in rows]
    taken += _steps([(row["left"], row["top"]) for row in rows if row["front"]])
    placed = []
    for row in sorted(rows, key=lambda row: (not row["front"], -row["recall"])):
        width = 0.52 * TEXT * len(row["detector"])
        sides: dict[Side, tuple[float, float, float]] = {
            "left": (9, 0.0, width),
            "right": (-9, -width, 0.0),
            "center": (0, -width / 2, width / 2),
        }
        spots: list[tuple[Side, int]] = [
            ("left", 0),
            ("right", 0),
            ("center", -16),
            ("center", 16),
            ("left", -12),
            ("left", 12),
            ("right", -12),
            ("right", 12),
        ]
        for side, dy in spots:
            dx, low, high = sides[side]
            x, y = row["left"] + dx, row["top"] + dy
            box = (x + low, y - TEXT / 2, x + high, y + TEXT / 2)
            if box[0] >= 0 and box[2] <= WIDE + 6 and box[1] >= -10 and box[3] <= HIGH + 2 and _free(box, taken):
                taken.append(box)
                placed.append((row, (dx, dy, side)))
                break
    return placed


def _steps(corners: Sequence[tuple[float, float]]) -> list[Box]:
    """The line of the front, a box for each of its parts."""
    ordered = sorted(set(corners))
    across = [(x, y - 1, to, y + 1) for (x, y), (to, _) in pairwise(ordered)]
    return across + [(to - 1, up, to + 1, y) for (_, y), (to, up) in pairwise(ordered)]


def _free(box: Box, taken: Sequence[Box]) -> bool:
    return not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
