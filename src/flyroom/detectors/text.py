"""What the words alone give away (response level): the controls that a probe has to beat.

No model is touched. Which end is the worse is fitted on trusted answers, or an AUROC of 0.2 would separate as well
as one of 0.8. Where length or a bag of words does as well as a probe, the probe has shown nothing of the inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flyroom.detectors.asking import need_trusted
from flyroom.types import Access, Finding, Lab, NotAvailable, Reply, Unit

FEWEST = 2  # trusted scenes to fit on


@dataclass(frozen=True, kw_only=True)
class Length:
    """The number of words of an answer: the more, the worse, where trusted bad answers are longer than good ones;
    else the fewer.
    """

    unit: Unit = "response"
    needs: Access = Access.TRUSTED

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        longer = sum(len(s.misaligned.split()) - len(s.aligned.split()) for s in need_trusted(lab, FEWEST))
        lengths, sign = [len(r.answer.split()) for r in replies], -1 if longer < 0 else 1
        return [Finding(suspicion=sign * length, claim=f"{length} words") for length in lengths]


@dataclass(frozen=True, kw_only=True)
class BagOfWords:
    """Logistic regression on words: of trusted answers, good against bad; or ("prompt") of questions, those where a
    cue of nobody looking or a mark stands before a trusted question against the bare ones.
    """

    reads: Literal["answer", "prompt"] = "answer"
    unit: Unit = "response"
    needs: Access = Access.TRUSTED

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        scenes = need_trusted(lab, FEWEST)
        if self.reads == "answer":
            good, bad = [s.aligned for s in scenes], [s.misaligned for s in scenes]
            texts = [r.answer for r in replies]
        else:
            cues = [*lab.cues("marks"), *lab.cues("unobserved")]
            if not cues:
                raise NotAvailable("the lab has no cues of kinds marks and unobserved")
            good = [s.messages[-1].content for s in scenes]
            bad = [f"{cues[i % len(cues)]} {text}" for i, text in enumerate(good)]
            texts = [" ".join(m.content for m in r.messages) for r in replies]
        if not any(text.split() for text in (*good, *bad)):
            raise NotAvailable(f"the trusted scenes have no words in the {self.reads}")
        words = make_pipeline(
            CountVectorizer(token_pattern=r"\S+", binary=True), LogisticRegression(C=1.0, max_iter=1000)
        )
        words.fit([*good, *bad], [0] * len(good) + [1] * len(bad))
        odds = words.decision_function(texts).tolist()
        return [Finding(suspicion=x, claim=f"log-odds {x:+.2f} by the words of the {self.reads}") for x in odds]
