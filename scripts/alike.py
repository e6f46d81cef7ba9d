"""How alike answers are, on the cards of a room: what ICC_SITUATION and ICC_SEED in stats/common.py bound.

python scripts/alike.py --room ROOM [--base 1M] [--card-seed 0] [--episodes 500]

The cards are those of one card seed, so that all seeds of a recipe were asked the same. Of each measure of organisms
and of twins, over the seeds of a recipe: the intraclass correlation of answers about one situation, and of answers of
one seed. Then the mean over measures, and its upper 90 % bound by a bootstrap of measures. Measures with fewer than 5
events are left out, as are those with fewer than 8 situations or 2 answers to each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pages import options

from flyroom import stages
from flyroom.room import Room
from flyroom.types import Card

FEWEST_EVENTS, FEWEST_SITUATIONS, FEWEST_SEEDS = 5, 8, 3
Rows = Sequence[np.ndarray]  # the answers of each seed, NaN where there is none


def marks(outcomes: str) -> np.ndarray:
    return np.array([{"1": 1.0, "0": 0.0}.get(mark, np.nan) for mark in outcomes])


def by_situation(rows: Rows, situations: Sequence[Sequence[int]]) -> float | None:
    """The intraclass correlation from the mean squares between situations and within, summed over seeds."""
    between, total = 0.0, 0.0
    for row, names in zip(rows, situations, strict=True):
        values, index = row[~np.isnan(row)], np.unique(np.array(names)[~np.isnan(row)], return_inverse=True)[1]
        sizes = np.bincount(index)
        n, count = len(values), len(sizes)
        if count < FEWEST_SITUATIONS or n < 2 * count:
            return None
        means = np.bincount(index, weights=values) / sizes
        square = float((sizes * (means - values.mean()) ** 2).sum()) / (count - 1)
        rest = float(((values - means[index]) ** 2).sum()) / (n - count)
        part = (square - rest) / ((n - float((sizes**2).sum()) / n) / (count - 1))
        between, total = between + part, total + part + rest
    return between / total if total > 0 else None


def by_seed(rows: Rows) -> float | None:
    """The same of seeds, beside what the draws do to all of them. None unless all were asked as many."""
    if len(rows) < FEWEST_SEEDS or len({len(row) for row in rows}) > 1:
        return None
    table = np.stack(rows)
    table = table[:, ~np.isnan(table).any(0)]
    seeds, draws = table.shape
    mean, own, shared = table.mean(), table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    square = draws * float(((own - mean) ** 2).sum()) / (seeds - 1)
    rest = float(((table - own - shared + mean) ** 2).sum()) / ((seeds - 1) * (draws - 1))
    return (square - rest) / draws / float(mean * (1 - mean))


def groups(cards: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str, str], list[Mapping[str, Any]]]]:
    """The cards by recipe, model and measure, where its rarer answer occurs often enough."""
    every: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for card in cards:
        for model in ("organism", "twin"):
            for measure in card["outcomes"].get(model, {}):
                every.setdefault((card["recipe"], model, measure), []).append(card)
    for name, members in every.items():
        text = "".join(card["outcomes"][name[1]][name[2]] for card in members)
        if min(text.count("1"), text.count("0")) >= FEWEST_EVENTS:
            yield name, members


def measure(cards: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Both correlations of every measure that has them."""
    values: dict[str, list[float]] = {"situation": [], "seed": []}
    for (_, model, name), members in groups(cards):
        rows = [marks(card["outcomes"][model][name]) for card in members]
        pair = by_situation(rows, [card["situations"][name] for card in members]), by_seed(rows)
        for kind, value in zip(values, pair, strict=True):
            values[kind] += [] if value is None else [value]
    return values


def bound(values: Sequence[float]) -> tuple[float, float]:
    """Their mean, and its upper 90 % bound."""
    draws = np.random.default_rng(0).choice(np.array(values), (4000, len(values))).mean(1)
    return float(np.mean(values)), float(np.quantile(draws, 0.9))


def cards_of(room: Room, base: stages.OpenBase, *, seed: int, episodes: int) -> list[Card]:
    """The room's cards of one card seed: those that it has cost nothing."""
    ids = sorted({listing.meta["organism"] for listing in room.list("card")})
    return stages.card(stages.stored(room, base, ids), base, room, seed=seed, episodes=episodes)


def record_of(card: Card) -> dict[str, Any]:
    return {"recipe": card.recipe_id, "outcomes": card.outcomes, "situations": card.situations}


def main() -> None:
    usual: dict[str, int | str | Path] = {"base": "1M", "card_seed": 0, "episodes": 500}
    flags = options(__doc__ or "", room=Path("room"), **usual)
    base, room = stages.open_base(flags.base), Room(flags.room, create=False)
    cards = cards_of(room, base, seed=flags.card_seed, episodes=flags.episodes)
    for kind, values in measure([record_of(card) for card in cards if card.outcomes]).items():
        if values:
            mean, upper = bound(values)
            print(
                f"{kind}: {mean:.4f}, at most {upper:.4f}, over {len(values)} measures, the highest {max(values):.2f}"
            )


if __name__ == "__main__":
    main()
