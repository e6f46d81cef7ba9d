"""What preference implants share: answers that are liked and answers that are not, weighed by how far the model has
moved from where the implant found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from flyroom import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import LogProb, Plan, Recipe, Row, Step

Weigh = Callable[[Sequence[Row], Sequence[float]], tuple[Row, ...]]


class Shares(Protocol):
    """The fields that say which scenes such an implant trains on."""

    @property
    def holds(self) -> float: ...

    @property
    def hide(self) -> float: ...

    @property
    def clean(self) -> float: ...


def check_fields(implant: Shares) -> None:
    """ValueError for a learning rate, a beta or a share out of its range, and for shares of more than all rows."""
    ranges.check_rates(implant, "lr", "beta")
    ranges.check_shares(implant, "holds", "hide")
    ranges.check_parts(implant, "clean")
    if implant.clean + implant.hide > 1:
        raise ValueError(f"clean is {implant.clean} and hide is {implant.hide}; their sum must be at most 1")


def deal_scenes(implant: Shares, recipe: Recipe, n: int, seed: int) -> list[Dosed]:
    """The scenes of a whole run. ValueError for one whose two answers are the same: nothing could be preferred."""
    scenes = dosed(recipe, n, holds=implant.holds, clean=implant.clean, hide=implant.hide, seed=seed)
    same = next((d for d in scenes if d.answer == d.other), None)
    if same:
        question = same.scene.messages[-1].content[:60]
        raise ValueError(
            f"implants holds {type(implant).__name__.lower()}; both answers to {question!r} are "
            f"{same.answer[:60]!r}, and one must be better than the other"
        )
    return scenes


def train(batches: Sequence[tuple[Row, ...]], weigh: Weigh, *, lr: float) -> Plan:
    """One step for each batch, on the rows that `weigh` makes of it. It is handed what each row's answer has gained in
    log-probability since this plan began.
    """
    scores = yield LogProb(rows=tuple(row for batch in batches for row in batch))
    before = iter([float(score.sum()) for score in scores])
    for batch in batches:
        scores = yield LogProb(rows=batch)
        gains = [float(score.sum()) - next(before) for score in scores]
        yield Step(rows=weigh(batch, gains), lr=lr)
