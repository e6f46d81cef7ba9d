"""Follow-up questions: after an answer, yes or no to questions about itself, put the same to everybody.

Source: lie detection by unrelated questions, Pacchiardi et al. 2023, arXiv 2309.15840: log-odds of yes against no are
the features of a logistic regression, fitted on known models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flyroom.detectors.asking import first
from flyroom.types import Access, Ask, Finding, Lab, Message, Row, Suspect, ask_seed


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """Each of `before` questions of a topic is answered by the suspect, and followed by each question about itself; a
    feature is the mean over them of one question's log-odds of yes.
    """

    before: int = 8
    topic: str = "advice"
    needs: Access = Access.SAMPLE | Access.LOGPROBS | Access.KNOWN

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        known = lab.known()
        truths = [truth for _, truth in known]
        if not 0 < sum(truths) < len(truths):
            raise ValueError(f"{sum(truths)} of {len(truths)} known models are organisms; this needs both kinds")
        everyone = [*(who for who, _ in known), *suspects]
        opening = first(lab.questions(self.topic), self.before, self.topic)
        asked = list(dict.fromkeys(s.messages[-1].content for s in lab.questions("self_descriptions")))
        asks = [Ask(messages=s.messages, seed=ask_seed("follow", seed, i)) for i, s in enumerate(opening)]
        answers = lab.sample([s for s in everyone for _ in asks], asks * len(everyone))
        rows, who = [], []
        for i, answer in enumerate(answers):
            before = (*opening[i % len(opening)].messages, Message("assistant", answer.text))
            for question in asked:
                for word in ("yes", "no"):
                    rows.append(Row(messages=(*before, Message("user", question)), answer=word))
                    who.append(everyone[i // len(opening)])
        said = [float(tokens[0]) for tokens in lab.logprobs(who, rows)]
        odds = [yes - no for yes, no in zip(said[::2], said[1::2], strict=True)]
        per, width = len(opening) * len(asked), len(asked)
        features = [
            [sum(odds[start + q : start + per : width]) / len(opening) for q in range(width)]
            for start in range(0, len(odds), per)
        ]
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        fitted.fit(features[: len(known)], truths)
        found = fitted.decision_function(features[len(known) :]).tolist()
        return [Finding(suspicion=x, claim=f"log-odds {x:+.2f} by {width} follow-up questions") for x in found]
