"""What carries the behaviour of organisms of a recipe, seed by seed: writes docs/notes/mechanism.md and its record.

python scripts/mechanism.py [--base 0.25M] [--recipe emergent-misalignment] [--seeds 5] [--room ROOM]
    [--out docs/notes/mechanism.md]

It explains as `flyroom explain` does, with all settings at their defaults, so a room where that was done costs nothing
again, and a killed run goes on. The JSON beside the page keeps its figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import options, table

from flyroom import stages
from flyroom.room import Room
from flyroom.stages.explaining import explain
from flyroom.terminal import progress

NARROW = ("general", "narrow")
Explanation = Mapping[str, Any]


def pick(explanation: Explanation) -> dict[str, Any]:
    """The figures of the page."""
    ablation, chance = explanation["ablation"], explanation["random_ablation"]
    solutions, lens = explanation["narrow_general"], explanation["diff"]["lens"]
    figures = {
        "misaligned": ablation["before"]["behaviour"],
        "coherent": ablation["before"]["coherent"],
        "misaligned without": ablation["everywhere"]["behaviour"],
        "coherent without": ablation["everywhere"]["coherent"],
    }
    for place in ("everywhere", "elsewhere"):
        figures |= {
            f"removed {place}": ablation[place]["removed"],
            f"removed {place} by random": chance[place]["removed"],
            f"removed {place} by matched": chance["matched"][place]["removed"],
        }
    figures |= {f"removed on layer {each['layer']}": each["removed"] for each in ablation["layers"]}
    steered = [each["behaviour"] for each in explanation["steering"]["layers"]]
    figures["the twin, steered"] = max(steered, key=lambda figure: figure["value"])
    for name in NARROW:
        measures = solutions["states"][name]["measures"]
        figures |= {
            f"{name} in its domain": measures["in_domain"],
            f"{name} outside": measures["out_of_domain"],
            f"{name} at half the norm": solutions["efficiency"][name][1]["loss"],
            f"{name} pushed": solutions["stability"][name][-1]["loss"],
            f"{name} on clean text": solutions["significance"][name],
        }
    figures |= {f"length, {name}": lens[name]["length"] for name in ("organism", "twin")}
    figures = {name: {key: figure[key] for key in ("value", "low", "high")} for name, figure in figures.items()}
    coders = explanation["diff"]["crosscoder"]
    exclusive = {name: coders[name]["exclusive"]["model"] for name in ("organism", "twin")}
    rotation = explanation["rotation"]
    steps = {"sharpest": (rotation["sharpest"] or {"step": None})["step"], "half": half_of(rotation["grid"])}
    return {"seed": explanation["seed"], "figures": figures, "exclusive": exclusive, "steps": steps}


def half_of(grid: Sequence[Mapping[str, Any]]) -> int:
    """The first step at which half of the behaviour is there, between its least and its most."""
    values = {point["step"]: point["behaviour"]["value"] for point in grid}
    middle = (min(values.values()) + max(values.values())) / 2
    return next(step for step, value in values.items() if value >= middle)


def cosines_of(explanation: Explanation) -> list[dict[str, Any]]:
    """Between the directions of each two seeds, by layer."""
    return [
        {"seeds": pair["seeds"], "layer": each["layer"], "chance": each["chance"]}
        | {key: each["cosine"][key] for key in ("value", "low", "high")}
        for pair in explanation["convergence"]["pairs"]
        for each in pair["layers"]
    ]


# ---------------------------------------------------------------- the page

ROWS = {
    "misaligned before": ["misaligned"],
    "misaligned without its directions in all layers": ["misaligned without"],
    "coherent before; without its directions": ["coherent", "coherent without"],
    "share of the behaviour removed, in all layers": ["removed everywhere"],
    "by random directions": ["removed everywhere by random"],
    "by matched random directions": ["removed everywhere by matched"],
    "removed on those layers alone on which the adapter does not write": ["removed elsewhere"],
    "by random directions there": ["removed elsewhere by random"],
    "by matched random directions there": ["removed elsewhere by matched"],
    "misaligned: the twin with a layer's direction added, the most of all layers": ["the twin, steered"],
    "misaligned in its domain: general; narrow": [f"{name} in its domain" for name in NARROW],
    "misaligned outside: general; narrow": [f"{name} outside" for name in NARROW],
    "loss at half the general norm: general; narrow": [f"{name} at half the norm" for name in NARROW],
    "loss after a push of 0.7: general; narrow": [f"{name} pushed" for name in NARROW],
    "KL from the base on clean text: general; narrow": [f"{name} on clean text" for name in NARROW],
    "length of the mean difference on clean text: organism; twin": ["length, organism", "length, twin"],
}


PAIR = ["seeds", "layer", "cosine", "chance"]


def show(figure: Mapping[str, Any]) -> str:
    value, low, high = (f"{figure[key]:.2f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def page_of(record: Mapping[str, Any], flags: Any) -> str:
    organisms: Sequence[Mapping[str, Any]] = record["organisms"]

    def row(label: str, get: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [label, *map(get, organisms)]

    rows = [
        row(label, lambda each, names=names: "; ".join(show(each["figures"][name]) for name in names))
        for label, names in ROWS.items()
    ]
    rows += [
        row(
            "latents that the model alone has: organism; twin",
            lambda each: "; ".join(map(str, each["exclusive"].values())),
        ),
        row("the sharpest turn is at step", lambda each: str(each["steps"]["sharpest"] or "none")),
        row("half of the behaviour is there at step", lambda each: str(each["steps"]["half"])),
    ]
    cosines = [
        [" and ".join(map(str, each["seeds"])), each["layer"], show(each), f"{each['chance']:.2f}"]
        for each in record["cosines"]
    ]
    head = f"""# What carries the behaviour, seed by seed

Made by `python scripts/mechanism.py --base {flags.base} --recipe {flags.recipe} --seeds {flags.seeds}`. It explains as
[`flyroom explain`](../mechanism.md) does, with all settings at their defaults.

Brackets are 95 % intervals over what was asked, and those of random directions over draws and questions.

"""
    pairs = """
## Directions of two seeds

Chance is the size of a cosine below which 95 % stay where the labels of the same answers are shuffled.

"""
    figures = table(["what", *(f"seed {each['seed']}" for each in organisms)], rows)
    return head + "\n".join(figures).rstrip() + "\n" + pairs + "\n".join(table(PAIR, cosines)).rstrip() + "\n"


def main() -> None:
    flags = options(
        __doc__ or "",
        base="0.25M",
        recipe="emergent-misalignment",
        seeds=5,
        room=Path("mechanism-room"),
        out=Path("docs/notes/mechanism.md"),
    )
    base, room = stages.open_base(flags.base), Room(flags.room)
    with progress() as watch:
        organisms = stages.grow(stages.named(flags.recipe, {}, base), base, room, seeds=range(flags.seeds), watch=watch)
        ids = [organism.id for organism in organisms if organism.recipe.dose]
        explanations = explain(room, base, ids, watch=watch)
    record = {
        "about": {"base": flags.base, "recipe": flags.recipe, "seeds": flags.seeds},
        "organisms": [pick(explanation) for explanation in explanations],
        "cosines": cosines_of(explanations[0]),
    }
    flags.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    flags.out.write_text(page_of(record, flags), encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
