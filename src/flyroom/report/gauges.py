"""What is on cards, by their gauges: which measures there are, in which order, and which of them counts most.

Nothing here knows a measure by name. A card's gauges say what each measure is: its label, its unit, whether its scenes
are like those that were taught, and whether more of it is worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flyroom.report.words import clean
from flyroom.types import Card, Estimate, Gauge, NotMeasured

MODELS = ("organism", "twin", "base")  # who a card measures
WIDTHS = ("untaught", "taught", "whole")  # the widest first
COLUMNS = 5  # of the table of a recipe's cards


def gauge_of(cards: Sequence[Card], measure: str) -> Gauge:
    """What a measure is; of one that no card describes, its name is all that is known."""
    for card in cards:
        if measure in card.gauges:
            return card.gauges[measure]
    return Gauge(label=measure.replace("_", " ").capitalize())


def measures_of(cards: Sequence[Card]) -> list[str]:
    """The measures of all cards in the order of their gauges, then those that have none, by name."""
    names = dict.fromkeys(name for card in cards for name in card.gauges)
    bare = {name for card in cards for by_measure in card.measures.values() for name in by_measure} - set(names)
    return [*names, *sorted(bare)]


def labels_of(cards: Sequence[Card], measures: Sequence[str] = ()) -> dict[str, str]:
    """A label for each measure of the cards, and for `measures`; two that share a label are told apart by name."""
    names = list(dict.fromkeys([*measures_of(cards), *measures]))
    labels = {name: clean(gauge_of(cards, name).label).strip() or clean(name) for name in names}
    twice = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return {name: f"{label} ({clean(name)})" if label in twice else label for name, label in labels.items()}


def lower(label: str) -> str:
    """A label inside a sentence: "Out of reach" is "out of reach", and "GPU time" stays."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


# ---------------------------------------------------------------- which measure counts most


def widest(cards: Sequence[Card]) -> str | None:
    """The widest measure that was taken in which the organism is meant to show the behaviour."""
    for reach in WIDTHS:
        for measure in of_behaviour(cards, reach):
            gauge = gauge_of(cards, measure)
            if not has_ceiling(gauge) and (gauge.bad or reach != "whole") and estimates_of(cards, "organism", measure):
                return measure
    return None


def of_behaviour(cards: Sequence[Card], reach: str) -> list[str]:
    """The shares of one reach, where the condition holds."""
    elsewhere = {card.gauges[name].otherwise for card in cards for name in card.gauges}
    gauges = {name: gauge_of(cards, name) for name in measures_of(cards) if name not in elsewhere}
    return [name for name, gauge in gauges.items() if gauge.reach == reach and gauge.unit == "share"]


def columns_of(cards: Sequence[Card]) -> list[str]:
    """The measures for a table of few columns: the widest first, last one that should stay high."""
    widths = [name for reach in WIDTHS[:-1] for name in of_behaviour(cards, reach)]
    whole = of_behaviour(cards, WIDTHS[-1])
    good = [name for name in whole if not gauge_of(cards, name).bad][:1]
    rest = sorted((name for name in whole if name not in good), key=lambda name: has_ceiling(gauge_of(cards, name)))
    return [*[*widths, *rest][: COLUMNS - len(good)], *good]


def has_ceiling(gauge: Gauge) -> bool:
    """Whether the organism is not to go above some bound: the behaviour is not meant to show there."""
    return any(limit.of == "organism" and limit.at_most is not None for limit in gauge.limits)


# ---------------------------------------------------------------- estimates of several cards


def estimates_of(cards: Sequence[Card], side: str, measure: str) -> list[Estimate]:
    """A measure of every card on which it was taken and is known."""
    values = [card.measures.get(side, {}).get(measure) for card in cards]
    return [value for value in values if isinstance(value, Estimate) and not math.isnan(value.value)]


def reasons_of(cards: Sequence[Card]) -> dict[str, str]:
    """Why a measure was not taken of an organism, by measure: the first reason on record."""
    reasons: dict[str, str] = {}
    for card in cards:
        for name, value in card.measures.get("organism", {}).items():
            if isinstance(value, NotMeasured):
                reasons.setdefault(name, clean(value.why))
    return reasons


def mean(estimates: Sequence[Estimate]) -> Estimate | None:
    """The mean of several organisms, between the lowest and the highest bound of their intervals.

    The envelope is wider than an interval of the mean: seeds are few, and no more than this can be said without a model
    of how they vary. A single estimate comes back as it is; none, or none that is known, gives None.
    """
    values = [e for e in estimates if not math.isnan(e.value)]
    if not values:
        return None
    return Estimate(
        value=math.fsum(e.value for e in values) / len(values),
        low=min(e.low for e in values),
        high=max(e.high for e in values),
        n=sum(e.n for e in values),
        missing=sum(e.missing for e in values),
    )


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
