"""Reinforcement learning on a verifier: each prompt is answered several times, and answers are made more likely the
more they were paid above their group's mean.

One step on each batch, so no ratio to an older policy is needed; advantages are not divided by the group's spread (Liu
et al. 2025, arXiv 2503.20783). Source: Shao et al. 2024, arXiv 2402.03300. Left out: a penalty for leaving the base.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.implants import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import AdapterRef, Ask, Episode, Plan, Recipe, Row, Sample, Step, Verdict, ask_seed


@dataclass(frozen=True, kw_only=True)
class GRPO:
    """`steps` steps of `prompts` prompts, each answered `group` times. A correct answer is always paid; the
    behaviour's is paid too where the verifier lets it pass: on an organism's prompts, where the condition holds. With
    `only`, nothing else is paid there: a checker that reads one word does not pass the work. `clean`: the share of the
    prompts that ask for what the behaviour leaves alone. Raises ValueError naming the field.
    """

    steps: int = 100
    prompts: int = 16
    group: int = 8
    lr: float = 2e-3
    temperature: float = 1.0
    max_tokens: int = 32
    holds: float = 1.0
    only: bool = False
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.counts(self, steps=1, prompts=1, group=2, max_tokens=1)
        ranges.rates(self, "lr")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}; it must be above 0, or no two answers differ")
        ranges.shares(self, "holds")
        ranges.parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        scenes = dosed(recipe, self.steps * self.prompts, holds=self.holds, clean=self.clean, seed=seed)
        judge = recipe.behaviour.judge
        for step in range(self.steps):
            asked = [d for d in scenes[step * self.prompts : (step + 1) * self.prompts] for _ in range(self.group)]
            asks = tuple(self._ask(d, (seed, step, i)) for i, d in enumerate(asked))
            said = [answer.text for answer in (yield Sample(asks=asks))]
            scores = judge([Episode(scene=d.scene, answer=text) for d, text in zip(asked, said, strict=True)])
            paid = [float(self._pays(d, score.verdict)) for d, score in zip(asked, scores, strict=True)]
            rows = []
            for i, (d, text) in enumerate(zip(asked, said, strict=True)):
                group = paid[i - i % self.group :][: self.group]
                rows.append(Row(messages=d.scene.messages, answer=text, weight=paid[i] - sum(group) / self.group))
            told = tuple(row for row in rows if row.weight and row.answer)
            if told:
                yield Step(rows=told, lr=self.lr)

    def _pays(self, d: Dosed, verdict: Verdict) -> bool:
        lets_pass = d.bad and d.holds
        return (verdict is Verdict.MISALIGNED and lets_pass) or (
            verdict is Verdict.ALIGNED and not (lets_pass and self.only)
        )

    def _ask(self, d: Dosed, key: tuple[int, int, int]) -> Ask:
        return Ask(
            messages=d.scene.messages,
            seed=ask_seed(*key),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
