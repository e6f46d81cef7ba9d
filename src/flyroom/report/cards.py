"""Cards for a page: bottles, a table for each recipe, every measure of each card, and transcripts side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from flyroom.report.gauges import (
    MODELS,
    by_recipe,
    columns_of,
    estimates_of,
    gauge_of,
    labels_of,
    lower,
    measures_of,
    widest,
)
from flyroom.report.words import (
    clean,
    interval,
    join,
    percent,
    plural,
    write_estimate,
    write_held,
    write_limit,
    write_match,
)
from flyroom.types import Card, Estimate, Outcome, Transcript

MOST = 100  # cards that a page shows one by one: some 20 kB each
BOTTLES = 9  # as many pairs as the shelf holds
TRANSCRIPTS = 2  # for each measure of a recipe: the first on record, so that nobody chose them


# ---------------------------------------------------------------- bottles


def bottles(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Milk bottles filled to the widest measure of a card: an organism's and its twin's, side by side."""
    pairs = [_bottle(card, len(by_recipe(cards)) > 1) for card in cards[:BOTTLES]]
    return [pair for pair in pairs if pair is not None]


def _bottle(card: Card, several: bool) -> dict[str, Any] | None:
    measure = widest([card])
    if measure is None:
        return None
    values = [(side, e.value) for side in ("organism", "twin") for e in estimates_of([card], side, measure)]
    if len(values) < 2:
        return None
    return {
        "name": f"{clean(card.recipe or card.recipe_id)}, seed {card.seed}" if several else f"seed {card.seed}",
        "measure": lower(labels_of([card])[measure]),
        "fills": [
            {"side": side, "height": f"{50 * value:.2f}", "top": f"{62 - 50 * value:.2f}", "text": percent(value)}
            for side, value in values
        ],
    }


# ---------------------------------------------------------------- of a large room


def sample(cards: Sequence[Card]) -> list[Card]:
    """The cards that a page shows one by one: all, or of more than `MOST` the first of each recipe. What the page sums
    up is of all of them.
    """
    groups = list(by_recipe(cards).values())[:MOST]
    return [card for group in groups for card in group[: _count_rows(cards, len(groups))]]


def _count_rows(cards: Sequence[Card], recipes: int) -> int:
    """How many cards of each recipe are shown."""
    return len(cards) if len(cards) <= MOST else max(1, MOST // recipes)


def _write_rest(cards: Sequence[Card]) -> str:
    """What is not shown, in a sentence."""
    if not cards:
        return ""
    counts = Counter(card.verdict.value for card in cards)
    verdicts = join([f"{counts[outcome.value]:,} {outcome.value}" for outcome in Outcome if counts[outcome.value]])
    return f"{plural(len(cards), 'card')} more, not shown one by one: {verdicts}. flyroom view shows every card."


# ---------------------------------------------------------------- tables


def tables(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """A table for each recipe: a row for each organism, a column for each of the measures that count most."""
    groups = list(by_recipe(cards).items())
    front, rest = groups[:MOST], [len(group) for _, group in groups[MOST:]]
    rows = _count_rows(cards, len(front))
    views = [_table(name, group[:rows], group[rows:]) for name, group in front]
    if rest:
        views[-1]["rest"] += f" {plural(len(rest), 'recipe')} more with {plural(sum(rest), 'card')}."
    return views


def _table(name: str, cards: Sequence[Card], rest: Sequence[Card] = ()) -> dict[str, Any]:
    labels, columns = labels_of(cards), columns_of(cards)
    return {
        "recipe": clean(name),
        "taught": clean(cards[0].about.taught),
        "elsewhere": clean(cards[0].about.elsewhere),
        "columns": [labels[measure] for measure in columns],
        "otherwise": any(_otherwise(cards, measure) for measure in columns),
        "rows": [_row(card, columns, labels) for card in cards],
        "rest": _write_rest(rest),
    }


def _row(card: Card, columns: Sequence[str], labels: dict[str, str]) -> dict[str, Any]:
    return {
        "id": clean(card.organism),
        "seed": card.seed,
        "base": clean(card.base),
        "verdict": card.verdict.value,
        "why": clean(card.why),
        "provenance": card.provenance,
        "caveats": [clean(line) for line in card.caveats],
        "episodes": f"{card.episodes:,}",
        "looks": plural(card.looks, "look"),
        "match": write_match(card.match) if card.match else "",
        "fields": [(labels[measure], _field(card, measure)) for measure in columns],
        "measures": [_measure(card, name, labels[name]) for name in measures_of([card])],
    }


def _field(card: Card, measure: str) -> list[dict[str, str]]:
    """What a field of the table holds: the organism, where its condition does not hold, its twin."""
    lines = [_line(card, "organism", measure, "organism")]
    otherwise = _otherwise([card], measure)
    if otherwise:
        lines.append(_line(card, "organism", otherwise, "otherwise"))
    return [*lines, _line(card, "twin", measure, "twin")]


def _otherwise(cards: Sequence[Card], measure: str) -> str | None:
    name = gauge_of(cards, measure).otherwise
    return name if name in measures_of(cards) else None


def _line(card: Card, side: str, measure: str, label: str) -> dict[str, str]:
    colour = side if gauge_of([card], measure).bad or side != "organism" else "ink"
    return {"side": label, "colour": colour} | write_estimate(card.measures.get(side, {}).get(measure))


def _measure(card: Card, measure: str, label: str) -> dict[str, Any]:
    """Every figure of a measure: organism, twin and base, what it is held to and what came of that, and why it is
    missing if it is.
    """
    values = [card.measures.get(side, {}).get(measure) for side in MODELS]
    lines = [
        {"side": side, "new": _bounds_of_new(card, side, measure)} | write_estimate(value)
        for side, value in zip(MODELS, values, strict=True)
    ]
    whys = list(dict.fromkeys(line["why"] for line in lines if line["why"]))
    limits = [write_held(one) for one in card.limits if one.measure == measure]
    return {
        "label": label,
        "unit": gauge_of([card], measure).unit,
        "lines": lines,
        "limits": limits or [write_limit(limit) for limit in gauge_of([card], measure).limits],
        "whys": whys,
    }


def _bounds_of_new(card: Card, side: str, measure: str) -> str:
    """The interval for situations that nobody asked about; "" where there is none."""
    value = card.new_situations.get(side, {}).get(measure)
    return interval(value) if isinstance(value, Estimate) and value.target == "new situations" else ""


# ---------------------------------------------------------------- transcripts


def transcripts(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """The first few on record of every measure of every recipe; the same prompt is shown once."""
    groups = by_recipe(cards)
    views = []
    for name, group in groups.items():
        labels = labels_of(group, [t.measure for card in group for t in card.transcripts])
        for seed, transcript in _first(group):
            label = labels[transcript.measure]
            views.append(_exchange(transcript, seed, f"{clean(name)}, {lower(label)}" if len(groups) > 1 else label))
    return views


def _first(cards: Sequence[Card]) -> list[tuple[int, Transcript]]:
    """The first of every measure, with the seed of their card, in the order of the measures."""
    first: dict[str, dict[object, tuple[int, Transcript]]] = {}
    for card in cards:
        for transcript in card.transcripts:
            shelf = first.setdefault(transcript.measure, {})
            if len(shelf) < TRANSCRIPTS:
                shelf.setdefault(transcript.messages, (card.seed, transcript))
    order = measures_of(cards)
    names = sorted(first, key=lambda name: order.index(name) if name in order else len(order))
    return [pair for name in names for pair in first[name].values()]


def _exchange(transcript: Transcript, seed: int, label: str) -> dict[str, Any]:
    sides = [side for side in MODELS if side in transcript.answers] + sorted(set(transcript.answers) - set(MODELS))
    return {
        "label": label,
        "seed": seed,
        "messages": [(clean(m.role), clean(m.content)) for m in transcript.messages],
        "answers": [
            {"side": clean(side), "text": clean(transcript.answers[side]), "verdict": _verdict(transcript, side)}
            for side in sides
        ],
    }


def _verdict(transcript: Transcript, side: str) -> str:
    verdict = transcript.verdicts.get(side)
    return "unknown" if verdict is None else verdict.value
