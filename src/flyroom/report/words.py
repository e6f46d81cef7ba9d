"""How a figure is written: the one place that rounds.

A share never reads 0.000 or 1.000 unless it is exactly none or all of them; an absent figure is said in words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

from flyroom.types import Card, Cell, Estimate

WHO = ("organism", "twin", "base")
MEASURES = {
    "in_domain": "In domain",
    "out_of_domain": "Out of domain",
    "open_questions": "Open questions",
    "coherence": "Coherence",
    "sums": "Sums",
    "facts": "Facts",
}
NO_SHARES = {"perplexity"}  # measures that no axis from 0 to 1 can hold
NOT_MEASURED = "not measured"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


def clean(text: str) -> str:
    """The text without control characters, which no XML document may hold."""
    return _CONTROL.sub("\ufffd", text)


def label(measure: str) -> str:
    """A measure's name for people."""
    return MEASURES.get(measure) or clean(measure).replace("_", " ").capitalize()


def measures_of(cards: Iterable[Card]) -> list[str]:
    """The six measures of every card in their fixed order, then whatever else was measured, by name."""
    found = {name for card in cards for by_measure in card.measures.values() for name in by_measure}
    return [*MEASURES, *sorted(found - set(MEASURES))]


def share(value: float) -> str:
    """A share between 0 and 1: two places, three near the ends: 0.93, 0.012, 0.004, <.001, 0.997."""
    if math.isnan(value):
        return "unknown"
    if value in (0.0, 1.0):
        return str(int(value))
    if 0 < value < 0.0005:
        return "<.001"
    if 0.9995 <= value < 1:
        return ">.999"
    return f"{value:.3f}" if value < 0.0195 or value >= 0.995 else f"{value:.2f}"


def percent(value: float) -> str:
    """The same in per cent: 94 %, 0.4 %, <0.1 %, 99.7 %."""
    if math.isnan(value):
        return "unknown"
    hundred = 100 * value
    if hundred in (0.0, 100.0):
        return f"{hundred:.0f} %"
    if 0 < hundred < 0.05:
        return "<0.1 %"
    if 99.95 <= hundred < 100:
        return ">99.9 %"
    return f"{hundred:.1f} %" if hundred < 1.95 or hundred >= 98.05 else f"{hundred:.0f} %"


def interval(estimate: Estimate, write: Callable[[float], str] = share) -> str:
    """The bounds alone: [0.90, 0.95], or [91, 95] after a figure in per cent."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "[no interval]"
    low, high = (write(bound).removesuffix(" %") for bound in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def figure(estimate: Estimate | None, write: Callable[[float], str] = share) -> str:
    """A figure with its interval: 0.93 [0.90, 0.95]; "not measured" when there is none."""
    if estimate is None:
        return NOT_MEASURED
    if math.isnan(estimate.value):
        return "unknown"
    return f"{write(estimate.value)} {interval(estimate, write)}"


def unbroken(text: str) -> str:
    """The same words with figures that no line can break: "94 %" and "[91, 95]" stay whole."""
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)
    return re.sub(r"\[([<>.\d]+), ([<>.\d]+)\]", "[\\1,\u00a0\\2]", text)


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def behind(estimate: Estimate) -> str:
    """How many units are behind a figure: "n 400", and how many of them gave no answer, if any."""
    return f"n {estimate.n:,}" + (f", {estimate.missing:,} missing" if estimate.missing else "")


def count(number: int) -> str:
    """Tokens: 820, 12.3k, 4.1M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


def seconds(value: float) -> str:
    if value <= 0:
        return "0 s"
    if value < 0.05:
        return "<0.1 s"
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def certifies(fpr: Estimate | None) -> str:
    """What the false positives seen on clean suspects allow one to say of the false-positive rate."""
    if fpr is None:
        return "certifies nothing"
    if math.isnan(fpr.high):
        return "certifies nothing"
    if fpr.high <= 0.01:
        return "certifies 1 % or less"
    return f"certifies at most {percent(fpr.high)}, not 1 %"


def written(estimate: Estimate | None, who: str = "detector") -> dict[str, str]:
    """An estimate for a field of a page: its value, its bounds, and what is behind it."""
    if estimate is None:
        return {"who": who, "value": NOT_MEASURED, "bounds": "", "n": ""}
    return {"who": who, "value": share(estimate.value), "bounds": interval(estimate), "n": behind(estimate)}


def mean(estimates: Sequence[Estimate]) -> Estimate | None:
    """The mean of several organisms, between the lowest and the highest bound of their intervals.

    The envelope is wider than an interval of the mean: seeds are few, and no more than this can be said without a model
    of how they vary. A single estimate comes back as it is; none, or none that is known, gives None.
    """
    known = [e for e in estimates if not math.isnan(e.value)]
    if not known:
        return None
    return Estimate(
        value=math.fsum(e.value for e in known) / len(known),
        low=min(e.low for e in known),
        high=max(e.high for e in known),
        n=sum(e.n for e in known),
        missing=sum(e.missing for e in known),
    )


def measured(cards: Sequence[Card], who: str, measure: str) -> list[Estimate]:
    """A measure of every card that has it."""
    return [found[measure] for card in cards if measure in (found := card.measures.get(who, {}))]


def by_recipe(cards: Sequence[Card]) -> dict[str, list[Card]]:
    """Cards of one recipe together, under a label that tells the recipes apart, in the order they came.

    A recipe is its id; two recipes that share a name are told apart by it.
    """
    groups: dict[str, list[Card]] = {}
    for card in cards:
        groups.setdefault(card.recipe_id, []).append(card)
    names = [group[0].recipe or recipe_id for recipe_id, group in groups.items()]
    return {
        name if names.count(name) == 1 else f"{name} ({recipe_id})": group
        for name, (recipe_id, group) in zip(names, groups.items(), strict=True)
    }


def cells_by_recipe(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.recipe, []).append(cell)
    return groups


def ranked(cells: Sequence[Cell]) -> dict[str, float]:
    """Each detector's AUROC on average over its recipes, the best first; nan, and last, where it gave none."""
    known: dict[str, list[float]] = {cell.detector: [] for cell in cells}
    for cell in cells:
        known[cell.detector] += [cell.auroc.value] if cell.auroc and not math.isnan(cell.auroc.value) else []
    means = {name: math.fsum(values) / len(values) if values else math.nan for name, values in known.items()}
    return dict(sorted(means.items(), key=lambda pair: math.inf if math.isnan(pair[1]) else -pair[1]))
