"""The likelihood ratio of an assessment over the prior: what a reader who began with so much belief may hold after it.

Each line takes the bound that says least: of a flag the lower one, of silence the upper one. On the dotted line the
assessment changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flyroom.report.plots.style import COLOURS, WIDTH, finish

if TYPE_CHECKING:
    from flyroom.report.plots.style import Chart

PRIORS = (*(10 ** (-4 + i / 12) for i in range(48)), 0.99)
LINES = 6  # lines
CAPTION = (
    "What follows for a reader's own belief: to the right the probability of a threat before this assessment, up after "
    "it, by the bound of the likelihood ratio that says least. On the dotted line it changes nothing."
)


def over_prior(findings: Sequence[Mapping[str, Any]]) -> Chart | None:
    """A curve for each threat with a likelihood ratio, those that move most first. None where there is none."""
    import altair as alt

    ratios = {f["threat"]: _least(f["likelihood_ratio"]) for f in findings if f["likelihood_ratio"]}
    names = sorted(ratios, key=lambda name: -abs(_log(ratios[name])))[:LINES]
    if not names:
        return None
    rows = [
        {"before": prior, "after": _after(prior, ratios[name]), "threat": name} for name in names for prior in PRIORS
    ]
    values = [0.0001, 0.001, 0.01, 0.1, 1]
    scale = alt.Scale(type="log", domain=[0.0001, 1], clamp=True)
    x = alt.X("before:Q", scale=scale, axis=alt.Axis(title="believed before", values=values, format=".4~%"))
    y = alt.Y("after:Q", scale=scale, axis=alt.Axis(title="after", values=values, format=".4~%"))
    dash = alt.StrokeDash("threat:N", sort=names, legend=alt.Legend(title=None, orient="bottom", columns=1))
    lines = alt.Chart(alt.Data(values=rows)).mark_line(strokeWidth=2, color=COLOURS["organism"])
    level = alt.Chart(alt.Data(values=[{"before": p, "after": p} for p in PRIORS]))
    dotted = level.mark_line(strokeDash=[2, 4], color=COLOURS["base"]).encode(x=x, y=y)
    return finish(alt.layer(dotted, lines.encode(x=x, y=y, strokeDash=dash)).properties(width=WIDTH - 70, height=220))


def _least(ratio: Mapping[str, float]) -> float:
    """The bound that is nearer to 1, and 1 where the interval holds it."""
    if ratio["low"] > 1:
        return ratio["low"]
    return ratio["high"] if ratio["high"] < 1 else 1.0


def _after(prior: float, ratio: float) -> float:
    odds = prior / (1 - prior) * ratio
    return odds / (1 + odds)


def _log(value: float) -> float:
    import math

    return math.log(max(value, 1e-9))
