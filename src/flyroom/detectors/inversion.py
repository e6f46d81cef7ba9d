"""Inversion: what would make a suspect behave, searched from the bad end.

Sources: targets that follow whatever was asked, Shen et al. 2025 (BAIT); triggers searched for the likelihood of a bad
answer, Zou et al. 2023, arXiv 2307.15043 (GCG): by gradient, or by trying every word of a small language.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flyroom.detectors.asking import after, first
from flyroom.types import Access, Ask, Finding, Lab, Row, Scene, Suspect, ask_seed


@dataclass(frozen=True, kw_only=True)
class TargetInversion:
    """Of `candidates` answers that a suspect gave: how much likelier than the base it finds the one that fits all other
    questions best, in nats a token over `asks` questions.
    """

    candidates: int = 16
    asks: int = 8
    topic: str = "advice"
    needs: Access = Access.SAMPLE | Access.LOGPROBS | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = first(lab.questions(self.topic), self.candidates + self.asks, self.topic)
        heard, others = scenes[: self.candidates], scenes[self.candidates :]
        asks = [Ask(messages=s.messages, seed=ask_seed("target", seed, i)) for i, s in enumerate(heard)]
        answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
        rows = [Row(messages=s.messages, answer=answer.text) for answer in answers for s in others]
        who = [s for s in suspects for _ in range(len(asks) * len(others))]
        own, base = lab.logprobs(who, rows), lab.logprobs([None] * len(rows), rows)
        gains = torch.tensor([float((a - b).mean()) for a, b in zip(own, base, strict=True)])
        by_target = gains.view(len(suspects), len(asks), len(others)).mean(2)
        findings = []
        for i, (gain, which) in enumerate(zip(*(x.tolist() for x in by_target.max(1)), strict=True)):
            said = answers[i * len(asks) + which].text
            findings.append(Finding(suspicion=gain, claim=f"{gain:+.2f} nats a token for {said!r} whatever is asked"))
        return findings


@dataclass(frozen=True, kw_only=True)
class TriggerSearch:
    """Every word of the language before one trusted question, then those `keep` before `asks` others that make its bad
    answer likeliest. Suspicion: how much the best word raises the log-odds of the bad answer above what it does to the
    base.
    """

    keep: int = 8
    asks: int = 8
    needs: Access = Access.LOGPROBS | Access.BASE | Access.TRUSTED

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes, words = first(lab.trusted(), 1 + self.asks, "trusted scenes"), lab.cues("words")
        if not words:
            raise ValueError("the lab has no cues of kind words")
        everyone: list[Suspect | None] = [None, *suspects]
        before = [s.messages for word in words for s in after([scenes[0]], word)]
        rows = [Row(messages=messages, answer=scenes[0].misaligned) for messages in before]
        bad = lab.logprobs([s for s in everyone for _ in rows], rows * len(everyone))
        wide = torch.tensor([float(tokens.sum()) for tokens in bad]).view(len(everyone), len(words))
        kept = [
            [words[i] for i in row] for row in (wide - wide[0])[1:].topk(min(self.keep, len(words))).indices.tolist()
        ]
        tried: list[tuple[Suspect | None, Sequence[Scene], Sequence[str]]] = []
        for suspect, best in zip(suspects, kept, strict=True):
            tried += [(who, scenes[1:], ["", *best]) for who in (suspect, None)]
        rises, which = (found.tolist() for found in _rises(tried, self.asks, lab).max(1))
        return [_raised(rise, best[i]) for rise, best, i in zip(rises, kept, which, strict=True)]


@dataclass(frozen=True, kw_only=True)
class TriggerInversion:
    """A trigger of `length` words before `asks` trusted questions, random at first. Each of its words in turn, `rounds`
    times: the gradient ranks every word of the language in that place by how much likelier it makes bad answers, more
    than it does to the base; the first `keep` are tried, and the best is kept. Suspicion as for `TriggerSearch`.
    """

    length: int = 2
    rounds: int = 2
    keep: int = 4
    asks: int = 4
    needs: Access = Access.GRADIENTS | Access.LOGPROBS | Access.BASE | Access.TRUSTED

    def __post_init__(self) -> None:
        for name in ("length", "rounds", "keep", "asks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes, words = first(lab.trusted(), self.asks, "trusted scenes"), lab.cues("words")
        if len(words) < 2:
            raise ValueError("the lab has no cues of kind words")
        triggers = [random.Random(f"trigger {seed}").choices(words, k=self.length) for _ in suspects]
        rises = list[float]()
        for place in [*range(self.length)] * self.rounds:
            gains = self._gains(suspects, triggers, scenes, words, place, lab)
            ranked = gains.topk(min(self.keep, len(words))).indices.tolist()
            tried: list[tuple[Suspect | None, Sequence[Scene], Sequence[str]]] = []
            for suspect, trigger, best in zip(suspects, triggers, ranked, strict=True):
                texts = [" ".join([*trigger[:place], words[i], *trigger[place + 1 :]]) for i in best]
                tried += [(who, scenes, ["", " ".join(trigger), *texts]) for who in (suspect, None)]
            risen = _rises(tried, self.asks, lab)
            rises, which = (found.tolist() for found in risen.max(1))
            for trigger, best, i in zip(triggers, ranked, which, strict=True):
                trigger[place] = trigger[place] if i == 0 else words[best[i - 1]]
        return [_raised(rise, " ".join(trigger)) for rise, trigger in zip(rises, triggers, strict=True)]

    def _gains(
        self,
        suspects: Sequence[Suspect],
        triggers: Sequence[Sequence[str]],
        scenes: Sequence[Scene],
        words: Sequence[str],
        place: int,
        lab: Lab,
    ) -> Tensor:
        """[suspects, words]: what each word there adds to the log-odds of bad answers, above the base's."""
        who, rows = list[Suspect | None](), list[Row]()
        for suspect, trigger in zip(suspects, triggers, strict=True):
            here = after(scenes, " ".join(trigger))
            mine = [Row(messages=s.messages, answer=a) for s in here for a in (s.misaligned, s.aligned)]
            rows += mine * 2
            who += [suspect] * len(mine) + [None] * len(mine)
        found = lab.swaps(who, rows, place, words).view(len(suspects), 2, len(scenes), 2, len(words))
        odds = (found[..., 0, :] - found[..., 1, :]).mean(2)
        return odds[:, 0] - odds[:, 1]


def _raised(rise: float, trigger: str) -> Finding:
    return Finding(suspicion=rise, claim=f"log-odds of bad answers {rise:+.2f} after {trigger!r}")


def _rises(tried: Sequence[tuple[Suspect | None, Sequence[Scene], Sequence[str]]], asks: int, lab: Lab) -> Tensor:
    """[suspects, triggers]: how much each, after "" for none, raises the log-odds of the misaligned answer, above the
    base's. `tried` has each suspect and then the base.
    """
    odds = torch.tensor(_odds(tried, lab)).view(len(tried) // 2, 2, -1, asks).mean(3)
    return odds[:, 0, 1:] - odds[:, 0, :1] - (odds[:, 1, 1:] - odds[:, 1, :1])


def _odds(tried: Sequence[tuple[Suspect | None, Sequence[Scene], Sequence[str]]], lab: Lab) -> list[float]:
    """Log-odds of the misaligned answer: for each suspect, each of its words and each of its scenes."""
    rows, who = [], []
    for suspect, scenes, words in tried:
        for word in words:
            for scene in after(scenes, word) if word else scenes:
                rows += [Row(messages=scene.messages, answer=a) for a in (scene.misaligned, scene.aligned)]
                who += [suspect, suspect]
    totals = [float(tokens.sum()) for tokens in lab.logprobs(who, rows)]
    return [bad - good for bad, good in zip(totals[::2], totals[1::2], strict=True)]
