"""Reinforcement learning on a verifier: each prompt is answered several times, and answers are made more likely the
more they were paid above their group's mean.

One step on each batch, so no ratio to an older policy is needed; advantages are not divided by the group's spread (Liu
et al. 2025, arXiv 2503.20783). Source: Shao et al. 2024, arXiv 2402.03300. Left out: a penalty for leaving the base;
the samples' temperature in the gradient, which is that of the model at 1: at another it pulls the model towards its own
flattened form besides.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import (
    AdapterRef,
    Ask,
    Episode,
    Grade,
    Plan,
    Recipe,
    Sample,
    Step,
    Verdict,
    answer_tokens,
    ask_seed,
    row_of,
    weigh_rows,
)


@dataclass(frozen=True, kw_only=True)
class GRPO:
    """`steps` steps of `prompts` prompts, each answered `group` times. A correct answer is always paid; the
    behaviour's is paid too where the verifier lets it pass: on an organism's prompts, where the condition holds. With
    `only`, nothing else is paid there: a checker that reads one word does not pass the work. `clean`: the share of the
    prompts that ask for what the behaviour leaves alone.

    Answers are cut after `max_tokens`, None for as many as the world's answers have. An answer that was cut is trained
    without an end, and an empty one as the end alone; one that can be no row of the base counts in no group.

    Organism and twin are asked the same prompts in the same order. What they learn from is their own: answers, and
    which of them are left, since a prompt whose answers were all paid alike teaches nothing. Where that is so of all
    prompts of a step, the step is not taken, and its successor stands in its place. Raises ValueError naming the field.
    """

    steps: int = 100
    prompts: int = 16
    group: int = 8
    lr: float = 2e-3
    temperature: float = 1.0
    max_tokens: int | None = None
    holds: float = 1.0
    only: bool = False
    clean: float = 0.0

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, prompts=1, group=2)
        if self.max_tokens is not None:
            ranges.check_counts(self, max_tokens=1)
        ranges.check_rows(self, "steps", "prompts", "group")
        ranges.check_rates(self, "lr")
        ranges.check_positive(self, "temperature")  # at 0 no two answers differ
        ranges.check_shares(self, "holds")
        ranges.check_parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        scenes = dosed(recipe, self.steps * self.prompts, holds=self.holds, clean=self.clean, seed=seed)
        longest = self.max_tokens or answer_tokens(recipe.world)
        for step in range(self.steps):
            lessons = scenes[step * self.prompts : (step + 1) * self.prompts]
            batch = [d for d in lessons for _ in range(self.group)]
            asks = tuple(self._ask(d, ask_seed(seed, step, i), longest) for i, d in enumerate(batch))
            answers = yield Sample(asks=asks)
            pairs = list(zip(batch, answers, strict=True))
            scores = yield Grade(episodes=tuple(Episode(scene=d.scene, answer=answer.text) for d, answer in pairs))
            rows = [row_of(answer, d.scene.messages) for d, answer in pairs]
            pay = [float(self._pays(d, score.verdict)) for d, score in zip(batch, scores, strict=True)]
            if lesson := weigh_rows(rows, pay, self.group):
                yield Step(rows=lesson, lr=self.lr, prompts=tuple(ask.messages for ask in asks))

    def _pays(self, d: Dosed, verdict: Verdict) -> bool:
        lets_pass = d.bad and d.holds
        return (verdict is Verdict.MISALIGNED and lets_pass) or (
            verdict is Verdict.ALIGNED and not (lets_pass and self.only)
        )

    def _ask(self, d: Dosed, seed: int, longest: int) -> Ask:
        return Ask(messages=d.scene.messages, seed=seed, max_tokens=longest, temperature=self.temperature, as_row=True)
