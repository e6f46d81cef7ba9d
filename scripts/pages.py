"""What the scripts that write pages share: options, and Markdown tables of figures with their intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from flyroom import stats
from flyroom.report.words import NO_SHARES, figure, share
from flyroom.types import Card, Estimate


def options(about: str, **defaults: int | str | Path) -> argparse.Namespace:
    """A script's options, each with its default; `about` is what it says of itself."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def estimate(value: Estimate | None) -> str:
    return figure(value)


def over(cards: Sequence[Card], who: str, measure: str) -> str:
    """The mean over seeds; of two, which say nothing of their spread, both; "-" where it was not measured."""
    found = [card.measures[who][measure] for card in cards if measure in card.measures[who]]
    if not found:
        return "-"
    if measure in NO_SHARES:
        return f"{sum(one.value for one in found) / len(found):.2f}"
    if len(found) == 2:
        return ", ".join(share(one.value) for one in found)
    return figure(stats.over_seeds(found) if len(found) > 1 else found[0])


def row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [row(head), row(["---"] * len(head)), *map(row, rows), ""]
