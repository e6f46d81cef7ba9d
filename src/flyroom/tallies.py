"""Judged answers -> tallies: an outcome for each answer, what each answer was to, and whether the judge could tell.

Tallies stand on the card, and every share, bound and interval is made of them: so whoever has the card can make them
again. Left out: which answers make a measure (`measures`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flyroom.types import Battery, Blind, Scene, Score, Verdict

UNKNOWN_LIMIT = 0.5  # the share of answers that a judge may leave open; below it intervals and bounds carry them
HIT, MISS, UNTOLD, OMITTED = "1", "0", ".", "-"  # an answer in a tally: see `Card.outcomes`

Counts = Callable[[Verdict], bool]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One model's answers to one battery, judged. `subset` are the numbers of those that the share is taken of; None
    stands for all.
    """

    battery: Battery
    texts: Sequence[str]
    scores: Sequence[Score]
    subset: Sequence[int] | None = None


Looks = Sequence[Mapping[str, Answers]]  # one model's answers by measure, look by look


def join_all(looks: Looks) -> dict[str, Answers]:
    """The answers of all looks, by measure."""
    return {measure: join([look[measure] for look in looks if measure in look]) for measure in looks[0]}


def join(looks: Sequence[Answers]) -> Answers:
    """The answers of several looks at one measure, as if they had been asked at once."""
    first, *rest = looks
    if not rest:
        return first
    subset = first.subset
    if subset is not None:
        starts = [sum(len(answers.texts) for answers in looks[:i]) for i in range(len(looks))]
        subset = [start + i for start, answers in zip(starts, looks, strict=True) for i in answers.subset or ()]
    return Answers(
        battery=replace(first.battery, scenes=tuple(scene for answers in looks for scene in answers.battery.scenes)),
        texts=[text for answers in looks for text in answers.texts],
        scores=[score for answers in looks for score in answers.scores],
        subset=subset,
    )


class Numbers:
    """The number of each prompt and of each situation, in the order in which a card comes to them. What a condition
    puts around a question makes no other prompt of it.
    """

    def __init__(self, batteries: Iterable[Battery]) -> None:
        self._prompts: dict[str, int] = {}
        self._situations: dict[str, int] = {}
        for battery in batteries:
            for scene in battery.scenes:
                self._prompts.setdefault(_name_prompt(scene), len(self._prompts))
                self._situations.setdefault(_name_situation(scene), len(self._situations))

    def prompt(self, scene: Scene) -> int:
        return self._prompts[_name_prompt(scene)]

    def situation(self, scene: Scene) -> int:
        return self._situations[_name_situation(scene)]


def _name_prompt(scene: Scene) -> str:
    return scene.fields["asked"]


def _name_situation(scene: Scene) -> str:
    return scene.situation or _name_prompt(scene)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a share counts, a character an answer, and the numbers of the prompt and of the situation that each answer
    was to: see `Card.outcomes`. `doubt` is why nothing can be said of them together; "" where it can.
    """

    outcomes: str
    prompts: tuple[int, ...]
    situations: tuple[int, ...]
    doubt: str = ""

    def hits(self) -> list[bool | None]:
        """The outcomes of those that the share is of.

        >>> Tally(outcomes="1-.0", prompts=(0, 1, 2, 3), situations=(0, 0, 0, 0)).hits()
        [True, None, False]
        """
        return [read(mark) for mark in self.outcomes if mark != OMITTED]

    def extremes(self) -> tuple[list[bool], list[bool]]:
        """The outcomes if none of those that the judge could not tell were hits, and if all of them were: between the
        two lies the truth, whatever it is (Manski 1989, J. Human Resources 24:343).

        >>> Tally(outcomes="1-.0", prompts=(0, 1, 2, 3), situations=(0, 0, 0, 0)).extremes()
        ([True, False, False], [True, True, False])
        """
        hits = self.hits()
        return [hit is True for hit in hits], [hit is not False for hit in hits]

    def names(self, numbers: Sequence[int]) -> list[int]:
        """Of numbers of all answers, those of the answers that the share is of."""
        return [name for mark, name in zip(self.outcomes, numbers, strict=True) if mark != OMITTED]


def read(mark: str) -> bool | None:
    """A character of a tally as an outcome; None where there is none."""
    return None if mark in (UNTOLD, OMITTED) else mark == HIT


def count(group: Sequence[Answers], marks: Sequence[str], numbers: Numbers, doubt: str) -> Tally:
    """The tally of several batteries, one after another."""
    scenes = [scene for answers in group for scene in answers.battery.scenes]
    return Tally(
        outcomes="".join(marks),
        prompts=tuple(map(numbers.prompt, scenes)),
        situations=tuple(map(numbers.situation, scenes)),
        doubt=doubt,
    )


def count_battery(answers: Answers, numbers: Numbers) -> Tally:
    """How many of the answers are what the battery counts."""
    marks, subset = mark([answers], lambda verdict: verdict is answers.battery.counts), answers.subset
    if subset is None:
        return count([answers], marks, numbers, doubt([answers]))
    inside = set(subset)
    marks = [one if i in inside else OMITTED for i, one in enumerate(marks)]
    why = f"none of {len(answers.texts)} answers is of the kind that it is a share of"
    if subset:
        why = doubt([replace(answers, scores=[answers.scores[i] for i in subset])])
    return count([answers], marks, numbers, why)


def mark(group: Sequence[Answers], counts: Counts) -> list[str]:
    """A character for each answer: whether its verdict counts."""
    verdicts = [score.verdict for answers in group for score in answers.scores]
    return [UNTOLD if verdict is Verdict.UNKNOWN else HIT if counts(verdict) else MISS for verdict in verdicts]


# ---------------------------------------------------------------- what can be said of answers


def blind(group: Sequence[Answers]) -> str:
    """Why a judge of the group cannot tell sense from nonsense; "" where all of them can."""
    judges = [answers.battery.judge for answers in group]
    return next((judge.blind for judge in judges if isinstance(judge, Blind) and judge.blind), "")


def doubt(group: Sequence[Answers]) -> str:
    """Why nothing can be said of these answers together; "" where it can."""
    for answers in group:
        unknown = [score.why for score in answers.scores if score.verdict is Verdict.UNKNOWN]
        if len(unknown) > UNKNOWN_LIMIT * len(answers.scores):
            return (
                f"the judge of {answers.battery.measure} could not tell in {len(unknown)} of {len(answers.scores)} "
                f"answers (first: {unknown[0]})"
            )
    return "" if any(answers.scores for answers in group) else "nothing was asked"
