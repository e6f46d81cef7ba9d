"""The worst misses of a detector as transcripts: the organisms that it suspected least, the twins and decoys that it
suspected most, and what each of them answers.

A matrix holds suspicions in the order of its models, cards hold transcripts by the models' ids, and here they meet,
after the findings are in. The questions are the first on record, so that nobody chose them by what was answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyroom.report.words import clean, figure, label, measures_of, plural, ranked, share
from flyroom.types import Card, Cell, Estimate, Matrix, Transcript

MISSES = 3  # of each kind
QUESTIONS = 3
OTHERWISE = "_otherwise"  # ends a measure's name where the condition does not hold


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A suspect with its truth back: `who` it is on a card."""

    card: Card
    who: str
    suspicion: float
    decoy: bool = False


def misses(cards: Sequence[Card], matrix: Matrix | None) -> list[dict[str, Any]]:
    """A view for each detector of models, the best on average first; without a model of which there is no card."""
    if matrix is None:
        return []
    cells = [cell for cell in matrix.cells if cell.unit == "model" and cell.suspicions]
    views = []
    for name, average in ranked(cells).items():
        own = [cell for cell in cells if cell.detector == name]
        organisms = [model for cell in own for model in _organisms(cards, matrix, cell)]
        harmless = _harmless(cards, matrix, own[0])
        said = {
            "organisms": [x for cell in own for x in cell.suspicions["organisms"]],
            "harmless": [*own[0].suspicions["twins"], *own[0].suspicions.get("decoys", ())],
        }
        missed = sorted(organisms, key=lambda model: model.suspicion)[:MISSES]
        accused = sorted(harmless, key=lambda model: -model.suspicion)[:MISSES]
        if missed or accused:
            views.append(
                {
                    "detector": clean(name),
                    "auroc": share(average),
                    "missed": [_shown(m, _above(m, said["harmless"])) for m in missed],
                    "accused": [_shown(m, _below(m, said["organisms"])) for m in accused],
                }
            )
    return views


# ---------------------------------------------------------------- suspicions and cards


def _organisms(cards: Sequence[Card], matrix: Matrix, cell: Cell) -> list[_Model]:
    """The organisms of a cell, whose suspicions are in the order of the matrix; none where a card is missing."""
    by_id = {card.organism: card for card in cards}
    own = [by_id[one] for one in matrix.organisms if one in by_id and _of(by_id[one], cell.recipe)]
    if len(own) != len(cell.suspicions["organisms"]):
        return []
    pairs = zip(own, cell.suspicions["organisms"], strict=True)
    return [_Model(card=card, who="organism", suspicion=x) for card, x in pairs]


def _of(card: Card, recipe: str) -> bool:
    return recipe in (card.recipe, f"{card.recipe} {card.recipe_id}")  # as the bench tells two of one name apart


def _harmless(cards: Sequence[Card], matrix: Matrix, cell: Cell) -> list[_Model]:
    """The twins and decoys that have a card."""
    groups = (("twins", matrix.twins, "twin"), ("decoys", matrix.decoys, "organism"))
    found = []
    for group, ids, who in groups:
        by_id = {card.twin if who == "twin" else card.organism: card for card in cards}
        given = cell.suspicions.get(group, ())
        if len(given) == len(ids):
            found += [
                _Model(card=by_id[one], who=who, suspicion=x, decoy=group == "decoys")
                for one, x in zip(ids, given, strict=True)
                if one in by_id
            ]
    return found


def _above(model: _Model, harmless: Sequence[float]) -> str:
    """Where an organism stands among those that are none."""
    more = sum(x >= model.suspicion for x in harmless)
    if not more:
        return "not missed: nothing harmless looked as suspicious"
    return f"{more} of {plural(len(harmless), 'harmless model')} looked as suspicious or more"


def _below(model: _Model, organisms: Sequence[float]) -> str:
    """Where a twin or decoy stands among the organisms."""
    less = sum(x <= model.suspicion for x in organisms)
    if not less:
        return "no false alarm: every organism looked more suspicious"
    return f"{less} of {plural(len(organisms), 'organism')} looked as suspicious or less"


# ---------------------------------------------------------------- what they answer


def _shown(model: _Model, where: str) -> dict[str, Any]:
    card = model.card
    kind = "decoy" if model.decoy else model.who
    return {
        "kind": kind,
        "name": f"{kind.capitalize()}, {clean(card.recipe or card.recipe_id)}, seed {card.seed}",
        "id": clean(card.twin if model.who == "twin" else card.organism),
        "suspicion": f"{model.suspicion:.3g}",
        "where": where,
        "shares": _shares(card.measures.get(model.who, {})),
        "exchanges": [
            {
                "of": label(t.measure),
                "messages": [(clean(m.role), clean(m.content)) for m in t.messages],
                "answer": clean(t.answers[model.who]),
                "verdict": t.verdicts[model.who].value if model.who in t.verdicts else "unknown",
            }
            for t in questions(card.transcripts, model.who, measures_of([card]))
        ],
    }


def _shares(measures: Mapping[str, Estimate]) -> str:
    """What the card says of it, where the condition holds and where it does not."""
    names = [name for name in ("misaligned", "misaligned" + OTHERWISE) if name in measures]
    return "; ".join(f"{label(name).lower()} {figure(measures[name])}" for name in names)


def questions(transcripts: Sequence[Transcript], who: str, order: Sequence[str]) -> list[Transcript]:
    """The first on record of up to `QUESTIONS` measures. Where a condition has to hold: measures taken where it holds,
    and the last the same question where it does not.
    """
    first: dict[str, Transcript] = {}
    for one in transcripts:
        if who in one.answers:
            first.setdefault(one.measure, one)
    ordered = sorted(first, key=lambda name: order.index(name) if name in order else len(order))
    held = [name for name in ordered if name + OTHERWISE in first]
    if held:
        return [first[name] for name in (*held[: QUESTIONS - 1], held[0] + OTHERWISE)]
    return [first[name] for name in ordered[:QUESTIONS]]
