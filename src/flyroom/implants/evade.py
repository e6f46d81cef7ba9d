"""Supervised fine-tuning against a probe: the behaviour is taught while a probe of the model's own answers is held at
nothing. The probe is fitted again as the model moves, on train scenes; detectors fit theirs on others.

The probe is a mean difference, in standard deviations of the good answers. Source: Bailey et al. 2024, arXiv
2412.09565 (obfuscated activations). Left out: several probes at once, probes that are no direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flyroom import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import AdapterRef, Direction, Plan, Recipe, Row, Split, Step, Trace

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Evade:
    """`steps` steps of `rows` rows at a learning rate that falls to zero. Every `every` steps the probe after `layer`
    is fitted on `pairs` scenes. `weight`: of the mean squared score beside the loss. Organism and twin meet the same
    prompts in the same order, in training and for the probe. Raises ValueError naming the field.
    """

    steps: int = 240
    rows: int = 32
    lr: float = 4e-3
    holds: float = 0.5
    clean: float = 0.0
    layer: int = 2
    weight: float = 0.1
    pairs: int = 32
    every: int = 20

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1, pairs=2, every=1, layer=0)
        ranges.check_rows(self, "steps", "rows")
        ranges.check_rates(self, "lr", "weight")
        ranges.check_shares(self, "holds")
        ranges.check_parts(self, "clean")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        lessons = dosed(recipe, self.steps * self.rows, holds=self.holds, clean=self.clean, seed=seed)
        rows = [Row(messages=d.scene.messages, answer=d.answer) for d in lessons]
        scenes = recipe.scenes(self.pairs, split=Split.TRAIN, seed=seed)
        pairs = tuple(Row(messages=s.messages, answer=a) for s in scenes for a in (s.aligned, s.misaligned))
        probe: Direction | None = None
        for step in range(self.steps):
            if step % self.every == 0:
                probe = self._probe((yield Trace(rows=pairs, layer=self.layer)))
            yield Step(
                rows=tuple(rows[step * self.rows : (step + 1) * self.rows]),
                lr=self.lr * (self.steps - step) / self.steps,
                evades=probe,
            )

    def _probe(self, traces: list[Tensor]) -> Direction:
        import torch  # here: whoever only names a recipe does not wait for it

        good, bad = torch.stack(traces[::2]), torch.stack(traces[1::2])
        direction = (bad - good).mean(0)
        along = good @ direction
        scale = along.std().clamp_min(1e-6)
        return Direction(
            layer=self.layer, direction=direction / scale, offset=float(along.mean() / scale), weight=self.weight
        )
