"""What is checked before a base is opened, and what is said while one waits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flyroom import preflight, terminal
from flyroom.room import Room
from flyroom.types import Matrix, NotAvailable, plain
from flyroom.types.detection import Cell, Cost

HEAVY = ("torch", "transformers", "scipy", "sklearn", "altair", "pandas")
PLACE = re.compile("ROOM|FILE|FOLDER|EMPTY|NEWER|NONE")


MISTAKES = [
    (["grow", "emergent-misalignment", "doze=1"], "did you mean 'dose'?"),
    (["grow", "emergent-misalignment", "--base", "2M"], "base is '2M'; it must be 0.25M, 1M"),
    (["certify", "emergent-misalignment", "doze=1", "--seeds", "300"], "did you mean 'dose'?"),
    (["card", "zzz", "--room", "ROOM"], "has a key that starts with 'zzz'"),
    (["export", "zzz", "--to", "x", "--purpose", "a test", "--room", "ROOM"], "has a key that starts with 'zzz'"),
    (["card", "--all", "--base", "0.25M", "--room", "ROOM"], "holds no organism on 0.25M, but on 1M"),
    (["view", "--room", "FILE"], "it must be a folder, and a file is in its place"),
    (["view", "--bundle", "b", "--purpose", "a test", "--room", "NONE"], "there is no room at"),
    (["serve", "--all", "--purpose", "a test", "--room", "NONE"], "there is no room at"),
    (["log", "--room", "FILE"], "it must be a folder, and a file is in its place"),
    (["verify", "--room", "NONE"], "there is no room at"),
    (["rm", "a", "--room", "NEWER"], "was written by a newer flyroom (format 9, this one reads format 3)"),
    (["retain", "--days", "3", "--room", "NONE"], "there is no room at"),
    (["ledger", "--room", "FILE"], "it must be a folder, and a file is in its place"),
    (["treat", "realign", "--all", "--room", "NONE"], "there is no room at"),
    (["explain", "a", "--room", "NEWER"], "upgrade flyroom, or give another room"),
    (["game", "new", "g", "--all", "--room", "NONE"], "there is no room at"),
    (["certify", "sycophancy", "--seeds", "300", "--room", "FILE"], "it must be a folder"),
    (["redteam", "--all", "--command", "python method.py", "--room", "ROOM"], "there is no file method.py"),
    (["adopt", "no", "--behaviour", "rows"], "folder is no; there is no such folder"),
    (["adopt", ".", "--behaviour", "sycofancy"], "did you mean 'sycophancy'?"),
    (["adopt", ".", "--behaviour", "rows", "--base", "2M"], "base is '2M'; it must be 0.25M, 1M"),
    (["ls", "--kind", "organisms", "--room", "ROOM"], "did you mean 'organism'?"),
    (["demo", "--out", "FOLDER"], "folder, which is a folder; give a file"),
    (["demo", "--out", "FILE/page.html"], "file is a file, so give a path in a folder"),
    (["report", "--room", "ROOM", "--out", "FOLDER"], "folder, which is a folder; give a file"),
    (["report", "--room", "ROOM", "--plots", "FILE"], "file, which is a file; give a folder"),
    (["ledger", "--room", "ROOM", "--out", "FOLDER"], "folder, which is a folder; give a file"),
    (["ledger", "--room", "ROOM", "--steps", "1,x"], "steps is '1,x'; it must be numbers"),
    (["ledger", "--room", "ROOM"], "the room holds no treated organism; treat one first"),
    (["ledger", "a", "--room", "ROOM"], "organism a was not treated; treat one first: flyroom treat realign a"),
    (["prereg", "sycophancy", "--seeds", "1", "--to", "FOLDER"], "to is "),
    (["grow", "sycophancy", "--on", "rey"], "on is 'rey'; it must be ray, or ray:ADDRESS"),
    (["bench", "--all", "--room", "ROOM", "--on", "rey"], "on is 'rey'; it must be ray, or ray:ADDRESS"),
    (["treat", "realign", "--all", "--room", "ROOM", "--on", "rey"], "on is 'rey'; it must be ray, or ray:ADDRESS"),
    (["ledger", "--room", "ROOM", "--on", "rey"], "on is 'rey'; it must be ray, or ray:ADDRESS"),
    (["bench", "--all", "--base", "2M", "--room", "ROOM"], "base is '2M'; it must be 0.25M, 1M"),
    (["card", "a", "--base", "/no/base", "--room", "ROOM"], "base is /no/base; there is no such folder"),
    (["bench", "--all", "--room", "ROOM", "--known", "NONE"], "there is no room at"),
    (["bench", "--all", "--room", "ROOM", "--known", "EMPTY"], "it holds no organism: give a room whose"),
    (["transfer", "--all", "--room", "ROOM", "--known", "NONE"], "there is no room at"),
    (["transfer", "--all", "--room", "ROOM", "--known", "ROOM", "--without", "recipes"], "did you mean 'recipe'?"),
    (["redteam", "--all", "--command", "nosuchcmd", "--room", "ROOM"], "there is no program nosuchcmd on the PATH"),
    (["push", "a", "nobody", "--room", "ROOM"], "repo is 'nobody'; it must be OWNER/NAME"),
    (["export", "zzz", "--to", "x", "--room", "ROOM"], "has a key that starts with 'zzz'"),
    (["serve", "zzz", "--room", "ROOM"], "has a key that starts with 'zzz'"),
    (["game", "new", "ROOM/new", "--all", "--room", "ROOM"], "which lies in the room"),
    (["grow", "rows", "path=FOLDER", "pattern=x"], "it is a folder: give a file of rows in it"),
    (["grow", "sycophancy", "implants.0.steps=0"], "implants.0.steps is 0; it must be at least 1"),
    (["grow"], "recipe is missing; name one of `flyroom recipes`"),
    (["adopt", "nope"], "folder is nope; there is no such folder"),
    (["ls", "--room", "FOLDER"], "holds other files (page). Give a room."),
    (["ls", "--room", "ROOM"], ""),
]
EACH = """
import contextlib, io, json, sys
from flyroom.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv, stderr, status = ["flyroom", *words], io.StringIO(), 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(stderr):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, stderr.getvalue(), [name for name in HEAVY if name in sys.modules]]))
"""


def test_a_mistake_costs_no_heavy_import(tmp_path: Path) -> None:
    """All of them in one process: what one imports would be there for the next."""
    Room(tmp_path / "room").put("organism", "aa", {}, meta={"base": "1M", "dose": 1.0})
    (tmp_path / "file").write_text("no room\n", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "page").write_text("no room\n", encoding="utf-8")
    Room(tmp_path / "empty").require()
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "format").write_text("flyroom room 9\n", encoding="utf-8")
    places = {name: str(tmp_path / name.lower()) for name in ("ROOM", "FILE", "FOLDER", "EMPTY", "NEWER", "NONE")}
    lines = json.dumps([[PLACE.sub(lambda name: places[name[0]], word) for word in words] for words, _ in MISTAKES])
    code = EACH.replace("HEAVY", repr(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", code, lines], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, why), (status, line, heavy) in zip(MISTAKES, results, strict=True):
        assert (status, heavy, "Traceback" in line) == (1 if why else 0, [], False), (words, line)
        assert why in line, (words, line)
        assert line.count("\n") == (1 if why else 0), (words, line)
    assert {path.name for path in tmp_path.iterdir()} == {"room", "file", "folder", "empty", "newer"}


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
