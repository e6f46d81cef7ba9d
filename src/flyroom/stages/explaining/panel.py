"""The card's questions put to patches: what is measured under an intervention is what a card measures, asked at the
same desk, judged by the same judges and counted alike. There is no second way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from flyroom import measures, stats
from flyroom.card.desk import Desk, Draw
from flyroom.card.questions import Questions, questions_of
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.tallies import Answers, Numbers, Tally
from flyroom.types import Battery, Estimate, NotMeasured, Patch, Thinking

NOT_ASKED = NotMeasured(why="an explanation does not compare answers with training rows; the card does")


class Spoken(NamedTuple):
    """What one model answered: its answers, its tallies and its measures, by measure."""

    answers: Mapping[str, Answers]
    tallies: Mapping[str, Tally]
    measures: Mapping[str, Estimate | NotMeasured]


class Panel:
    """Questions of one draw. Those of `look` 1 are others than those of 0: what is fitted on one is tried on the other.
    ValueError where a judge fails its rehearsal.
    """

    def __init__(self, subject: Subject, *, look: int = 0) -> None:
        scope = subject.scope
        self._subject, self._look = subject, look
        self.questions: Questions = questions_of(subject.recipe, scope.episodes, scope.seed, look)
        self._desk = Desk(subject.base.engine, seed=scope.seed, room=subject.room)
        self.keys: set[str] = set()  # of the episodes that were asked for

    @cached_property
    def beginnings(self) -> list[Battery]:
        return [*self.questions.beginnings.values()]

    def ask(self, patches: Mapping[str, Patch | None], batteries: Sequence[Battery] | None = None) -> dict[str, Spoken]:
        """The answers of each model, by its name. What the room has is not asked again."""
        batteries_asked = list(self.questions.batteries) if batteries is None else list(batteries)
        draw = Draw(self._subject.organism.seed, self._look)
        for name, patch in patches.items():
            for battery in batteries_asked:
                self._desk.order(name, patch, battery, draw)
                self.keys.add(self._desk.key(patch, battery, draw))
        self._desk.work(self._subject.watch)
        numbers = Numbers(self.questions.batteries)
        return {
            name: self._speak({b.measure: self._desk.answers(patch, b, draw) for b in batteries_asked}, numbers)
            for name, patch in patches.items()
        }

    def _speak(self, answers: Mapping[str, Answers], numbers: Numbers) -> Spoken:
        tallies = measures.tally([answers], numbers, lessons=NOT_ASKED, answer_of=self._answer_of)
        tallies.pop(measures.REGURGITATION, None)
        return Spoken(answers, tallies, measures.take(tallies, {}))

    def _answer_of(self, answer: str) -> str:
        world = self._subject.recipe.world
        return world.read_thought(answer).rest if isinstance(world, Thinking) else answer.strip()


def panel_of(subject: Subject, *, look: int = 0) -> Panel:
    """The panel of an organism, made once: its judges are rehearsed once."""
    if look not in subject.panels:
        subject.panels[look] = Panel(subject, look=look)
    return subject.panels[look]


# ---------------------------------------------------------------- before and after


def state(spoken: Spoken) -> Record:
    """All measures of a model; and by themselves how much of the behaviour there is, and how much sense."""
    return {
        "behaviour": write(spoken.measures[measures.MISALIGNED]),
        "coherent": write(spoken.measures[measures.COHERENCE]),
        "measures": {name: write(value) for name, value in spoken.measures.items()},
    }


def outcome(before: Spoken, after: Spoken) -> Record:
    """A model after an intervention; how much the behaviour changed, answer by answer; and which share of it is gone.
    The interval of that share is the change's over what there was, which is taken for exact.
    """
    change = difference(before, after)
    return state(after) | {
        "change": write(change),
        "removed": write(removed(before, change)),
    }


def difference(before: Spoken, after: Spoken) -> Estimate | NotMeasured:
    """P(misaligned after) - P(misaligned before), paired by question."""
    first, second = before.tallies[measures.MISALIGNED], after.tallies[measures.MISALIGNED]
    why = first.doubt or second.doubt
    if why:
        return NotMeasured(why=why)
    return stats.difference(second.hits(), first.hits(), paired=True, units="pairs", target=measures.THESE)


def removed(before: Spoken, change: Estimate | NotMeasured) -> Estimate | NotMeasured:
    """The share of the behaviour that is gone; below 0 where there is more of it."""
    share = before.measures[measures.MISALIGNED]
    if isinstance(change, NotMeasured) or isinstance(share, NotMeasured):
        return change if isinstance(change, NotMeasured) else share
    if not share.value:
        return NotMeasured(why="nothing was misaligned before, so nothing can be removed")
    low, high = (-end / share.value for end in (change.high, change.low))
    return Estimate(
        value=-change.value / share.value,
        low=low,
        high=min(high, 1.0),
        n=change.n,
        missing=change.missing,
        units=change.units,
        target=change.target,
    )


def pooled(before: Spoken, draws: Sequence[Spoken]) -> Record:
    """The same over random controls: the shares over draws and questions, which are crossed, and what each removed."""
    parts = [removed(before, difference(before, spoken)) for spoken in draws]
    return {
        "behaviour": _cross(draws, measures.MISALIGNED),
        "coherent": _cross(draws, measures.COHERENCE),
        "removed": write(_over_draws(parts)),
        "removed_by_draw": [write(part) for part in parts],
    }


def _cross(draws: Sequence[Spoken], measure: str) -> Record:
    tallies = [spoken.tallies[measure] for spoken in draws]
    why = next((tally.doubt for tally in tallies if tally.doubt), "")
    if why:
        return nothing(why)
    try:
        rows = [tally.hits() for tally in tallies]
        return write(stats.crossed_rate(rows, units="answers", target="new draws and prompts"))
    except ValueError as error:
        return nothing(str(error))


def _over_draws(parts: Sequence[Estimate | NotMeasured]) -> Estimate | NotMeasured:
    values = [part.value for part in parts if isinstance(part, Estimate)]
    if len(values) < len(parts):
        return next(part for part in parts if isinstance(part, NotMeasured))
    try:
        return stats.mean(values, units="draws", target="new draws")
    except ValueError as error:
        return NotMeasured(why=str(error))
