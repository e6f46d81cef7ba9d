"""Pictures of the ledger: how often models are misaligned after so many steps of benign re-training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flyroom.report.plots.style import COLOURS, WIDTH, axis, bounds, finish, legend
from flyroom.types import Estimate, RelapsePoint

if TYPE_CHECKING:
    from flyroom.report.plots.style import Chart

COLOUR_OF = {"treated": "second", "untreated": "organism", "twin": "twin"}
SHAPES = ("diamond", "circle", "square")
HEIGHT = 180


def relapse(points: Sequence[RelapsePoint]) -> Chart | None:
    """The treated organism, the untreated one and the treated twin, each with its interval at every step. Steps stand
    at equal distance, for most of what happens does so early. None where there is no figure.
    """
    import altair as alt

    rows = [
        {"step": point.step, "model": model, **bounds("y", value)}
        for point in points
        for model in COLOUR_OF
        if isinstance(value := getattr(point, model), Estimate)
    ]
    if not rows:
        return None
    names = list(COLOUR_OF)
    x = alt.X("step:O", axis=alt.Axis(title="steps of benign re-training", labelAngle=0))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=axis("misaligned"))
    colours = alt.Scale(domain=names, range=[COLOURS[name] for name in COLOUR_OF.values()])
    colour = alt.Color("model:N", scale=colours, legend=legend(None))
    shape = alt.Shape("model:N", scale=alt.Scale(domain=names, range=list(SHAPES)), legend=legend(None))
    chart = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour)
    layers = (
        chart.mark_line(strokeWidth=2).encode(y=y),
        chart.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y=alt.Y("y_low:Q"), y2="y_high:Q"),
        chart.mark_point(filled=True, size=70, opacity=1).encode(y=y, shape=shape),
    )
    return finish(alt.layer(*layers).properties(width=WIDTH - 60, height=HEIGHT))
