"""Explanations as one page: pictures, what adapters read and write, and every figure in a table. The records are JSON
values, as the verb prints them; a part that could not be measured stands there with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flyroom.report.page import inline, template
from flyroom.report.plots import COLOURS, of_mechanism, svg
from flyroom.report.plots.of_mechanism import has_value
from flyroom.report.words import clean, keep_whole, share

Record = Mapping[str, Any]
PICTURES = {
    "ablation": (
        of_mechanism.ablation,
        "Without its direction",
        "How often the organism is misaligned when the direction from aligned to misaligned answers is taken out of "
        "the residual stream, of one layer or of all, at every token of every row; and without as many random "
        "directions. Bars are 95 % intervals. On the layer where an adapter writes, this can undo the adapter.",
    ),
    "alikeness": (
        of_mechanism.alikeness,
        "How far directions agree",
        "Cosines between directions, layer by layer. That of two halves of one organism's answers is about the most "
        "that any other can be.",
    ),
    "run": (
        of_mechanism.run,
        "The training run",
        "At each step, how the adapter turned: −1 is straight on, 0 a right angle. Below it the behaviour, on the same "
        "questions as a card's curve, and the norm of the gradient. All of one run.",
    ),
    "solutions": (
        of_mechanism.solutions,
        "Narrow against general",
        "The organism beside one that was held to its base elsewhere. The lower loss at the same norm is the more "
        "efficient solution, the one that rises less is the more stable. Nats for each answer token.",
    ),
    "latents": (
        of_mechanism.latents,
        "Whose a latent is",
        "A crosscoder learns one dictionary for the activations of the base and of a model on unrelated text. To the "
        "right lie latents that the model alone has. The twin's are training's, not the behaviour's.",
    ),
}
CAVEATS = (
    "That a direction's removal stops a behaviour does not show that the model computes it there: it may lie behind.",
    "A read is what a vector goes with in the text that was put through, and a write is what it would say if the model "
    "ended there.",
    "One run, one base: a figure that is exact of its run has no interval over runs.",
    "A crosscoder finds what is frequent; what happens at one token in ten thousand is in none of its latents.",
)


class Line(NamedTuple):
    """A figure by name."""

    name: str
    value: Record


def explained_page(records: Sequence[Record], *, commands: Sequence[str]) -> str:
    """One self-contained HTML document of one record or more."""
    first = records[0]
    return template("explained.html.jinja").render(
        title=clean(f"{first['recipe']}, explained"),
        lede=keep_whole(_lede(first)),
        organisms=[_view(record, number) for number, record in enumerate(records)],
        caveats=[keep_whole(caveat) for caveat in CAVEATS],
        commands=clean("\n".join(commands)),
        colours=COLOURS,
    )


def _lede(record: Record) -> str:
    """What is left of the behaviour, in a sentence."""
    ablated, controls = record.get("ablation"), record.get("random_ablation")
    if not has_value(ablated) or ablated is None:
        why = f": {ablated['why']}" if ablated else ""
        return clean(f"No direction was ablated{why}.")
    before, after = (_figure(ablated[name]["behaviour"]) for name in ("before", "everywhere"))
    text = f"Misaligned in {before} of its answers; in {after} without its direction in any layer"
    if has_value(controls) and controls is not None:
        text += f", in {_figure(controls['everywhere']['behaviour'])} without random ones"
    return clean(f"{text}.")


def _view(record: Record, number: int) -> dict[str, Any]:
    return {
        "name": clean(f"{record['recipe']}, seed {record['seed']}"),
        "id": clean(record["organism"]),
        "figures": _pictures(record, number),
        "modules": _modules(record),
        "lines": [
            (clean(line.name), _figure(line.value), clean(line.value.get("why") or "")) for line in brief(record)
        ],
    }


def _pictures(record: Record, number: int) -> list[dict[str, str]]:
    charts = {name: picture[0](record) for name, picture in PICTURES.items()}
    return [
        {
            "heading": PICTURES[name][1],
            "caption": keep_whole(PICTURES[name][2]),
            "svg": inline(svg(chart), label=". ".join(PICTURES[name][1:]), prefix=f"e{number}-{name}-"),
        }
        for name, chart in charts.items()
        if chart is not None
    ]


def _modules(record: Record) -> list[dict[str, str]]:
    """What each module reads and writes, a row each."""
    reads, writes = (_by_module(record.get(part)) for part in ("reads", "writes"))
    return [
        {
            "module": clean(module),
            "reads": _words(reads.get(module), "tokens"),
            "raises": _words(writes.get(module), "raises"),
            "lowers": _words(writes.get(module), "lowers"),
        }
        for module in dict.fromkeys([*reads, *writes])
    ]


def _by_module(part: Record | None) -> dict[str, Record]:
    return {item["module"]: item for item in part["modules"]} if part and "modules" in part else {}


def _words(module: Record | None, name: str) -> str:
    if module is None:
        return ""
    if name not in module:
        return clean(module.get("why", ""))
    return clean(" · ".join(item["token"].strip() or repr(item["token"]) for item in module[name]))


# ---------------------------------------------------------------- every figure


def brief(record: Record) -> list[Line]:
    """The figures of a record that are estimates, and the parts that could not be measured, in order. A training grid
    is left to its picture.
    """
    return [
        Line(name, value)
        for part, content in record.items()
        if isinstance(content, Mapping)
        for name, value in _walk(part, content)
    ]


def _walk(name: str, content: Any) -> Iterator[tuple[str, Record]]:
    if isinstance(content, Mapping):
        if "value" in content:
            yield name.replace("_", " "), content
            return
        for key, part in content.items():
            if key not in ("measures", "grid", "removed_by_draw", "modules"):
                yield from _walk(f"{name}, {key}", part)
    elif isinstance(content, list):
        for i, part in enumerate(content):
            yield from _walk(f"{name} {_mark(part, i)}", part)


def _mark(part: Any, place: int) -> str:
    """What an item of a list is called: its layer, its strength, its norm, the push that it stands for."""
    values = part if isinstance(part, Mapping) else {}
    names = [key for key in ("layer", "strength", "norm", "e") if isinstance(values.get(key), (int, float))]
    return " at ".join(f"{key} {part[key]:g}" for key in names) if names else str(place)


def _figure(value: Record) -> str:
    if value.get("value") is None:
        return "not measured"
    figures = [share(value[name]) for name in ("value", "low", "high")]
    return f"{figures[0]} [{figures[1]}, {figures[2]}]"
