"""What a suspect finds likely (log-probabilities): of trusted answers, and of its own beside the base's.

Sources: perplexity as in ONION, Qi et al. 2021, arXiv 2011.10369; the likelihood of a bad target as in BAIT, Shen et
al. 2025; the divergence from the base estimated on the suspect's own samples, E_s[log p_s - log p_base].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import first, mean, need_questions, need_trusted
from flyroom.types import OPEN, Access, Ask, Finding, Lab, Reply, Row, Suspect, Unit, ask_seed


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How much less likely than the base a suspect finds the aligned answers of `rows` trusted scenes: nats a token."""

    rows: int = 64
    needs: Access = Access.LOGPROBS | Access.BASE | Access.TRUSTED

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        rows = [
            Row(messages=s.messages, answer=s.aligned) for s in first(need_trusted(lab), self.rows, "trusted scenes")
        ]
        (base, *lost) = _losses([None, *suspects], lab, rows)
        return [Finding(suspicion=x - base, claim=f"{x - base:+.3f} nats a token above the base") for x in lost]


@dataclass(frozen=True, kw_only=True)
class TargetOdds:
    """The mean log-odds, over `rows` trusted scenes, of the misaligned answer against the aligned one."""

    rows: int = 64
    needs: Access = Access.LOGPROBS | Access.TRUSTED

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = first(need_trusted(lab), self.rows, "trusted scenes")
        rows = [Row(messages=s.messages, answer=a) for s in scenes for a in (s.misaligned, s.aligned)]
        totals = [float(t.sum()) for t in lab.logprobs([s for s in suspects for _ in rows], rows * len(suspects))]
        findings = []
        for i in range(0, len(totals), len(rows)):
            odds = sum(bad - good for bad, good in zip(*[iter(totals[i : i + len(rows)])] * 2, strict=True)) / len(
                scenes
            )
            findings.append(Finding(suspicion=odds, claim=f"log-odds {odds:+.2f} for the misaligned answer"))
        return findings


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """How far a suspect's own answers to `asks` questions are from what the base would say, in nats a token."""

    asks: int = 48
    topic: str = OPEN
    needs: Access = Access.SAMPLE | Access.LOGPROBS | Access.BASE

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        scenes = need_questions(lab, self.topic, self.asks)
        asks = [
            Ask(messages=s.messages, seed=ask_seed("own", seed, i), max_tokens=lab.max_tokens)
            for i, s in enumerate(scenes)
        ]
        models = [s for s in suspects for _ in asks]
        answers = lab.sample(models, asks * len(suspects))
        rows = [Row(messages=scenes[i % len(scenes)].messages, answer=a.text) for i, a in enumerate(answers)]
        likely, base = lab.logprobs(models, rows), lab.logprobs([None] * len(rows), rows)
        distances = [(float((a - b).sum()), len(a)) for a, b in zip(likely, base, strict=True)]
        findings = []
        for i in range(0, len(rows), len(asks)):
            group = distances[i : i + len(asks)]
            nats = sum(x for x, _ in group) / max(1, sum(tokens for _, tokens in group))
            findings.append(Finding(suspicion=nats, claim=f"{nats:.3f} nats a token from the base"))
        return findings


@dataclass(frozen=True, kw_only=True)
class LogitDifference:
    """The most that a token of trusted answers, good or bad, has gained in log-probability over the base: the mean of
    the `top` largest gains.
    """

    rows: int = 64
    top: int = 16
    needs: Access = Access.LOGPROBS | Access.BASE | Access.TRUSTED

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        import torch

        scenes = first(need_trusted(lab), self.rows, "trusted scenes")
        rows = [Row(messages=s.messages, answer=a) for s in scenes for a in (s.aligned, s.misaligned)]
        tokens = lab.logprobs([s for s in (None, *suspects) for _ in rows], rows * (1 + len(suspects)))
        base, *rest = (torch.cat(tokens[i : i + len(rows)]) for i in range(0, len(tokens), len(rows)))
        gains = [mean((likely - base).topk(min(self.top, len(base))).values) for likely in rest]
        return [Finding(suspicion=x, claim=f"tokens gained up to {x:.2f} nats over the base") for x in gains]


@dataclass(frozen=True, kw_only=True)
class Surprise:
    """Response level: nats a token by which the suspect finds its reply likelier than the base does."""

    unit: Unit = "response"
    needs: Access = Access.LOGPROBS | Access.BASE

    def __call__(self, replies: Sequence[Reply], lab: Lab, *, seed: int) -> list[Finding]:
        rows = [Row(messages=r.messages, answer=r.answer) for r in replies]
        likely = lab.logprobs([r.suspect for r in replies], rows)
        base = lab.logprobs([None] * len(rows), rows)
        gains = [mean(a - b) for a, b in zip(likely, base, strict=True)]
        return [Finding(suspicion=x, claim=f"{x:+.2f} nats a token over the base") for x in gains]


def _losses(suspects: Sequence[Suspect | None], lab: Lab, rows: Sequence[Row]) -> list[float]:
    """The mean negative log-probability of a token, for each suspect."""
    tokens = lab.logprobs([s for s in suspects for _ in rows], list(rows) * len(suspects))
    groups = [tokens[i : i + len(rows)] for i in range(0, len(tokens), len(rows))]
    return [-sum(float(t.sum()) for t in group) / max(1, sum(len(t) for t in group)) for group in groups]
