"""What is checked before a base is opened, and what is said while one waits."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flyroom import preflight, terminal
from flyroom.room import Room
from flyroom.types import Matrix, NotAvailable, plain
from flyroom.types.detection import Cell, Cost

HEAVY = ("torch", "transformers", "scipy", "sklearn", "altair", "pandas")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["grow", "emergent-misalignment", "doze=1"], "did you mean 'dose'?"),
        (["grow", "emergent-misalignment", "--base", "2M"], "base is '2M'; it must be 0.25M, 1M"),
        (["certify", "emergent-misalignment", "doze=1", "--seeds", "300"], "did you mean 'dose'?"),
        (["card", "zzz", "--room", "ROOM"], "has a key that starts with 'zzz'"),
        (["export", "zzz", "--to", "x", "--purpose", "a test", "--room", "ROOM"], "has a key that starts with 'zzz'"),
        (["ls", "--kind", "organisms", "--room", "ROOM"], "did you mean 'organism'?"),
        (["ls", "--room", "ROOM"], ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_costs_no_heavy_import(tmp_path: Path, words: Sequence[str], why: str) -> None:
    Room(tmp_path / "room").put("organism", "aa", {}, meta={"base": "1M", "dose": 1.0})
    argv = ["flyroom", *(str(tmp_path / "room") if word == "ROOM" else word for word in words)]
    code = f"import sys; sys.argv = {argv!r}\nfrom flyroom.cli import main\ntry:\n    main()\nfinally:\n    "
    code += f"assert not set({HEAVY!r}) & set(sys.modules), sorted(set({HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1 if why else 0, False), done.stderr
    assert why in done.stderr


# ---------------------------------------------------------------- which base


def put(room: Room, key: str, **meta: Any) -> None:
    room.put("organism", key, {}, meta={"recipe": "toy", "base": "1M", "seed": 0, "dose": 1.0} | meta)


def test_the_base_is_that_of_the_organisms(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    put(room, "aa", base="0.25M")
    assert preflight.base_of(room, None) == "0.25M"
    put(room, "bb")
    assert (preflight.base_of(room, ["b"]), preflight.base_of(room, ["a", "b"], "1M")) == ("1M", "1M")
    with pytest.raises(ValueError, match=r"grown on 0\.25M, 1M: name one with --base"):
        preflight.base_of(room, None)
    put(room, "cc", base="mine")
    with pytest.raises(ValueError, match="grown on mine: name its folder with --base"):
        preflight.base_of(room, ["cc"])


def test_an_id_of_something_else_is_named(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    put(room, "aa")
    room.put("card", "cc", {}, meta={"organism": "aa"})
    with pytest.raises(ValueError, match="cc is the card cc of organism aa: give that"):
        preflight.base_of(room, ["cc"])


def test_a_twin_is_named_a_twin(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    put(room, "aa")
    put(room, "bb", dose=0.0)
    preflight.require_carded(room, ["aa"])
    preflight.require_carded(room, None)
    with pytest.raises(ValueError, match=r"bb is a twin .* the card of its organism: aa"):
        preflight.require_carded(room, ["aa", "b"])


@pytest.mark.parametrize("base", ["./no", "/no/such", "~/no", "a/b/c"])
def test_a_folder_that_is_not_there_is_said(base: str) -> None:
    with pytest.raises(ValueError, match="there is no such folder"):
        preflight.locate_base(base)


def test_recipes_are_made_as_the_stage_would(tmp_path: Path) -> None:
    preflight.check_recipe("all", {}, "1M")
    preflight.check_recipe("emergent-misalignment", {}, "owner/model", "english")
    with pytest.raises(NotAvailable, match="made in none: name one with --world"):
        preflight.check_recipe("emergent-misalignment", {}, "owner/model")
    with pytest.raises(ValueError, match="did you mean 'dose'"):
        preflight.check_recipe("decoys", {"doze": 1}, "1M")
    page = tmp_path / "grid.yaml"
    page.write_text("recipe: emergent-misalignment\ndoze: [1, 2]\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"grid\.yaml: doze is not a field"):
        preflight.check_grid(page, "1M")


# ---------------------------------------------------------------- what a room holds already


def cells(name: str, recipe: str = "toy") -> list[Cell]:
    return [
        Cell(
            detector=name,
            access="",
            recipe=recipe,
            unit="model",
            auroc=None,
            recall_at_1pct_fpr=None,
            fpr=None,
            cost=Cost(),
        )
    ]


def test_a_report_reads_the_newest_lineup_and_no_other(tmp_path: Path) -> None:
    from flyroom.stages import matrix_in

    room = Room(tmp_path / "room")
    assert matrix_in(room) is None
    rows = (("old", "judge", "toy", ["a"]), ("k1", "judge", "toy", ["a", "b"]), ("k2", "probe", "toy", ["a", "b"]))
    for key, name, recipe, ids in (*rows, ("k3", "probe", "other", ["c"])):
        models = [{"organisms": ids, "twins": ["t"], "decoys": [], "calibration": ["z"]}]
        room.put("cells", key, {"cells": plain(cells(name, recipe)), "models": models}, meta={"detector": name})
    matrix = matrix_in(room)
    assert isinstance(matrix, Matrix)
    assert [(cell.detector, cell.recipe) for cell in matrix.cells] == [
        ("judge", "toy"),
        ("probe", "toy"),
        ("probe", "other"),
    ]
    assert (matrix.organisms, matrix.calibration) == (("a", "b", "c"), ("z", "z"))


# ---------------------------------------------------------------- while one waits


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "EVERY", 0.01)
    with terminal.progress() as watch:
        watch("grow", 3, 240, "loss 0.5")
        limit = time.monotonic() + 30
        lines = ""
        while "grow" not in lines and time.monotonic() < limit:
            time.sleep(0.01)
            lines += capsys.readouterr().err
    assert "flyroom: 0 s: grow 3 of 240, loss 0.5\n" in lines
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""  # nothing once it is over
