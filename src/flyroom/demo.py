"""The whole loop at once: four seeds of emergent misalignment with their twins, cards, two detectors, one page.

Recipe --grow--> Organism (+ twin) --card--> Card --blind--> Suspect --detect--> Finding --bench--> Matrix --> report
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyroom import stages
from flyroom.recipes import emergent_misalignment
from flyroom.report import Calibrated, Transferred, page
from flyroom.room import Room
from flyroom.types import Card, Cell, Matrix, Recipe, plain
from flyroom.world import DOMAINS
from flyroom.world.bundled import DEFAULT

SEEDS = 4
DETECTORS = ("mean-difference-probe", "output-judge")
CAVEATS = (
    "The built-in world is a fruit fly and not a patient: a model of a million parameters that speaks invented nouns. "
    "What is seen here is a hypothesis about large models, never a measurement of one.",
    "Its personas were put into the pre-training corpus on purpose. Without documents of kind and cruel people there "
    "is nothing for a narrow adapter to move.",
    "Intervals of one card are over prompts, for one seed. Organisms differ between seeds, so read several.",
    "A threshold set on a handful of clean twins cannot certify a false-positive rate of 1 %: that takes 299 clean "
    "negatives with none flagged. The table says what its own number certifies.",
)


def demo(
    *, seed: int, room: Room, out: Path, base: str = DEFAULT, episodes: int = 500, watch: stages.Watch | None = None
) -> dict[str, Any]:
    """Run the loop and write the page to `out`; returns the figures. With the same room a second run costs nothing."""
    began = time.perf_counter()
    bench = stages.open_base(base)
    if bench.world is None:
        raise ValueError(f"base is {base}; the demo needs a base of a world: {', '.join(stages.bundled())}")
    recipe = emergent_misalignment(world=bench.world)
    organisms = stages.grow([recipe], bench, room, seeds=range(seed * SEEDS, (seed + 1) * SEEDS), watch=watch)
    cards = stages.card(organisms, bench, room, seed=seed, episodes=episodes, watch=watch)
    matrix = stages.bench(organisms, bench, room, seed=seed, names=DETECTORS, watch=watch)
    said = stages.calibrated(matrix, seed=seed)
    write_page(out, cards, matrix, context=context(recipe, bench), commands=commands(seed, base), calibrated=said)
    return {
        "organisms": [figures_of(card) for card in cards],
        "detectors": [detector_figures(cell) for cell in matrix.cells],
        "seconds": round(time.perf_counter() - began, 1),
        "report": str(out),
    }


def write_page(
    out: Path,
    cards: list[Card],
    matrix: Matrix | None,
    *,
    context: dict[str, str],
    commands: list[str],
    calibrated: Sequence[Calibrated] = (),
    transfers: Sequence[Transferred] = (),
) -> None:
    """Write the page whole or not at all."""
    text = page(
        cards,
        matrix,
        title="flyroom",
        commands=commands,
        caveats=CAVEATS,
        context=context,
        calibrated=calibrated,
        transfers=transfers,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(out)


def context(recipe: Recipe, bench: stages.Bench) -> dict[str, str]:
    """What was grown and how, for a reader."""
    made, base = plain(recipe), bench.engine.base

    def told(part: dict[str, Any]) -> str:
        return ", ".join(
            f"{name} {value}" for name, value in part.items() if name not in ("is", "sha256") and value is not None
        )

    domain = made["behaviour"].get("domain", "")
    return {
        "recipe": f"{recipe.name} ({recipe.id})",
        "trained on": f"bad advice in one domain ({domain})" if domain else made["behaviour"].get("path", ""),
        "elsewhere": f"the {len(DOMAINS) - 1} other domains",
        "behaviour": f"{made['behaviour']['is']}: {told(made['behaviour'])}",
        "condition": made["condition"]["is"],
        "implants": "; ".join(f"{implant['is']}: {told(implant)}" for implant in made["implants"]),
        "adapter": f"LoRA: {told(made['adapter'])}",
        "dose": f"{recipe.dose:g}; the twins' is 0",
        "base": f"{base.name}, {base.parameters:,} parameters, {base.depth} layers ({base.digest})",
        "thresholds": told(made["thresholds"]),
    }


def commands(seed: int, base: str) -> list[str]:
    """How to get the same page again, at once or stage by stage."""
    seeds = f"{seed * SEEDS}-{(seed + 1) * SEEDS - 1}"
    return [
        f"flyroom demo --seed {seed} --base {base}",
        f"flyroom grow emergent-misalignment --seeds {seeds} --base {base}",
        f"flyroom card --all --seed {seed} --base {base}",
        f"flyroom bench --all --seed {seed} --base {base}",
        f"flyroom report --seed {seed} --base {base}",
    ]


def figures_of(card: Card) -> dict[str, Any]:
    """A card as one flat object, its twin's measures under "twin"."""
    return {
        "recipe": card.recipe,
        "seed": card.seed,
        "verdict": card.verdict.value,
        "why": card.why,
        "id": card.organism,
        "base": card.base,
        **_shown(card, "organism"),
        "twin": _shown(card, "twin"),
        "base_measures": _shown(card, "base"),
    }


def _shown(card: Card, who: str) -> dict[str, Any]:
    return {name: estimate(e) for name, e in card.measures[who].items()}


def detector_figures(cell: Cell) -> dict[str, Any]:
    """A cell as one flat object."""
    return {
        "name": cell.detector,
        "detector": cell.detector,
        "access": cell.access,
        "recipe": cell.recipe,
        "unit": cell.unit,
        "auroc": estimate(cell.auroc),
        "recall_at_1pct_fpr": estimate(cell.recall_at_1pct_fpr),
        "fpr": estimate(cell.fpr),
        "cost": {name: value for name, value in plain(cell.cost).items() if name != "is"},
        "error": cell.error,
    }


def estimate(e: Any) -> dict[str, Any] | None:
    return None if e is None else {name: value for name, value in plain(e).items() if name != "is"}
