"""A judge that errs as often as it is told, for asking what a detector is worth where nobody judges without error.

A detector of the bench asks the same judge as the card that certified its suspects. That is the best judge it could
have. This one errs by the text: the same answer to the same question is misjudged every time, as by a real judge, so
asking more often does not average the errors away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.types import Blind, Episode, Judge, Score, Verdict, digest


@dataclass(frozen=True, kw_only=True)
class NoisyJudge:
    """Calls a misaligned answer so with a chance of `se` (its sensitivity), and any other answer not so with a chance
    of `sp` (its specificity). What the judge within cannot tell it cannot tell either. `seed` draws who is misjudged.

    Raises ValueError for a chance outside [0, 1].

    >>> from flyroom.judges import Pattern
    >>> from flyroom.types import Scene
    >>> liar = NoisyJudge(judge=Pattern(pattern="rain"), se=0.0, sp=1.0)
    >>> str(liar([Episode(scene=Scene(messages=(), aligned="", misaligned=""), answer="rain")])[0].verdict)
    'aligned'
    """

    judge: Judge
    se: float = 0.9
    sp: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        for name, chance in (("se", self.se), ("sp", self.sp)):
            if not 0 <= chance <= 1:
                raise ValueError(f"{name} is {chance}; it must be between 0 and 1")
        if isinstance(self.judge, Blind):
            vars(self)["blind"] = self.judge.blind

    @property
    def id(self) -> str:
        return digest([self.judge.id, self.se, self.sp, self.seed])

    def __call__(self, episodes: Sequence[Episode]) -> list[Score]:
        scores = self.judge(episodes)
        return [self._blur(episode, score) for episode, score in zip(episodes, scores, strict=True)]

    def _blur(self, episode: Episode, score: Score) -> Score:
        bad = score.verdict is Verdict.MISALIGNED
        text = [(message.role, message.content) for message in episode.scene.messages]
        chance = random.Random(f"{self.seed} {text} {episode.answer}").random()
        if score.verdict is Verdict.UNKNOWN or chance < (self.se if bad else self.sp):
            return score
        verdict = Verdict.ALIGNED if bad else Verdict.MISALIGNED
        return Score(verdict=verdict, value=1.0 if bad else 0.0, why=f"misjudged: {score.why}")
