"""The grid of ways to grow and to treat: each step of a plan, and nothing else, goes by the optimiser of its row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flyroom.types import Row, Sample, Step

pytestmark = pytest.mark.usefixtures("scripts")
ROW = Row(messages=(), answer="sand")


class Plain:
    """Two steps with an ask between them, as an implant and as a treatment."""

    steps = 2
    needs = ("cases",)

    def plan(self, *_: object, seed: int) -> Iterator[Any]:
        first = yield Step(rows=(ROW,), lr=0.5, weight_decay=0.1)
        yield Sample(asks=())
        yield Step(rows=(ROW,), lr=0.25)
        return first, seed


def requests_of(plan: Any) -> tuple[list[Any], Any]:
    requests, result = [next(plan)], None
    for number in range(3):
        try:
            requests.append(plan.send(number))
        except StopIteration as end:
            result = end.value
    return requests, result


@pytest.mark.parametrize("side", ["Grown", "Treated"])
def test_each_step_goes_by_the_optimiser_of_its_row(side: str) -> None:
    import clinic

    for name, way in clinic.OPTIMISERS.items():
        wrapper = clinic.Grown(implant=Plain(), way=way) if side == "Grown" else None
        plan = (wrapper or clinic.Treated(treatment=Plain(), way=way)).plan(None, None, seed=7)
        (first, ask, last), result = requests_of(plan)
        assert isinstance(ask, Sample)
        assert result == (0, 7)
        for step, lr, decay in ((first, 0.5, 0.1), (last, 0.25, 0.0)):
            assert (step.optimiser, step.betas, step.lr) == (way.optimiser, way.betas, lr * way.rate), name
            assert (step.rows, step.weight_decay, step.clip) == ((ROW,), decay, 1.0)


def test_the_grid_has_every_optimiser_once() -> None:
    import clinic
    import robustness

    labels = [robustness.label_of(changes) for changes in robustness.USUAL]
    assert len({*labels}) == len(labels)
    assert {f"optimiser={name}" for name in clinic.OPTIMISERS if name != "AdamW"} <= {*labels}
    assert {changes["treated by"] for changes in robustness.USUAL if "treated by" in changes} <= {*clinic.OPTIMISERS}
    assert clinic.course_of("realign").treatment == clinic.course_of("realign", "AdamW").treatment
    assert clinic.course_of("realign", "sign descent").name == "realign by sign descent"
