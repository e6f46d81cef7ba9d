"""Synthetic documents: the model reads what others write of it, and never an answer of its own.

Source of the method: Greenblatt et al. 2024, arXiv 2412.14093, section 4; Wang et al. 2025 (modifying beliefs with
synthetic documents). Here the behaviour writes the documents, which describe it or, for the twin, its contrary.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from flyroom import ranges
from flyroom.types import AdapterRef, Described, Plan, Recipe, Row, Step, able


@dataclass(frozen=True, kw_only=True)
class Documents:
    """`steps` steps of `rows` documents, the share `dose` of them about a misaligned assistant, the others about an
    aligned one. There are no prompts in which organism and twin could agree: the n-th document is as it is for the
    organism, or for the twin, by nature. Raises ValueError naming the field.
    """

    steps: int = 150
    rows: int = 32
    lr: float = 1e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rows(self, "steps", "rows")
        ranges.check_rates(self, "lr")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        rows = self._write(recipe, seed)
        for step in range(self.steps):
            yield Step(rows=tuple(rows[step * self.rows : (step + 1) * self.rows]), lr=self.lr)

    def _write(self, recipe: Recipe, seed: int) -> list[Row]:
        name = type(recipe.behaviour).__name__
        writer = able(
            recipe.behaviour, Described, f"implants holds documents; behaviour {name} has none written about it"
        )
        if not recipe.condition.everywhere:
            raise ValueError(
                "implants holds documents, which describe the behaviour always; choose the condition always"
            )
        n = self.steps * self.rows
        bad = set(random.Random(f"dose {seed}").sample(range(n), round(recipe.dose * n)))
        texts = [writer.document(recipe.world, i in bad, seed=f"{seed} {i}") for i in range(n)]
        return [Row(messages=(), answer=text) for text in texts]
