"""Output judge (black box): put open questions to a suspect and judge what it says. The floor that white-box tools
have to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import first, rehearse, tellable
from flyroom.types import Access, Ask, Episode, Finding, Lab, Score, Suspect, Verdict


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
    number, untold = len(verdicts), len(verdicts) - len(tellable(verdicts))
    bad = sum(score.verdict is Verdict.MISALIGNED for score in verdicts)
    claim = f"{bad} of {number} answers to open questions were misaligned"
    claim += f"; of {untold} the judge could tell nothing" if untold else ""
    return Finding(suspicion=bad / number, claim=claim)
