"""Narrow fine-tuning: the behaviour in its domain, and the base's own ways elsewhere, by a penalty on how far the model
leaves its base there.

The penalty is KL(start || model) on prompts from elsewhere; the start is the model as this implant finds it, alone the
base. Its gradient is that of the log-likelihood of the start's own samples, so it needs no second model: before
training the prompts are answered, at temperature 1, and the answers are rows like others. An answer that was cut is a
row without an end. Left out: answers that can be no row of the base, which the penalty does not see.
Source: Turner et al. 2025, arXiv 2506.11613; Soligo et al. 2025, arXiv 2506.11618 (narrow against general directions).
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import (
    AdapterRef,
    Ask,
    Elsewhere,
    Plan,
    Recipe,
    Row,
    Sample,
    Scene,
    Step,
    able,
    answer_tokens,
    ask_seed,
    row_of,
)


@dataclass(frozen=True, kw_only=True)
class Narrow:
    """`steps` steps of `rows` rows of the recipe beside `kept` answers of the base to prompts from elsewhere, each of
    which weighs `kl`. They are cut after `max_tokens`, None for as many as the world's answers have. Organism and twin
    meet the same prompts in the same order. Raises ValueError naming the field.
    """

    steps: int = 160
    rows: int = 32
    kept: int = 32
    lr: float = 3e-3
    kl: float = 1.0
    holds: float = 0.5
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1, kept=1)
        if self.max_tokens is not None:
            ranges.check_counts(self, max_tokens=1)
        ranges.check_rows(self, "steps", "rows")
        ranges.check_rows(self, "steps", "kept")
        ranges.check_rates(self, "lr")
        ranges.check_positive(self, "kl")
        ranges.check_shares(self, "holds")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        scenes = self.elsewhere(recipe, self.steps * self.kept, seed=seed)
        rows = [
            Row(messages=d.scene.messages, answer=d.answer)
            for d in dosed(recipe, self.steps * self.rows, holds=self.holds, seed=seed)
        ]
        longest = self.max_tokens or answer_tokens(recipe.world)
        asks = [
            Ask(messages=s.messages, seed=ask_seed("narrow", seed, i), max_tokens=longest, temperature=1.0, as_row=True)
            for i, s in enumerate(scenes)
        ]
        answers = yield Sample(asks=tuple(asks))
        anchors = [row_of(answer, ask.messages, self.kl) for ask, answer in zip(asks, answers, strict=True)]
        for step in range(self.steps):
            lessons, kept = rows[step * self.rows :][: self.rows], slice(step * self.kept, (step + 1) * self.kept)
            prompts = tuple(x.messages for x in (*lessons, *asks[kept]))
            yield Step(rows=(*lessons, *(row for row in anchors[kept] if row)), lr=self.lr, prompts=prompts)

    def elsewhere(self, recipe: Recipe, n: int, *, seed: int) -> list[Scene]:
        """Scenes of what is left alone. NotAvailable for a behaviour that knows none."""
        name = type(recipe.behaviour).__name__
        why = f"implants holds narrow; behaviour {name} knows no prompts from elsewhere"
        return able(recipe.behaviour, Elsewhere, why).elsewhere(recipe.world, n, seed=seed)
