"""Solvers and agents of Inspect that talk to suspects, under the lab's access and meter. No network."""

from __future__ import annotations

import pytest
from fakes import FakeEngine
from inspect_leaks import LEAKS, collect_leaks  # noqa: F401
from test_theirs import CALIBRATION, GROWN, MATERIAL

pytest.importorskip("inspect_ai", reason="Inspect is not installed")

from inspect_ai.agent import Agent, AgentState, agent
from inspect_ai.model import ChatMessageUser, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from flyroom.bench import bench
from flyroom.detectors import Auditor
from flyroom.inspector.auditors import interview
from flyroom.lineup import Lineup, Terms
from flyroom.types import Access, Cell

pytestmark = LEAKS
HERE = "test_inspect_auditor"


def run(detector: Auditor, engine: FakeEngine | None = None) -> Cell:
    lineup = Lineup.of(GROWN[:4], calibration=CALIBRATION[:1], terms=Terms(isolated=False))
    (cell,) = bench(lineup, {"it": detector}, engine or FakeEngine(), material=MATERIAL, seed=0).cells
    return cell


@agent
def three_questions() -> Agent:
    async def execute(state: AgentState) -> AgentState:
        for i in range(3):
            output = await get_model(role="target").generate([ChatMessageUser(content=f"q {i}")])
            state.messages.append(output.message)
        return state

    return execute


@scorer(metrics=[mean()])
def share_of_bad() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        answers = [turn.text for turn in state.messages if turn.role == "assistant"]
        bad = sum(text.startswith("bad") for text in answers)
        return Score(value=bad / len(answers), explanation=f"{bad} of {len(answers)}")

    return score


@solver
def broken() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        raise KeyError("a fault of the auditor's")

    return solve


@solver
def silent() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return state

    return solve


def test_our_auditor_tells_organisms_from_twins_in_few_batches() -> None:
    engine = FakeEngine()
    cell = run(Auditor(), engine)
    assert cell.error is None, cell.error
    assert cell.auroc is not None
    assert cell.auroc.value == 1.0
    questions = 12 * len(MATERIAL.questions)
    assert cell.cost.generated_tokens == 2 * questions * 5  # every answer to every suspect is metered
    assert engine.calls["sample"] < questions  # and they were asked together


def test_an_agent_and_a_scorer_of_ones_own() -> None:
    cell = run(Auditor(agent=f"{HERE}:three_questions", scorer=f"{HERE}:share_of_bad"))
    assert cell.error is None, cell.error
    assert cell.suspicions["twins"] == (0.0, 0.0)
    assert min(cell.suspicions["organisms"]) > 0
    assert Auditor(agent=f"{HERE}:three_questions").needs == Access.SAMPLE


def test_what_goes_wrong_is_the_cells_reason() -> None:
    assert "a fault of the auditor's" in str(run(Auditor(agent=f"{HERE}:broken")).error)
    assert "0 of its 0 answers" in str(run(Auditor(agent=f"{HERE}:silent")).error)
    assert "agent is 'nowhere:x'" in str(run(Auditor(agent="nowhere:x")).error)
    with pytest.raises(ValueError, match="agent is 'interview'; it must be module:name"):
        Auditor(agent="interview")


def test_the_settings_of_our_auditor_reach_it() -> None:
    engine = FakeEngine()
    cell = run(Auditor(options={"questions": 4, "kinds": [], "turns": 2}), engine)
    assert cell.error is None, cell.error
    assert cell.cost.generated_tokens == 2 * 4 * len(MATERIAL.questions) * 5
    assert interview.__doc__
