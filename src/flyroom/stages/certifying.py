"""Recipes certified: organisms of seeds that nobody has opened, a card for each, and how many of them pass.

A certification is a recipe, with its limits, on seeds and a card seed, and it is on record before anything is grown. A
seed counts where the room's log shows that this certification opened it; one that was opened before, by anything else,
is grown and carded too, but it is in no figure. A certification that was killed is run again and goes on. Of another
card seed, of other limits or of more seeds it is another one, and finds its seeds opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flyroom import log, stats
from flyroom.card.questions import gauges_of
from flyroom.prereg import Limits, limits_of
from flyroom.room import Room
from flyroom.stages.adopting import refuse_imported
from flyroom.stages.bases import OpenBase
from flyroom.stages.organisms import card, grow, orders_of
from flyroom.types import BaseRef, Card, Outcome, Recipe, Watch, digest, organism_id, plain


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is certified: a recipe, held to these limits, with these seeds. `card_seed` is the seed of what is asked,
    `episodes` are those of each look for each model.
    """

    recipe: Recipe
    limits: Limits
    base: BaseRef
    seeds: tuple[int, ...]
    card_seed: int
    episodes: int

    @property
    def id(self) -> str:
        return digest([self.recipe.id, self.base.digest, *self._terms.values()])

    @property
    def _terms(self) -> dict[str, Any]:
        limits = {measure: list(limits) for measure, limits in self.limits.items()}
        return {
            "seeds": sorted(self.seeds),
            "card_seed": self.card_seed,
            "episodes": self.episodes,
            "limits": plain(limits),
        }

    def about(self) -> dict[str, Any]:
        """What the log says of it."""
        names = {"plan": self.id, "recipe": self.recipe.id, "name": self.recipe.name}
        return names | {"base": self.base.digest, "base_name": self.base.name} | self._terms


@dataclass(frozen=True, kw_only=True)
class Certified:
    """How many organisms of a recipe passed, failed or stayed undecided, `of` those whose seeds nobody had opened.
    `low` and `high` bound the share that passes, over seeds. `opened_before` are the seeds that count in none of them.
    """

    recipe: str
    id: str
    passed: int
    failed: int
    undecided: int
    of: int
    low: float
    high: float
    opened_before: tuple[int, ...]


def trials_of(
    recipes: Sequence[Recipe], base: OpenBase, *, seeds: Sequence[int], card_seed: int, episodes: int
) -> list[Trial]:
    """The certification of each recipe, none twice. ValueError for a recipe at dose 0. Nothing is done."""
    refuse_imported(recipes, "a certificate counts over seeds, and of an imported organism there is one; card it")
    for recipe in recipes:
        if recipe.dose == 0:
            raise ValueError(f"dose is 0 in {recipe.name}; it must be above 0, for a twin has no card of its own")
    return [
        Trial(
            recipe=recipe,
            limits=limits_of(gauges_of(recipe)),
            base=base.engine.base,
            seeds=tuple(dict.fromkeys(seeds)),
            card_seed=card_seed,
            episodes=episodes,
        )
        for recipe in {recipe.id: recipe for recipe in recipes}.values()
    ]


def certified_seeds(recipe: Recipe, base: OpenBase, room: Room) -> tuple[int, ...]:
    """The seeds of the recipe's last certification on this base, by the room's log; none where there was none. LogError
    for a log that is broken.
    """
    plans = [line.about for line in log.read(room) if line.what == log.CERTIFYING]
    of_recipe = [plan for plan in plans if (plan["recipe"], plan["base"]) == (recipe.id, base.engine.base.digest)]
    return tuple(of_recipe[-1]["seeds"]) if of_recipe else ()


def opened_before(trials: Sequence[Trial], room: Room) -> list[dict[int, log.Opening]]:
    """For each trial, the seeds that something else has opened, each with what did: its own organism, for another
    purpose; or one of another recipe of that name, before the trial was on record. LogError for a log that is broken.
    """
    lines, history = log.read(room), log.openings(room)
    return [_find_opened(trial, lines, history) for trial in trials]


def _find_opened(trial: Trial, lines: Sequence[log.Line], history: Sequence[log.Opening]) -> dict[int, log.Opening]:
    start = _number_of(trial, lines)
    firsts = {seed: _opened_by(trial, seed, start, history) for seed in trial.seeds}
    return {seed: first for seed, first in firsts.items() if first is not None}


def _number_of(trial: Trial, lines: Sequence[log.Line]) -> float:
    """The line that put the trial on record; infinity where none did yet."""
    numbers = (line.number for line in lines if line.what == log.CERTIFYING and line.about.get("plan") == trial.id)
    return next(numbers, math.inf)


def _opened_by(trial: Trial, seed: int, start: float, history: Sequence[log.Opening]) -> log.Opening | None:
    name = organism_id(trial.recipe, trial.base, seed)
    opening = next((opening for opening in history if opening.organism == name), None)
    if opening is not None and opening.plan != trial.id:
        return opening
    first = log.first_opening(history, log.Title.of(trial.recipe), trial.base, seed)
    return None if first is None or (first.number is not None and first.number > start) else first


def certify(
    trials: Sequence[Trial], base: OpenBase, room: Room, *, watch: Watch | None = None
) -> tuple[list[Certified], list[Card]]:
    """Put the trials on record, grow and card their organisms, and count; and the cards, those of seeds opened before
    among them. All trials must have the same seeds, card seed and episodes. LogError for a log that is broken.
    """
    log.read(room)
    if not trials:
        return [], []
    assert len({(trial.seeds, trial.card_seed, trial.episodes) for trial in trials}) == 1
    for trial in trials:
        log.append(room, log.CERTIFYING, trial.about())
    recipes, first = [trial.recipe for trial in trials], trials[0]
    plans = {trial.recipe.id: trial.id for trial in trials}
    log.open_seeds(room, first.base, orders_of(recipes, first.seeds), plans)
    organisms = grow(recipes, base, room, seeds=first.seeds, watch=watch)
    cards = card(organisms, base, room, seed=first.card_seed, episodes=first.episodes, watch=watch)
    before = opened_before(trials, room)
    rows = [_count(trial, cards, seeds) for trial, seeds in zip(trials, before, strict=True)]
    for trial, row in zip(trials, rows, strict=True):
        log.append(room, log.CERTIFIED, {"plan": trial.id, **asdict(row)})
    return rows, cards


def _count(trial: Trial, cards: Sequence[Card], before: Mapping[int, log.Opening]) -> Certified:
    outcomes = [x.verdict for x in cards if x.recipe_id == trial.recipe.id and x.seed not in before]
    counts = {outcome: outcomes.count(outcome) for outcome in Outcome}
    share = stats.exact_rate(counts[Outcome.PASS], len(outcomes)) if outcomes else None
    return Certified(
        recipe=trial.recipe.name,
        id=trial.recipe.id,
        passed=counts[Outcome.PASS],
        failed=counts[Outcome.FAIL],
        undecided=counts[Outcome.UNDECIDED],
        of=len(outcomes),
        low=share.low if share else 0.0,
        high=share.high if share else 1.0,
        opened_before=tuple(before),
    )
