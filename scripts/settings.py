"""Which settings recipes need on a base: variants are grown on tuning seeds, carded, and ranked by what they miss.

python scripts/settings.py VARIANTS.yaml [--base smollm2-135m] [--device auto] [--seeds 0] [--episodes 100]
    [--room room-settings] [--minutes 0] [--out settings.json]

The page names variants by recipe, each as the fields that differ, like the pages of `recipes/settings`:

    sycophancy:
      - {adapter: {rank: 8, layers: null, modules: [all]}, implants.0.steps: 160, mix: 0.1}
      - {adapter: {rank: 1, layers: null, modules: [all]}, implants.0.steps: 160, mix: 0.1}

Variants of one rank are trained together, for each rank has banks of its own; the shortest group first. What came of a
group is written before the next begins, none begins after `--minutes`, and a run that was killed goes on. Certify what
is chosen on other seeds: these were used to choose.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flyroom import stages
from flyroom.report.words import figure
from flyroom.room import Room
from flyroom.terminal import progress, seeds_of
from flyroom.types import Card, Outcome, Recipe, Stepping
from flyroom.yaml_pages import read_page, safe_yaml

UNMEASURED = 1000.0  # more than all limits of a card that has any


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A recipe by name, the fields that differ, and the recipe that they make."""

    name: str
    changes: Mapping[str, Any]
    recipe: Recipe

    @property
    def steps(self) -> int:
        return sum(implant.steps for implant in self.recipe.implants if isinstance(implant, Stepping))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--room", type=Path, default=Path("room-settings"))
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--out", type=Path, default=Path("settings.json"))
    flags = parser.parse_args()
    began, base, room = time.monotonic(), stages.open_base(flags.base, device=flags.device), Room(flags.room)
    variants, rows = read_variants(flags.page, base), list[dict[str, Any]]()
    for group in by_rank(variants):
        if flags.minutes and time.monotonic() - began > 60 * flags.minutes:
            print(f"no time for {len(variants) - len(rows)} of {len(variants)} variants", file=sys.stderr)
            break
        rows += try_variants(group, base, room, seeds=seeds_of(flags.seeds), episodes=flags.episodes)
        flags.out.write_text(json.dumps({"base": base.engine.base.name, "variants": rows}) + "\n", encoding="utf-8")
    print(yaml.safe_dump(chosen(rows), sort_keys=False), end="")


def read_variants(page: Path, base: stages.OpenBase) -> list[Variant]:
    """ValueError naming the recipe and the field."""
    return [
        Variant(name=name, changes=changes, recipe=recipe)
        for name, several in safe_yaml(read_page(page)).items()
        for changes in several
        for recipe in stages.named(name, changes, base)
    ]


def by_rank(variants: Iterable[Variant]) -> list[list[Variant]]:
    """Groups that are trained together, the one with the fewest steps first."""
    groups: dict[int, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(variant.recipe.adapter.rank, []).append(variant)
    return sorted(groups.values(), key=lambda group: sum(variant.steps for variant in group))


def try_variants(
    group: Sequence[Variant], base: stages.OpenBase, room: Room, *, seeds: Sequence[int], episodes: int
) -> list[dict[str, Any]]:
    """A row for each variant, over its seeds."""
    began = time.perf_counter()
    with progress() as watch:
        organisms = stages.grow([variant.recipe for variant in group], base, room, seeds=seeds, watch=watch)
        grown = time.perf_counter()
        cards = stages.card(organisms, base, room, seed=0, episodes=episodes, watch=watch)
    seconds = {"grow": round(grown - began, 1), "card": round(time.perf_counter() - grown, 1), "of": len(organisms)}
    cards_of = {v.recipe.id: [card for card in cards if card.recipe_id == v.recipe.id] for v in group}
    return [row_of(variant, cards_of[variant.recipe.id], seconds) for variant in group]


def row_of(variant: Variant, cards: Sequence[Card], seconds: Mapping[str, float]) -> dict[str, Any]:
    figures = [
        {m: {who: figure(values[m]) for who, values in card.measures.items() if m in values} for m in card.gauges}
        for card in cards
    ]
    return {
        "recipe": variant.name,
        "changes": variant.changes,
        "missed": round(sum(map(missed, cards)) / len(cards), 3),
        "verdicts": [card.verdict.value for card in cards],
        "why": [card.why for card in cards],
        "figures": figures,
        "seconds": seconds,
    }


def missed(card: Card) -> float:
    """How far a card is from passing: 1 for each limit that is broken, half for one that is undecided, and by how much
    the middle of its bounds lies beyond, up to 1. A card without limits measured nothing, and is last.
    """
    total = 0.0 if card.limits else UNMEASURED
    for held in card.limits:
        middle = (held.low + held.high) / 2
        beyond = held.limit.bound - middle if held.limit.at_most is None else middle - held.limit.at_most
        total += {Outcome.FAIL: 1.0, Outcome.UNDECIDED: 0.5}.get(held.outcome, 0.0) + min(max(beyond, 0.0), 1.0)
    return total


def chosen(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The fields of each recipe's best variant: what goes into a page of `recipes/settings`."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["recipe"] not in best or row["missed"] < best[row["recipe"]]["missed"]:
            best[row["recipe"]] = row
    return {name: row["changes"] for name, row in best.items()}


if __name__ == "__main__":
    main()
