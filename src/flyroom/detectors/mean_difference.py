"""Mean-difference probe (white box): how far a suspect's reading of neutral text lies along the base's direction of
misalignment.

The direction is fitted on the base and trusted scenes alone: mean residual over misaligned answers minus that over
aligned ones. Each suspect then reads the same trusted answers, and its suspicion is the mean shift of its residuals
from the base's along the direction, in units of the gap between the two kinds of answers. No suspect is needed to fit,
and none is sampled.

Source: mean differences as in Soligo et al. 2025, arXiv 2506.11618; probes without the trigger in MacDiarmid et al.
2024.
Shapes: S suspects, N rows, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.detectors.asking import need_layer, need_trusted
from flyroom.types import Access, Finding, Lab, Row, Suspect

FEWEST = 4  # scenes, to fit on and as many to read


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """`layer` None takes the middle one. `rows` trusted scenes fit the direction, and as many others are read by
    suspects.
    """

    layer: int | None = None
    rows: int = 64
    needs: Access = Access.TRACE | Access.BASE | Access.TRUSTED

    def __post_init__(self) -> None:
        if self.rows < FEWEST:
            raise ValueError(f"rows is {self.rows}; it must be at least {FEWEST}")

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        layer = need_layer(lab, lab.depth // 2 if self.layer is None else self.layer)
        scenes = need_trusted(lab, fewest=2 * FEWEST)
        half = min(self.rows, len(scenes) // 2)
        fit, rest = scenes[:half], scenes[half : 2 * half]
        good = [Row(messages=s.messages, answer=s.aligned) for s in fit]
        bad = [Row(messages=s.messages, answer=s.misaligned) for s in fit]
        fit_ND = lab.trace([None] * (2 * half), good + bad, [layer])[:, 0]
        direction_D = fit_ND[half:].mean(0) - fit_ND[:half].mean(0)
        gap = direction_D.norm().clamp_min(1e-12)
        neutral = [Row(messages=s.messages, answer=s.aligned) for s in rest]
        base_ND = lab.trace([None] * half, neutral, [layer])[:, 0]
        suspects_ND = lab.trace([s for s in suspects for _ in neutral], neutral * len(suspects), [layer])[:, 0]
        shift_SD = (suspects_ND.unflatten(0, (len(suspects), half)) - base_ND).mean(1)
        shifts = (shift_SD @ direction_D / gap**2).tolist()
        return [
            Finding(
                suspicion=shift, claim=f"shifted {shift:+.2f} of the way from aligned to misaligned at layer {layer}"
            )
            for shift in shifts
        ]
