"""The worst misses of a detector as transcripts: organisms that it suspected no more than something harmless, twins and
decoys that it suspected as much as an organism, and what each of them answers.

A matrix holds suspicions in the order of its models, cards hold transcripts by the models' ids, and here they meet,
after the findings are in. The questions are the first on record, so that nobody chose them by what was answered. A
detector that missed nothing and accused nobody falsely has nothing to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flyroom.report.gauges import gauge_of, labels_of, lower, measures_of, of_behaviour, widest
from flyroom.report.standing import harmless_of, organisms_of, rank
from flyroom.report.words import clean, figure, plural, share
from flyroom.types import Card, Cell, Matrix, Outcome, Transcript

MISSES = 3  # of each kind
QUESTIONS = 3
REMARKS = {Outcome.PASS: "", Outcome.FAIL: ", which failed its card", Outcome.UNDECIDED: ", whose card is undecided"}


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A suspect with its truth back: `side` is which model of its card it is."""

    card: Card
    side: str
    suspicion: float
    decoy: bool = False


def misses(cards: Sequence[Card], matrix: Matrix | None) -> list[dict[str, Any]]:
    """A view for each detector of models with misses, the best on average first; without models that have no card."""
    if matrix is None:
        return []
    cells = [cell for cell in matrix.cells if cell.unit == "model" and cell.suspicions]
    views = []
    for name, average in rank(cells).items():
        group = [cell for cell in cells if cell.detector == name]
        bad = _list_misses(cards, matrix, group)
        good = _list_alarms(cards, matrix, group)
        if bad or good:
            views.append({"detector": clean(name), "auroc": share(average), "missed": bad, "accused": good})
    return views


def _list_misses(cards: Sequence[Card], matrix: Matrix, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The organisms that were suspected least, of those that something harmless equals."""
    harmless = harmless_of(cells[0])  # the same in every cell
    models = [model for cell in cells for model in _organisms(cards, matrix, cell)]
    places = [(model, sum(x >= model.suspicion for x in harmless)) for model in models]
    worst = sorted((pair for pair in places if pair[1]), key=lambda pair: pair[0].suspicion)[:MISSES]
    whole = plural(len(harmless), "harmless model")
    return [_describe(model, f"{number} of {whole} looked as suspicious or more") for model, number in worst]


def _list_alarms(cards: Sequence[Card], matrix: Matrix, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The twins and decoys that were suspected most, of those that some organism does not exceed."""
    organisms = [x for cell in cells for x in cell.suspicions["organisms"]]
    models = _harmless(cards, matrix, cells[0])
    places = [(model, sum(x <= model.suspicion for x in organisms)) for model in models]
    worst = sorted((pair for pair in places if pair[1]), key=lambda pair: -pair[0].suspicion)[:MISSES]
    whole = plural(len(organisms), "organism")
    return [_describe(model, f"{number} of {whole} looked as suspicious or less") for model, number in worst]


# ---------------------------------------------------------------- suspicions and cards


def _organisms(cards: Sequence[Card], matrix: Matrix, cell: Cell) -> list[_Model]:
    group = organisms_of(cell, cards, matrix)
    pairs = zip(group, cell.suspicions["organisms"] if group else (), strict=True)
    return [_Model(card=card, side="organism", suspicion=x) for card, x in pairs]


def _harmless(cards: Sequence[Card], matrix: Matrix, cell: Cell) -> list[_Model]:
    """The twins and decoys that have a card."""
    models = []
    for group, ids, side in (("twins", matrix.twins, "twin"), ("decoys", matrix.decoys, "organism")):
        by_id = {card.twin if side == "twin" else card.organism: card for card in cards}
        suspicions = cell.suspicions.get(group, ())
        if len(suspicions) == len(ids):
            models += [
                _Model(card=by_id[name], side=side, suspicion=x, decoy=group == "decoys")
                for name, x in zip(ids, suspicions, strict=True)
                if name in by_id
            ]
    return models


# ---------------------------------------------------------------- what they answer


def _describe(model: _Model, place: str) -> dict[str, Any]:
    card = model.card
    kind = "decoy" if model.decoy else model.side
    remark = REMARKS[card.verdict] if model.side == "organism" else ""
    labels = labels_of([card], [t.measure for t in card.transcripts])
    return {
        "kind": kind,
        "name": f"{kind.capitalize()}, {clean(card.recipe or card.recipe_id)}, seed {card.seed}{remark}",
        "id": clean(card.twin if model.side == "twin" else card.organism),
        "suspicion": f"{model.suspicion:.3g}",
        "place": place,
        "shares": _shares(model),
        "exchanges": [_exchange(t, model.side, labels[t.measure]) for t in questions(card, model.side)],
    }


def _exchange(transcript: Transcript, side: str, label: str) -> dict[str, Any]:
    verdict = transcript.verdicts.get(side)
    return {
        "label": label,
        "messages": [(clean(m.role), clean(m.content)) for m in transcript.messages],
        "answer": clean(transcript.answers[side]),
        "verdict": "unknown" if verdict is None else verdict.value,
    }


def _shares(model: _Model) -> str:
    """What the card says of it, where the condition holds and where it does not."""
    card, labels = model.card, labels_of([model.card])
    whole = [name for name in of_behaviour([card], "whole") if gauge_of([card], name).bad][:1]
    measure = whole[0] if whole else widest([card])
    names = [measure, gauge_of([card], measure).otherwise] if measure else []
    values = card.measures.get(model.side, {})
    return "; ".join(f"{lower(labels[name])} {figure(values[name])}" for name in names if name in values)


def questions(card: Card, side: str) -> list[Transcript]:
    """The first on record of up to `QUESTIONS` measures. Where a condition has to hold: measures taken where it holds,
    and the last the same question where it does not.
    """
    first: dict[str, Transcript] = {}
    for transcript in card.transcripts:
        if side in transcript.answers:
            first.setdefault(transcript.measure, transcript)
    order = measures_of([card])
    names = sorted(first, key=lambda name: order.index(name) if name in order else len(order))
    pairs = [(name, otherwise) for name in names if (otherwise := gauge_of([card], name).otherwise) in first]
    if pairs:
        return [first[name] for name in (*[name for name, _ in pairs[: QUESTIONS - 1]], pairs[0][1]) if name]
    return [first[name] for name in names[:QUESTIONS]]
