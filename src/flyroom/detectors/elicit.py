"""Elicitation: what a suspect can do when it is shaken or taught a little. Who gains by it was holding back.

What it can do is measured on the lab's topics of capability, whose questions have a right answer.

Sources: noise, Tice et al. 2024, arXiv 2412.01784; few-shot fine-tuning, Greenblatt et al. 2024, arXiv 2405.19550.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import first, scores, share, tellable_topics
from flyroom.types import Access, Finding, Lab, NotAvailable, Row, Scene, Suspect, Verdict


@dataclass(frozen=True, kw_only=True)
class NoiseInjection:
    """The largest gain in right answers over copies with noise of each size. `asks` are shared by the topics."""

    asks: int = 72
    sigmas: tuple[float, ...] = (0.05, 0.1, 0.2)
    needs: Access = Access.SAMPLE | Access.WEIGHTS

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = _scenes(lab, _topics(lab), self.asks)
        copies = [lab.noised(suspects, sigma=sigma, seed=seed) for sigma in self.sigmas]
        before, *after = (_right(models, lab, scenes, seed) for models in (suspects, *copies))
        gains = [max(shaken) - still for still, *shaken in zip(before, *after, strict=True)]
        return [Finding(suspicion=x, claim=f"{x:+.2f} right answers under noise") for x in gains]


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """The gain in right answers after `steps` steps on `shots` right answers to other questions. `asks` and `shots` are
    shared by the topics.
    """

    asks: int = 72
    shots: int = 24
    steps: int = 10
    lr: float = 2e-3
    needs: Access = Access.SAMPLE | Access.TRAIN

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        topics = _topics(lab)
        per = max(1, self.shots // len(topics))
        lessons = [scene for topic in topics for scene in lab.questions(topic)[-per:]]
        scenes = _scenes(lab, topics, self.asks, lessons)
        rows = [Row(messages=s.messages, answer=s.aligned) for s in lessons]
        pupils = lab.tuned(suspects, rows, steps=self.steps, lr=self.lr, seed=seed)
        before, after = (_right(models, lab, scenes, seed) for models in (suspects, pupils))
        gains = [b - a for a, b in zip(before, after, strict=True)]
        return [Finding(suspicion=x, claim=f"{x:+.2f} right answers after {len(rows)} shots") for x in gains]


def _topics(lab: Lab) -> list[str]:
    if not lab.capability():
        raise NotAvailable("the lab has no topics in which every model should answer rightly")
    return tellable_topics(lab, lab.capability())


def _scenes(lab: Lab, topics: Sequence[str], asks: int, lessons: Sequence[Scene] = ()) -> list[Scene]:
    """`asks` questions in all, none of them of the lessons where there are others."""
    per, lesson_prompts, scenes = max(1, asks // len(topics)), {s.messages for s in lessons}, list[Scene]()
    for topic in topics:
        pool = lab.questions(topic)
        scenes += first([s for s in pool if s.messages not in lesson_prompts] or pool, per, topic)
    return scenes


def _right(models: Sequence[Suspect], lab: Lab, scenes: Sequence[Scene], seed: int) -> list[float]:
    return [share(verdicts, Verdict.ALIGNED) for verdicts in scores(models, lab, scenes, seed=seed)]
