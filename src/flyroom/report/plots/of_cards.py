"""Pictures of cards: domains, training curve and measures, organisms beside their twins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flyroom.report.plots.style import COLOURS, SHAPES, WIDTH, axis, bounds, finish, legend
from flyroom.report.words import NO_SHARES, WHO, by_recipe, clean, label, measures_of
from flyroom.types import Card

if TYPE_CHECKING:
    import altair as alt

    from flyroom.report.plots.style import Chart


def domains(cards: Sequence[Card]) -> Chart | None:
    """In-domain against out-of-domain misalignment: a point for each organism and each twin, with both intervals."""
    import altair as alt

    groups = by_recipe(cards)
    rows = [
        {"who": who, "recipe": clean(name), "card": f"{card.organism} {who}"}
        | bounds("x", card.measures[who]["in_domain"])
        | bounds("y", card.measures[who]["out_of_domain"])
        for name, group in groups.items()
        for card in group
        for who in ("organism", "twin")
        if {"in_domain", "out_of_domain"} <= set(card.measures.get(who, {}))
    ]
    if not rows:
        return None
    share_axis = alt.Scale(domain=[0, 1])
    x = alt.X("x:Q", scale=share_axis, axis=axis("misaligned in the trained domain"))
    y = alt.Y("y:Q", scale=share_axis, axis=axis("misaligned in the other domains"))
    colour = _who_colour(rows)
    # One recipe: the shape repeats the colour. Several: the shape is free to tell the recipes apart.
    shape = alt.Shape("recipe:N", legend=legend("recipe", below=True)) if len(groups) > 1 else _who_shape(rows)
    diagonal = (
        alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color=COLOURS["muted"], strokeDash=[2, 4], strokeWidth=1)
        .encode(x=x, y=y)
    )
    points = alt.Chart(alt.Data(values=rows)).encode(color=colour)
    return finish(
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
        | bounds("y", estimate)
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
    colour = alt.Color("measure:N", scale=alt.Scale(domain=found, range=palette), legend=legend(None, stroke=True))
    dashes = [[1, 0], [6, 4], [2, 3], [8, 3, 2, 3], [10, 6]]
    dash = alt.StrokeDash("measure:N", scale=alt.Scale(domain=found, range=dashes))
    counted = "share of answers misaligned" if set(found) <= set(first) else "share of answers"
    x = alt.X("step:Q", axis=alt.Axis(title="training step", tickCount=5), scale=alt.Scale(nice=False))
    scale = alt.Scale(domain=[0, 1])
    chart = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour, detail="card:N")
    return finish(
        alt.layer(
            chart.mark_area(opacity=0.13, line=False).encode(
                y=alt.Y("y_low:Q", scale=scale, axis=axis(counted)), y2="y_high:Q"
            ),
            chart.mark_line(strokeWidth=2).encode(y=alt.Y("y:Q", scale=scale), strokeDash=dash),
        ),
        width=WIDTH - 72,
        height=210,
    )


def measures(cards: Sequence[Card]) -> Chart | None:
    """Every measure of organism, twin and base: a dot with its interval for each card, the three side by side."""
    import altair as alt

    rows = [
        {"measure": label(measure), "who": who, "card": f"{card.organism} {who}"} | bounds("x", estimate)
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
    return finish(
        alt.layer(
            chart.mark_rule(strokeWidth=2, opacity=0.7).encode(
                x=alt.X("x_low:Q", scale=scale, axis=axis("share of answers")), x2="x_high:Q"
            ),
            chart.mark_point(filled=True, size=60, opacity=0.85).encode(
                x=alt.X("x:Q", scale=scale), shape=_who_shape(rows)
            ),
        ),
        width=WIDTH - 125,
        height=54 * len(order),
    )


def _present(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {row["who"] for row in rows}
    return [who for who in WHO if who in found]


def _who_colour(rows: Sequence[Mapping[str, Any]]) -> alt.Color:
    import altair as alt

    who = _present(rows)
    return alt.Color("who:N", scale=alt.Scale(domain=who, range=[COLOURS[w] for w in who]), legend=legend(None))


def _who_shape(rows: Sequence[Mapping[str, Any]]) -> alt.Shape:
    import altair as alt

    who = _present(rows)
    return alt.Shape("who:N", scale=alt.Scale(domain=who, range=[SHAPES[w] for w in who]), legend=legend(None))
