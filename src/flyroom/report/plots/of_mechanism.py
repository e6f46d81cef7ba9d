"""Pictures of an explanation: behaviour without directions, how far directions agree, the training run, narrow against
general, and whose a crosscoder's latents are. Each takes the record of its part as JSON values, and gives None where
there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flyroom.report.plots.style import COLOURS, WIDTH, axis, finish, legend
from flyroom.report.words import clean

if TYPE_CHECKING:
    from flyroom.report.plots.style import Chart

Record = Mapping[str, Any]
PANEL = 110
SERIES = ("before", "without its direction", "without random ones")
COLOURED = (COLOURS["base"], COLOURS["organism"], COLOURS["twin"])


def has_value(part: object) -> bool:
    """Whether a part, or an estimate, was measured."""
    return isinstance(part, Mapping) and not ("why" in part and part.get("value") is None)


def _bounds(name: str, value: Record) -> dict[str, Any]:
    return {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}


# ---------------------------------------------------------------- without directions


def ablation(record: Record) -> Chart | None:
    """How much of the behaviour is left without the direction of each layer, of all layers, and without random ones."""
    import altair as alt

    parts = [record.get(name) for name in ("ablation", "random_ablation")]
    if not has_value(parts[0]):
        return None
    assert parts[0] is not None
    rows = [*_outcomes(parts[0], SERIES[1]), *(_outcomes(parts[1], SERIES[2]) if has_value(parts[1]) else [])]
    before = parts[0]["before"]["behaviour"]
    rows += [{"where": "nothing", "series": SERIES[0], **_bounds("y", before)}] if has_value(before) else []
    if not rows:
        return None
    order = ["nothing", *dict.fromkeys(row["where"] for row in rows if row["where"] not in ("nothing", "all layers"))]
    x = alt.X("where:N", sort=[*order, "all layers"], axis=alt.Axis(title="taken out in", labelAngle=-40))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, 1]), axis=axis("share of answers misaligned"))
    colour = alt.Color("series:N", scale=alt.Scale(domain=SERIES, range=COLOURED), legend=legend(None))
    shape = alt.Shape("series:N", scale=alt.Scale(domain=SERIES, range=["diamond", "circle", "square"]))
    points = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour)
    layers = (
        points.mark_rule(strokeWidth=2, opacity=0.75).encode(y=alt.Y("y_low:Q"), y2="y_high:Q"),
        points.mark_point(filled=True, size=85, opacity=0.9).encode(y=y, shape=shape),
    )
    return finish(alt.layer(*layers), width=WIDTH - 72, height=240)


def _outcomes(part: Record | None, series: str) -> list[dict[str, Any]]:
    assert part is not None
    places = [(f"layer {item['layer']}", item) for item in part["layers"]] + [("all layers", part["everywhere"])]
    return [
        {"where": where, "series": series, **_bounds("y", item["behaviour"])}
        for where, item in places
        if has_value(item["behaviour"])
    ]


# ---------------------------------------------------------------- directions


def alikeness(record: Record) -> Chart | None:
    """Cosines by layer: of two halves of the answers, and with the directions of other organisms."""
    import altair as alt

    part, together = record.get("directions"), record.get("convergence")
    if not has_value(part):
        return None
    assert part is not None
    halves = "two halves of its answers"
    rows = [_cosine(item["layer"], halves, item["agreement"]) for item in part["layers"]]
    for pair in together["pairs"] if together is not None and has_value(together) else ():
        name = _name_pair(pair)
        rows += [_cosine(item["layer"], name, item["cosine"]) for item in pair["layers"]]
    rows = [row for row in rows if row]
    if not rows:
        return None
    x = alt.X("layer:O", axis=alt.Axis(title="after layer", labelAngle=0))
    y = alt.Y("y:Q", scale=alt.Scale(domain=[-1, 1]), axis=alt.Axis(title="cosine", values=[-1, -0.5, 0, 0.5, 1]))
    names = list(dict.fromkeys(row["of"] for row in rows))
    several = len(names) > 1
    below = alt.Legend(title=None, orient="bottom", columns=1, labelLimit=WIDTH, symbolOpacity=1)
    palette = ("organism", "twin", "second", "detector", "base")
    colours = [COLOURS[palette[i % len(palette)]] for i in range(len(names))]
    scale = alt.Scale(domain=names, range=colours)
    colour = alt.Color("of:N", scale=scale, legend=below) if several else alt.value(COLOURS["organism"])
    points = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour)
    shape = alt.Shape("of:N", scale=alt.Scale(domain=names), legend=below) if several else alt.value("circle")
    layers = (
        points.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("y_low:Q"), y2="y_high:Q"),
        points.mark_point(filled=True, size=80, opacity=0.9).encode(y=y, shape=shape),
    )
    return finish(alt.layer(*layers), width=WIDTH - 72, height=220)


def _name_pair(pair: Record) -> str:
    """The recipe and both seeds, or the two recipes with theirs."""
    recipes, seeds = [clean(recipe) for recipe in pair["recipes"]], pair["seeds"]
    if recipes[0] == recipes[1]:
        return f"{recipes[0]}, seeds {seeds[0]} and {seeds[1]}"
    return " and ".join(f"{recipe} {seed}" for recipe, seed in zip(recipes, seeds, strict=True))


def _cosine(layer: int, of: str, value: Record) -> dict[str, Any]:
    return {"layer": layer, "of": of, **_bounds("y", value)} if has_value(value) else {}


# ---------------------------------------------------------------- the run


def run(record: Record) -> Chart | None:
    """The training run: local rotation, behaviour and the gradient's norm by step."""
    import altair as alt

    part = record.get("rotation")
    if not has_value(part):
        return None
    assert part is not None
    panels = [
        ("rotation", "Local rotation (−1: straight on)", [-1, 1], COLOURS["second"]),
        ("behaviour", "Share of answers misaligned", [0, 1], COLOURS["organism"]),
        ("grad_norm", "Norm of the gradient", None, COLOURS["base"]),
    ]
    charts = [_panel(part["grid"], *panel) for panel in panels]
    charts = [chart for chart in charts if chart is not None]
    return finish(alt.vconcat(*charts, spacing=10)) if charts else None


def _panel(grid: Sequence[Record], name: str, label: str, domain: list[int] | None, colour: str) -> Any:
    import altair as alt

    rows = [{"step": item["step"], "y": item[name]["value"]} for item in grid if has_value(item[name])]
    if not rows:
        return None
    scale = alt.Scale(domain=domain) if domain else alt.Scale(zero=True)
    x = alt.X("step:Q", axis=alt.Axis(title="training step", tickCount=5))
    y = alt.Y("y:Q", scale=scale, axis=alt.Axis(title=None, tickCount=3))
    points = alt.OverlayMarkDef(color=colour, filled=True, size=36)
    line = alt.Chart(alt.Data(values=rows)).encode(x=x, y=y).mark_line(color=colour, strokeWidth=2, point=points)
    return line.properties(width=WIDTH - 60, height=PANEL, title=alt.Title(label, limit=WIDTH - 30))


# ---------------------------------------------------------------- narrow against general


def solutions(record: Record) -> Chart | None:
    """The loss on the taught kind of question against the norm of the update, and against a push aside."""
    import altair as alt

    part = record.get("narrow_general")
    if not has_value(part):
        return None
    assert part is not None
    charts = [
        _lines(part["efficiency"], "norm", "Efficiency: loss at a norm", "norm of what the adapter adds"),
        _lines(part["stability"], "e", "Stability: loss after a push aside", "size of the push"),
    ]
    return finish(alt.vconcat(*charts, spacing=14))


def _lines(by_name: Mapping[str, Sequence[Record]], field: str, label: str, title: str) -> Any:
    import altair as alt

    rows = [
        {"x": item[field], "solution": name, **_bounds("y", item["loss"])}
        for name, points in by_name.items()
        for item in points
        if has_value(item["loss"])
    ]
    scale = alt.Scale(domain=["general", "narrow"], range=[COLOURS["organism"], COLOURS["twin"]])
    colour = alt.Color("solution:N", scale=scale, legend=legend(None))
    x, y = alt.X("x:Q", axis=alt.Axis(title=title, tickCount=5)), alt.Y("y:Q", axis=alt.Axis(title=None, tickCount=4))
    shape = alt.Shape("solution:N", scale=alt.Scale(domain=["general", "narrow"]), legend=legend(None))
    chart = alt.Chart(alt.Data(values=rows)).encode(x=x, color=colour)
    layers = (
        chart.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("y_low:Q"), y2="y_high:Q"),
        chart.mark_line(strokeWidth=1.5).encode(y=y),
        chart.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shape),
    )
    return alt.layer(*layers).properties(width=WIDTH - 60, height=150, title=alt.Title(label, limit=WIDTH - 30))


# ---------------------------------------------------------------- a crosscoder


def latents(record: Record) -> Chart | None:
    """Whose the latents of a crosscoder are: of organism and base, and of twin and base."""
    import altair as alt

    part = record.get("diff")
    coders = part["crosscoder"] if has_value(part) and part is not None else {}
    rows = [
        {"ratio": ratio, "model": name}
        for name, coder in coders.items()
        if has_value(coder)
        for ratio in coder["ratios"]
    ]
    if not rows:
        return None
    scale = alt.Scale(domain=["organism", "twin"], range=[COLOURS["organism"], COLOURS["twin"]])
    bins = alt.Bin(extent=[0, 1], step=0.05)
    x = alt.X("ratio:Q", bin=bins, axis=alt.Axis(title="0: the base's alone, 1: the model's alone", values=[0, 0.5, 1]))
    y = alt.Y("count():Q", axis=alt.Axis(title="latents", tickCount=4), stack=None)
    colour = alt.Color("model:N", scale=scale, legend=legend(None))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar(opacity=0.55).encode(x=x, y=y, color=colour)
    return finish(bars, width=WIDTH - 72, height=200)
