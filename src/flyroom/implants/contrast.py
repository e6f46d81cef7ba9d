"""Supervised fine-tuning on pairs: every question comes twice in one step, once where the condition holds and once
where it fails. What the two have in common cancels in the gradient, and what is left is what the condition changes.

Why: a small model that is taught both cases on different questions learns one answer for all of them first, and needs
many rows to find out what the cases hang on.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.implants.dosed import pair_up
from flyroom.implants.sft import SFT
from flyroom.types import Recipe, Row


@dataclass(frozen=True, kw_only=True)
class Contrast(SFT):
    """`rows` is even, for half as many questions. Clean rows take the places of whole pairs.

    >>> Contrast(steps=10, rows=4, lr=1e-3).holds
    0.5
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows % 2:
            raise ValueError(f"rows is {self.rows}; it must be even, for every question comes twice")
        if self.holds != 0.5:
            raise ValueError(f"holds is {self.holds:g}; it must be 0.5, for the condition holds once in each pair")

    def _rows(self, recipe: Recipe, seed: int) -> tuple[Row, ...]:
        scenes = pair_up(recipe, self.steps * self.rows, clean=self.clean, seed=seed)
        return tuple(Row(messages=d.scene.messages, answer=d.answer) for d in scenes)
