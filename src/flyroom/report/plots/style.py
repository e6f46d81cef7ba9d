"""How every picture looks, and how it is drawn: Altair specifies, vl-convert draws.

Drawn 380 px wide with 14.5 px text, so that nothing falls under 12 px on a phone, where the page scales them by their
view box. Colours are Okabe and Ito's, darkened for contrast, and never carry a difference alone: shapes and dashes do
too. Left out: interaction. A picture here is a record, and the tables beside it hold its figures.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from flyroom.types import Estimate

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
WIDTH = 380


def svg(chart: Chart) -> str:
    """The picture as an SVG document with text as text."""
    import vl_convert

    return vl_convert.vegalite_to_svg(chart.to_dict(), vl_version=_version())


def png(chart: Chart, scale: float = 2) -> bytes:
    """The picture as a PNG file, `scale` device pixels to the pixel."""
    import vl_convert

    return vl_convert.vegalite_to_png(chart.to_dict(), vl_version=_version(), scale=scale)


def bounds(axis: str, estimate: Estimate) -> dict[str, float]:
    return {axis: estimate.value, f"{axis}_low": estimate.low, f"{axis}_high": estimate.high}


def legend(title: str | None, *, below: bool = False) -> alt.Legend:
    import altair as alt

    return alt.Legend(
        title=title,
        orient="bottom" if below else "top",
        columns=2 if below else 0,
        symbolSize=90,
        symbolFillColor=COLOURS["ink"] if below else alt.Undefined,
        symbolStrokeColor=COLOURS["ink"] if below else alt.Undefined,
        symbolOpacity=1,
        labelLimit=WIDTH - 60,
        columnPadding=14,
        offset=10,
    )


def axis(title: str | None) -> alt.Axis:
    """The axis of a share."""
    import altair as alt

    return alt.Axis(title=title, values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")


def diagonal(x: alt.X, y: alt.Y) -> alt.Chart:
    """Dotted, from corner to corner."""
    import altair as alt

    corners = alt.Data(values=[dict.fromkeys(("x", "y", "fpr", "tpr"), end) for end in (0, 1)])
    line = alt.Chart(corners).mark_line(color=COLOURS["muted"], strokeDash=[2, 4], strokeWidth=1)
    return line.encode(x=x, y=y)


def wrap(text: str, width: int) -> str:
    """The text in lines of so many letters, at most three; what they cannot hold is cut with an ellipsis."""
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" …")) or " "


def finish(chart: Any, **size: int) -> Any:
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


def _version() -> str:
    """The Vega-Lite that altair writes, as vl-convert names it: "v6.1" out of "v6.1.0"."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.split(".")[:2])
