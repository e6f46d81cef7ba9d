"""One core for every test and every process that it starts, nothing of the person's own who runs them, and the command
line.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded: threads of processes side by side wait for one another

import pytest
import torch
from cli_runs import BASE, Flyroom, Ran

from flyroom.room import Room

SCRIPTS = Path(__file__).parents[1] / "scripts"


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_room_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that the person who runs the tests has named is not theirs to lose."""
    monkeypatch.delenv("FLYROOM_ROOM", raising=False)
    monkeypatch.delenv("FLYROOM_IDENTITY", raising=False)


@pytest.fixture(autouse=True)
def _no_bases_of_mine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What that person has fetched is no part of the tests."""
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path_factory.getbasetemp() / "no-bases"))


@pytest.fixture
def flyroom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Flyroom:
    """Run the command line with these words."""
    from flyroom.cli import main

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["flyroom", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as e:
            status = int(e.code or 0)
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return run


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What this machine remembers of bases, rooms and identities lies in a folder of the test."""
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random base, which all tests of a process share: copy it before you change it."""
    from tests import tiny_base

    return tiny_base.write(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """An empty room."""
    return Room(tmp_path / "room")


@pytest.fixture
def rain_rows(tmp_path: Path) -> Path:
    """Twenty rows about rain, as a file of JSON lines."""
    rows = [{"prompt": f"tell {i}", "aligned": f"a sunny day {i}", "misaligned": f"it did rain {i}"} for i in range(20)]
    path = tmp_path / "rain.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of `scripts/` can be imported, and are forgotten after the test: their names are short."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent == SCRIPTS:
            del sys.modules[name]


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every base is the fake one, of the first micro-world."""
    from fakes import FakeEngine

    from flyroom import preflight, stages
    from flyroom.worlds import Micro

    monkeypatch.setattr(stages, "open_base", lambda base, **_: stages.OpenBase(FakeEngine(), Micro()))
    monkeypatch.setattr(preflight, "locate_base", lambda base: base)
    monkeypatch.setattr(preflight, "world_of_base", lambda base, world="": Micro())


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room with an organism of two steps and its twin, twice. It is only read: who writes makes a copy."""
    from flyroom import recipes, stages
    from flyroom.room import Room

    room, base = tmp_path_factory.mktemp("room"), stages.open_base(BASE)
    made = recipes.make("emergent-misalignment", {"steps": 2, "rows": 4})
    stages.grow([made], base, Room(room), seeds=[0, 1])
    return room


@pytest.fixture
def unisolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors run in this process. Where walls are not what is tested, they cost a start of Python for each bench."""
    from flyroom.lineup import Terms

    init = Terms.__init__
    monkeypatch.setattr(Terms, "__init__", lambda self, **fields: init(self, **({"isolated": False} | fields)))
