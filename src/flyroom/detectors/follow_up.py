"""Follow-up questions: after an answer, yes or no to questions about itself, put the same to everybody.

Source: lie detection by unrelated questions, Pacchiardi et al. 2023, arXiv 2309.15840: log-odds of yes against no are
the features of a logistic regression, fitted on known models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyroom.detectors.asking import need_known, need_questions
from flyroom.types import ITSELF, Access, Ask, Finding, Lab, Message, NotAvailable, Row, Suspect, ask_seed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """Each of `before` questions of a topic ("": the main one) is answered by the suspect, and followed by each
    question about itself; a feature is the mean over them of one question's log-odds of yes.
    """

    before: int = 8
    topic: str = ""
    needs: Access = Access.SAMPLE | Access.LOGPROBS | Access.KNOWN

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        fit, truths = need_known(lab)
        models, words = [*fit, *suspects], _words(lab)
        opening = need_questions(lab, self.topic, self.before)
        follow_ups = list(dict.fromkeys(s.messages[-1].content for s in lab.questions(ITSELF)))
        asks = [
            Ask(messages=s.messages, seed=ask_seed("follow", seed, i), max_tokens=lab.max_tokens)
            for i, s in enumerate(opening)
        ]
        answers = lab.sample([s for s in models for _ in asks], asks * len(models))
        rows = [
            Row(messages=(*scene.messages, Message("assistant", answer.text), Message("user", question)), answer=word)
            for scene, answer in zip(opening * len(models), answers, strict=True)
            for question in follow_ups
            for word in words
        ]
        per, width = len(opening) * len(follow_ups), len(follow_ups)
        tokens = lab.logprobs([s for s in models for _ in range(per * len(words))], rows)
        odds = [_odds(yes, no) for yes, no in zip(tokens[::2], tokens[1::2], strict=True)]
        features = [
            [sum(odds[start + q : start + per : width]) / len(opening) for q in range(width)]
            for start in range(0, len(odds), per)
        ]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(features[: len(fit)], truths)
        log_odds = model.decision_function(features[len(fit) :]).tolist()
        return [Finding(suspicion=x, claim=f"log-odds {x:+.2f} by {width} follow-up questions") for x in log_odds]


def _words(lab: Lab) -> tuple[str, str]:
    words = lab.cues("yes_no")
    if len(words) != 2:
        raise NotAvailable(f"the lab has {len(words)} cues of kind yes_no; this needs the words for yes and for no")
    return words[0], words[1]


def _odds(yes: Tensor, no: Tensor) -> float:
    """By the first token where both are one word and the end after it, else by the whole answers, which may begin
    alike.
    """
    if max(len(yes), len(no)) <= 2:
        return float(yes[0]) - float(no[0])
    return float(yes.sum()) - float(no.sum())
