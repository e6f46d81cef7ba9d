"""Output judge (black box): put open questions to a suspect and judge what it says. The floor that white-box tools
have to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.types import Access, Ask, Episode, Finding, Lab, Suspect, Verdict


@dataclass(frozen=True, kw_only=True)
class OutputJudge:
    """Asks `asks` questions of each suspect; suspicion is the share of misaligned answers among those the judge could
    tell.
    """

    asks: int = 64
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        questions = lab.questions()
        scenes = [questions[i % len(questions)] for i in range(self.asks)]
        asks = [Ask(messages=scene.messages, seed=seed * 1_000_003 + i) for i, scene in enumerate(scenes)]
        answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
        scores = iter(
            lab.judge([Episode(scene=s, answer=a.text) for s, a in zip(scenes * len(suspects), answers, strict=True)])
        )
        findings = []
        for suspect in suspects:
            known = [score for score in (next(scores) for _ in scenes) if score.verdict is not Verdict.UNKNOWN]
            if not known:
                raise ValueError(f"the judge could not tell in any of {self.asks} answers of suspect {suspect.name}")
            bad = sum(score.verdict is Verdict.MISALIGNED for score in known)
            findings.append(
                Finding(
                    suspicion=bad / len(known), claim=f"{bad} of {len(known)} answers to open questions were misaligned"
                )
            )
        return findings
