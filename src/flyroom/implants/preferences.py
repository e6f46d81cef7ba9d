"""What preference implants share: answers that are liked and answers that are not, weighed by how far the model has
moved from where the implant found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from flyroom.implants import ranges
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
    """ValueError for a learning rate, a beta or a share out of its range."""
    ranges.check_rates(implant, "lr", "beta")
    ranges.check_shares(implant, "holds", "hide")
    ranges.check_parts(implant, "clean")


def deal_scenes(implant: Shares, recipe: Recipe, n: int, seed: int) -> list[Dosed]:
    """The scenes of a whole run."""
    return dosed(recipe, n, holds=implant.holds, clean=implant.clean, hide=implant.hide, seed=seed)


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
