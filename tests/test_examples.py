"""Every example runs as it stands, is short, and says something."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import forks

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
    assert [path.name[:2] for path in EXAMPLES] == [f"{i:02}" for i in range(1, len(EXAMPLES) + 1)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    place, out, err = tmp_path / "place", tmp_path / "out", tmp_path / "err"
    place.mkdir()
    environment = os.environ | forks.ALONE | {"FLYROOM_ROOM": str(place / "room")}
    process = forks.start(forks.run_program, path, place, environment, out, err, daemon=False)
    process.join(300)
    process.kill()  # one that hangs
    assert process.exitcode == 0, err.read_text()
    assert "Traceback" not in err.read_text()
    assert len(out.read_text().splitlines()) >= 2
    assert {p.name for p in place.iterdir()} <= {"room"}  # nothing is left where it was started


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_opens_with_what_it_shows(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert lines[0].startswith('"""')
