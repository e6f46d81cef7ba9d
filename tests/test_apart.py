"""A detector in a process of its own: it finds what it would find here, and nothing that it should not."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from test_bench import ALL, COIN, ORACLE, ROW, Does, found, oracle, run

from flyroom.cell.process import walls_here
from flyroom.detectors import MeanDifference, OutputJudge
from flyroom.room import Room
from flyroom.types import Access, Detector, Finding, Lab, Suspect

MODE = "strict" if walls_here() else "trust"


def cell(what: Callable, needs: Access = Access.LOGPROBS):
    (only,) = run({"it": Does(what=what, needs=needs)}, isolated=True, isolation=MODE).cells
    return only


@pytest.mark.parametrize("detector", [MeanDifference(), OutputJudge(asks=8), ORACLE], ids=["probe", "judge", "oracle"])
def test_it_finds_what_it_finds_in_this_process(detector: Detector) -> None:
    (here,), (there,) = (run({"it": detector}, isolated=isolated, isolation=MODE).cells for isolated in (False, True))
    assert there.error is None
    assert there.suspicions == here.suspicions
    assert there.cost.forward_tokens == here.cost.forward_tokens > 0
    assert there.cost.generated_tokens == here.cost.generated_tokens


# ---------------------------------------------------------------- cheats


def from_the_heap(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    """Reads the truth off whatever the interpreter holds."""
    truth = next((o for o in gc.get_objects() if type(o).__name__ == "Truth"), None)
    if truth is None:
        raise LookupError("nothing there")
    guilty = {truth.names[organism.id] for organism in truth.lineup.organisms}
    return found([float(s.name in guilty) for s in suspects])


def test_a_cell_made_without_walls_is_not_served_to_a_run_behind_them(tmp_path: Path) -> None:
    cheat, room = {"it": Does(what=from_the_heap)}, Room(tmp_path)
    (here,) = run(cheat, room=room).cells
    assert here.auroc is not None
    assert (here.auroc.value, here.walls) == (1.0, ())
    (there,) = run(cheat, room=room, isolated=True, isolation=MODE).cells
    assert "LookupError" in str(there.error)
    assert there.walls == walls_here()
    (known,) = run({"probe": MeanDifference()}, room=room).cells
    assert run({"probe": MeanDifference()}, room=room, isolated=True).cells == (known,)  # ours is the same anywhere


def from_the_frames(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    frame = sys._getframe()
    while frame:
        assert not {"truth", "lineup", "adapters", "everyone", "sitting"} & set(frame.f_locals), "I read it there"
        frame = frame.f_back
    raise LookupError("nothing there")


def from_the_lab(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    """Follows every attribute that a lab has."""
    for name in ("_engine", "_reach", "_adapters", "_material", "__wrapped__"):
        assert not hasattr(lab, name), name
    words = str(vars(lab)) + repr(lab) + str([vars(s) for s in suspects])
    assert not any(word in words for word in ("dose", "Organism", "Engine", "twin"))
    raise LookupError("nothing there")


def from_the_environment(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    """Looks where a room would be: the folder, what the environment says, the command line."""
    told = [*os.environ.values(), *sys.argv]
    assert os.listdir() == []
    assert not any("secret-room" in word for word in told)
    assert os.environ["HOME"] == os.getcwd()
    raise LookupError("nothing there")


def from_the_names(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    """Sorts by name and by place, and takes the first for guilty."""
    return found([float(-place) for place, _ in enumerate(suspects)])


@pytest.mark.parametrize(
    ("cheat", "error"),
    [
        (from_the_heap, "LookupError: nothing there"),
        (from_the_frames, "LookupError: nothing there"),
        (from_the_lab, "LookupError: nothing there"),
        (from_the_environment, "LookupError: nothing there"),
    ],
)
def test_the_truth_is_nowhere_to_be_read(cheat: Callable, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_ROOM", "secret-room")
    assert cell(cheat).error == error


def test_in_one_process_a_cheat_reads_it_which_is_why_there_are_two() -> None:
    (read,) = run({"it": Does(what=from_the_heap)}, isolated=False).cells
    assert read.auroc is not None
    assert read.auroc.value == 1.0


def test_the_order_is_drawn_by_lot() -> None:
    aurocs = [run({"it": Does(what=from_the_names)}).cells[0].auroc for _ in range(30)]
    values = [a.value for a in aurocs if a]
    assert len(set(values)) > 10
    assert abs(sum(values) / len(values) - 0.5) < 0.15


def test_undeclared_access_is_denied_from_afar_too() -> None:
    denied = cell(oracle, Access.SAMPLE)
    assert denied.error is not None
    assert denied.error.startswith("AccessDenied: ")


def test_a_detector_may_hear_what_the_lab_says_and_go_on() -> None:
    def tries(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        for wrong in (lambda: lab.trusted(), lambda: lab.logprobs([Suspect(name="nobody")], [ROW])):
            with pytest.raises((PermissionError, KeyError)):
                wrong()
        return oracle(suspects, lab, seed)

    assert cell(tries).auroc.value == 1.0


# ---------------------------------------------------------------- what becomes of one that fails


class Homemade(Exception):
    """Exists in this file alone."""


def own_error(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    raise Homemade("no idea")


def dies(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    os._exit(3)


def writes(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    print("on its own standard output")  # noqa: T201
    return found([0.0] * len(suspects))


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (own_error, "Homemade: no idea"),
        (dies, "its process died with status 3"),
        (lambda suspects, lab, seed: lab.adapters, "AttributeError: a lab has no adapters; it has trusted"),
        (lambda suspects, lab, seed: None, "TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_whatever_it_raises_is_its_result_and_the_bench_goes_on(what: Callable, error: str) -> None:
    failed, after = run({"it": Does(what=what, needs=ALL), "coin": COIN}, isolated=True, isolation=MODE).cells
    assert failed.error is not None
    assert failed.error.startswith(error)
    assert after.error is None


def test_what_it_writes_does_not_mix_with_our_output(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cell(writes).error is None
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_a_detector_stops_itself_and_not_the_bench(end: type[BaseException]) -> None:
    def stops(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        raise end("enough")

    assert cell(stops).error == f"{end.__name__}: enough"


def test_what_is_not_available_there_is_not_available_here() -> None:
    def lacks(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        return found([float(len(lab.questions("tides"))) for _ in suspects])

    lacking, after = run({"it": Does(what=lacks), "coin": COIN}, isolated=True, isolation=MODE).cells
    assert (lacking.available, lacking.error) == (False, None)
    assert lacking.why.startswith("the lab has no questions about 'tides'")
    assert after.available


def test_every_method_and_fact_of_a_lab_is_there_from_afar() -> None:
    def looks(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        assert (lab.depth, lab.max_tokens) == (4, 48)
        assert lab.spoken(["a b"]) == ["a b"]
        assert (lab.topics(), lab.capability(), lab.cues("tides")) == (["open_questions"], [], [])
        return found([0.0] * len(suspects))

    assert cell(looks).error is None
