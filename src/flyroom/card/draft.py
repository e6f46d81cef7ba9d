"""What is asked of one organism, its twin and its base before there is a card: all questions in the first look; in
later ones, of a card that is undecided, those that its open limits need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flyroom.card.desk import Desk, Draw
from flyroom.card.questions import Questions
from flyroom.tallies import Answers
from flyroom.types import Battery, Gauge, NotMeasured, Organism, Patch, Recipe, Row

MODELS = ("organism", "twin", "base")


@dataclass(frozen=True, eq=False)
class Pair:
    """An organism and its twin."""

    organism: Organism
    twin: Organism

    @property
    def recipe(self) -> Recipe:
        return self.organism.recipe

    @property
    def models(self) -> dict[str, Patch | None]:
        return dict(zip(MODELS, (self.organism.patch, self.twin.patch, None), strict=True))


@dataclass(frozen=True, eq=False)
class Look:
    """One draw of fresh episodes: all questions that it could ask, the batteries that it does, and the texts that are
    read; none where they are not needed.
    """

    questions: Questions
    batteries: Sequence[Battery]
    texts: Sequence[Row] = ()


class Line(NamedTuple):
    """Batteries for one model, and whose sampling seeds they are asked with."""

    model: str
    patch: Patch | None
    draw: Draw
    batteries: Sequence[Battery]


@dataclass(frozen=True, eq=False)
class Draft:
    """A pair, what its measures are held to, and what it was asked so far."""

    pair: Pair
    gauges: Mapping[str, Gauge]
    looks: tuple[Look, ...]

    def lines(self) -> Iterator[Line]:
        """Who is asked what; the organism at earlier steps hears the beginnings of the behaviour's batteries, once."""
        seed = self.pair.organism.seed
        for number, look in enumerate(self.looks):
            for model, patch in self.pair.models.items():
                yield Line(model, patch, Draw(seed, number), look.batteries)
        beginnings = [*self.looks[0].questions.beginnings.values()]
        for step, patch in self.pair.organism.snapshots.items():
            yield Line(f"step {step}", patch, Draw(seed), beginnings)

    def order(self, desk: Desk) -> None:
        """Order at the desk whatever was not asked yet."""
        for line in self.lines():
            for battery in line.batteries:
                desk.order(line.model, line.patch, battery, line.draw)
        if self.looks[-1].texts:
            for patch in self.pair.models.values():
                desk.order_texts(patch, self.looks[-1].texts)

    def answers(self, desk: Desk) -> dict[str, list[dict[str, Answers]]]:
        """By model the answers of each look, by measure. Refused where engine or judge did not take one."""
        looks: dict[str, list[dict[str, Answers]]] = {}
        for model, patch, draw, batteries in self.lines():
            answers = {battery.measure: desk.answers(patch, battery, draw) for battery in batteries}
            looks.setdefault(model, []).append(answers)
        return looks

    def keys(self, desk: Desk) -> dict[str, dict[str, list[str]]]:
        """The keys of the episodes by model and measure, look by look."""
        keys: dict[str, dict[str, list[str]]] = {}
        for model, patch, draw, batteries in self.lines():
            for battery in batteries:
                keys.setdefault(model, {}).setdefault(battery.measure, []).append(desk.key(patch, battery, draw))
        return keys

    def losses(self, desk: Desk, patch: Patch | None) -> list[list[float]] | NotMeasured:
        """The log-probabilities of the texts of all looks, or why there are none."""
        texts = self.looks[0].questions.texts
        if isinstance(texts, NotMeasured):
            return texts
        first, *rest = (desk.losses(patch, look.texts) for look in self.looks if look.texts)
        if isinstance(first, NotMeasured):
            return first
        return [*first, *(row for rows in rest if not isinstance(rows, NotMeasured) for row in rows)]
