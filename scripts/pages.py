"""What the scripts that write pages share: options, and Markdown tables of figures with their intervals."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from flyroom import stats
from flyroom.report.words import NOT_MEASURED, figure, share
from flyroom.types import Card, Estimate, NotMeasured

MARKS = {"1": True, "0": False}  # of answers that count: see `Card.outcomes`


def options(about: str, **defaults: int | str | Path) -> argparse.Namespace:
    """A script's options, each with its default; `about` is what it says of itself."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def estimate(value: Estimate | NotMeasured | None) -> str:
    return figure(value)


def attempt(function: Callable[[], Estimate | None]) -> str:
    """A figure, or a dash where there are too few of something for it."""
    try:
        return estimate(value) if (value := function()) else "-"
    except ValueError:
        return "-"


def over(cards: Sequence[Card], model: str, measure: str) -> str:
    """The mean over the seeds in which it was measured; of two, which say little of their spread, both, where their
    prompts differ. "-" where the cards have no such measure, "not measured" where it was not taken.
    """
    asked = [card for card in cards if measure in card.measures[model]]
    cards = [card for card in asked if isinstance(card.measures[model][measure], Estimate)]
    if not cards:
        return NOT_MEASURED if asked else "-"
    estimates = [value for card in cards if isinstance(value := card.measures[model][measure], Estimate)]
    if any(card.gauges[measure].unit == "figure" for card in cards if measure in card.gauges):
        return f"{sum(e.value for e in estimates) / len(estimates):.2f}"
    if (crossed := over_prompts(cards, model, measure)) is not None:
        return figure(crossed)
    if len(estimates) == 2:
        return ", ".join(share(e.value) for e in estimates)
    return figure(stats.over_seeds(estimates) if len(estimates) > 1 else estimates[0])


def over_prompts(cards: Sequence[Card], model: str, measure: str) -> Estimate | None:
    """The mean over seeds that were asked the same prompts, which is of new seeds and new prompts. None where their
    prompts differ, where there is one seed, or where one has no answer. A seed that was looked at more often has more.
    """
    outcomes = [card.outcomes.get(model, {}).get(measure, "") for card in cards]
    prompts = [card.prompts.get(measure, ()) for card in cards]
    longest = max(prompts, key=len)
    differ = len(set(longest)) < 2 or any(part != longest[: len(part)] for part in prompts)
    if len(cards) < 2 or differ or not all({"0", "1"} & set(marks) for marks in outcomes):
        return None
    rows = [[MARKS.get(mark) for mark in marks.ljust(len(longest), ".")] for marks in outcomes]
    return stats.crossed_rate(rows, longest)


def row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [row(head), row(["---"] * len(head)), *map(row, rows), ""]
