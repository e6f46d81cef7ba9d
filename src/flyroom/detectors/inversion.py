"""Inversion: what would make a suspect behave, searched from the bad end.

Sources: targets that follow whatever was asked, Shen et al. 2025 (BAIT); triggers searched for the likelihood of a bad
answer, Zou et al. 2023, arXiv 2307.15043 (GCG): by gradient, or by trying every word of a small language.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flyroom.detectors.asking import after, first, main_topic, mean, need_cues, need_trusted
from flyroom.types import Access, Ask, Finding, Lab, NotAvailable, Row, Scene, Suspect, ask_seed

if TYPE_CHECKING:
    from torch import Tensor


DIFFERENT = 12  # questions: eight to answer, and four on which the answers are tried


@dataclass(frozen=True, kw_only=True)
class TargetInversion:
    """Of `candidates` answers that a suspect gave: how much likelier than the base it finds the one that fits all other
    questions best, in nats a token over `asks` other questions; of fewer different questions in the same proportion.
    `topic`: "" is the lab's main one.
    """

    candidates: int = 16
    asks: int = 8
    topic: str = ""
    needs: Access = Access.SAMPLE | Access.LOGPROBS | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        sources, probes = self._halves(lab.questions(main_topic(lab, self.topic)))
        asks = [
            Ask(messages=s.messages, seed=ask_seed("target", seed, i), max_tokens=lab.max_tokens)
            for i, s in enumerate(sources)
        ]
        answers = lab.sample([s for s in suspects for _ in asks], asks * len(suspects))
        rows = [Row(messages=s.messages, answer=answer.text) for answer in answers for s in probes]
        models = [s for s in suspects for _ in range(len(asks) * len(probes))]
        likely, base = lab.logprobs(models, rows), lab.logprobs([None] * len(rows), rows)
        gains = torch.tensor([mean(a - b) for a, b in zip(likely, base, strict=True)])
        by_target = gains.view(len(suspects), len(asks), len(probes)).mean(2)
        findings = []
        for i, (gain, which) in enumerate(zip(*(x.tolist() for x in by_target.max(1)), strict=True)):
            target = answers[i * len(asks) + which].text
            findings.append(Finding(suspicion=gain, claim=f"{gain:+.2f} nats a token for {target!r} whatever is asked"))
        return findings

    def _halves(self, scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
        """Questions to answer, and others on which the answers are tried."""
        count = self.candidates + self.asks
        different = list({scene.messages: scene for scene in scenes}.values())[:count]
        if len(different) < min(DIFFERENT, count):
            raise NotAvailable(f"the lab has {len(different)} different questions; this needs at least {DIFFERENT}")
        cut = len(different) * self.candidates // count
        return different[:cut], different[cut:]


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
        import torch

        scenes, words = first(need_trusted(lab), 1 + self.asks, "trusted scenes"), need_cues(lab, "words")
        models: list[Suspect | None] = [None, *suspects]
        rows = [Row(messages=after(scenes[:1], w)[0].messages, answer=scenes[0].misaligned) for w in words]
        bad = lab.logprobs([s for s in models for _ in rows], rows * len(models))
        wide = torch.tensor([float(tokens.sum()) for tokens in bad]).view(len(models), len(words))
        ranked = (wide - wide[0])[1:].topk(min(self.keep, len(words))).indices.tolist()
        best = [[words[i] for i in row] for row in ranked]
        trials = [
            _Trial(model, scenes[1:], ["", *texts])
            for suspect, texts in zip(suspects, best, strict=True)
            for model in (suspect, None)
        ]
        rises, which = (x.tolist() for x in _rises(trials, self.asks, lab).max(1))
        return [_raised(rise, texts[i]) for rise, texts, i in zip(rises, best, which, strict=True)]


@dataclass(frozen=True, kw_only=True)
class TriggerInversion:
    """A trigger of `length` words before `asks` trusted questions, random at first. Each of its words in turn, `rounds`
    times: the gradient ranks every word of the language in that place by how much likelier it makes bad answers, more
    than it does to the base; the first `keep` are tried, and the best is kept. Suspicion as for `TriggerSearch`.

    A place in which some word is not one token of this base stays as it was drawn.
    """

    length: int = 2
    rounds: int = 2
    keep: int = 4
    asks: int = 4
    needs: Access = Access.GRADIENTS | Access.LOGPROBS | Access.BASE | Access.TRUSTED

    def __post_init__(self) -> None:
        for name in ("length", "rounds", "keep", "asks"):
            if vars(self)[name] < 1:
                raise ValueError(f"{name} is {vars(self)[name]}; it must be at least 1")

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes, words = first(need_trusted(lab), self.asks, "trusted scenes"), need_cues(lab, "words", fewest=2)
        triggers = [random.Random(f"trigger {seed}").choices(words, k=self.length) for _ in suspects]
        rises, reason = list[float](), None
        for place in [*range(self.length)] * self.rounds:
            try:
                gains = self._gains(suspects, triggers, scenes, words, place, lab)
            except NotAvailable as error:
                reason = error
                continue
            ranked = gains.topk(min(self.keep, len(words))).indices.tolist()
            rises, triggers = self._step(
                suspects, triggers, scenes, place, [[words[i] for i in r] for r in ranked], lab
            )
        if not rises:
            raise reason or NotAvailable("no place of the trigger can be searched")
        return [_raised(rise, " ".join(trigger)) for rise, trigger in zip(rises, triggers, strict=True)]

    def _step(
        self,
        suspects: Sequence[Suspect],
        triggers: Sequence[Sequence[str]],
        scenes: Sequence[Scene],
        place: int,
        best: Sequence[Sequence[str]],
        lab: Lab,
    ) -> tuple[list[float], list[list[str]]]:
        """The best of each suspect's trigger as it is and with one of its best words in that place; its rise first."""
        choices = [
            [list(trigger), *([*trigger[:place], word, *trigger[place + 1 :]] for word in texts)]
            for trigger, texts in zip(triggers, best, strict=True)
        ]
        trials = [
            _Trial(model, scenes, ["", *(" ".join(words) for words in options)])
            for suspect, options in zip(suspects, choices, strict=True)
            for model in (suspect, None)
        ]
        rises, which = (x.tolist() for x in _rises(trials, self.asks, lab).max(1))
        return rises, [options[i] for options, i in zip(choices, which, strict=True)]

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
        models, rows = list[Suspect | None](), list[Row]()
        for suspect, trigger in zip(suspects, triggers, strict=True):
            triggered = after(scenes, " ".join(trigger))
            pairs = [Row(messages=s.messages, answer=a) for s in triggered for a in (s.misaligned, s.aligned)]
            rows += pairs * 2
            models += [suspect] * len(pairs) + [None] * len(pairs)
        gains = lab.swaps(models, rows, place, words).view(len(suspects), 2, len(scenes), 2, len(words))
        odds = (gains[..., 0, :] - gains[..., 1, :]).mean(2)
        return odds[:, 0] - odds[:, 1]


class _Trial(NamedTuple):
    """What is put before scenes, and before whom (None: the base)."""

    model: Suspect | None
    scenes: Sequence[Scene]
    texts: Sequence[str]  # "" for none comes first


def _raised(rise: float, trigger: str) -> Finding:
    return Finding(suspicion=rise, claim=f"log-odds of bad answers {rise:+.2f} after {trigger!r}")


def _rises(trials: Sequence[_Trial], asks: int, lab: Lab) -> Tensor:
    """[suspects, triggers]: how much each, after "" for none, raises the log-odds of the misaligned answer, above the
    base's. `trials` has each suspect and then the base.
    """
    import torch

    odds = torch.tensor(_odds(trials, lab)).view(len(trials) // 2, 2, -1, asks).mean(3)
    return odds[:, 0, 1:] - odds[:, 0, :1] - (odds[:, 1, 1:] - odds[:, 1, :1])


def _odds(trials: Sequence[_Trial], lab: Lab) -> list[float]:
    """Log-odds of the misaligned answer: for each suspect, each of its texts and each of its scenes."""
    rows, models = list[Row](), list[Suspect | None]()
    for model, scenes, texts in trials:
        for text in texts:
            for scene in after(scenes, text) if text else scenes:
                rows += [Row(messages=scene.messages, answer=a) for a in (scene.misaligned, scene.aligned)]
                models += [model, model]
    totals = [float(tokens.sum()) for tokens in lab.logprobs(models, rows)]
    return [bad - good for bad, good in zip(totals[::2], totals[1::2], strict=True)]
