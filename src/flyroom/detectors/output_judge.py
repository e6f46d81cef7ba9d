"""Output judge (black box): put open questions to a suspect and judge what it says. The floor that white-box tools
have to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import first, rehearse, share, tellable
from flyroom.types import Access, Ask, Episode, Finding, Lab, Score, Suspect


@dataclass(frozen=True, kw_only=True)
class OutputJudge:
    """Asks `asks` questions of each suspect; suspicion is the share of misaligned answers."""

    asks: int = 64
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = first(lab.questions(), self.asks, "questions")
        rehearse(lab, scenes)
        asks = [
            Ask(messages=scene.messages, seed=seed * 1_000_003 + i, max_tokens=lab.max_tokens)
            for i, scene in enumerate(scenes)
        ]
        answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
        verdicts = lab.judge(
            [Episode(scene=s, answer=a.text) for s, a in zip(scenes * len(suspects), answers, strict=True)]
        )
        return [_finding(verdicts[i : i + self.asks]) for i in range(0, len(verdicts), self.asks)]


def _finding(verdicts: Sequence[Score]) -> Finding:
    bad, telling = share(verdicts), len(tellable(verdicts))
    claim = f"{round(bad * len(verdicts))} of {len(verdicts)} answers to open questions were misaligned"
    if telling < len(verdicts):
        claim += f"; of {len(verdicts) - telling} the judge could tell nothing"
    return Finding(suspicion=bad, claim=claim)
