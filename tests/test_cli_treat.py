"""`flyroom treat` and `flyroom ledger` as people call them, on a bundled base with few steps."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flyroom import stages
from flyroom.cli import main
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import treating
from flyroom.treatments import Realign
from flyroom.types import Treatment


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("treated") / "room"
    base = stages.open_base("0.25M", device="cpu")
    stages.grow([make("emergent-misalignment", {"steps": 8, "rows": 8})], base, Room(path), seeds=[0])
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer steps than treatments take by themselves."""
    every = treating.every_treatment

    def quick() -> dict[str, Treatment]:
        return {**every(), "realign": Realign(steps=2, rows=4, data=8)}

    monkeypatch.setattr(treating, "every_treatment", quick)


def run(capsys: pytest.CaptureFixture[str], *words: str, fails: bool = False) -> Mapping[str, Any]:
    status: object = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["flyroom", *words, "--json"])
        try:
            main()
        except SystemExit as end:
            status = end.code
    out = capsys.readouterr()
    assert bool(status) is fails, out.err
    return {"error": out.err} if fails else json.loads(out.out)


def test_treatments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in run(capsys, "treatments")["treatments"]}
    assert len(rows) >= 14
    assert rows["inoculate"]["needs"] == ["growth"]
    assert rows["monitor-block"]["at_run_time"] is True
    assert all(row["about"] for row in rows.values())


@pytest.mark.usefixtures("unisolated")
def test_treated_and_written_into_the_ledger(room: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    result = run(capsys, "treat", "realign,average", "--all", *place)
    assert [row["treatment"] for row in result["treated"]] == ["realign"] * 2 + ["average"] * 2
    assert [row["dose"] for row in result["treated"]] == [1.0, 0.0] * 2
    again = run(capsys, "treat", "realign,average", "--all", *place)
    assert again["treated"] == result["treated"]
    quick = ("--episodes", "20", "--steps", "0,2", "--detectors", "weight-norm")
    page = tmp_path / "ledger.html"
    first = run(capsys, "ledger", *place, *quick, "--out", str(page))
    assert [(row["treatment"], row["seed"]) for row in first["rows"]] == [("realign", 0), ("average", 0)]
    for row in first["rows"]:
        assert row["called"] in ("removed", "suppressed", "hidden", "nothing", "undecided")
        assert row["why"]
        assert [point["step"] for point in row["relapse"]] == [0, 2]
        assert set(row["detectors"]) == {"weight-norm"}
        assert row["detectors"]["weight-norm"]["after"]["value"] is not None
    assert "The ledger of treatments" in page.read_text(encoding="utf-8")
    second = run(capsys, "ledger", *place, *quick, "--calibration", "2", "--out", str(page))
    assert second["rows"] == first["rows"]  # no figure hangs on the twins that set thresholds
    (one,) = run(capsys, "ledger", *place, *quick, "--treatments", "average", "--out", str(page))["rows"]
    assert one["treatment"] == "average"


def test_treated_organisms_stay_out_of_lineups_until_they_are_named(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    result = run(capsys, "treat", "average", "--all", *place)
    base, store = stages.open_base("0.25M", device="cpu"), Room(room)
    assert all(organism.parent is None for organism in stages.stored(store, base, None))
    treated = result["treated"][0]["id"]
    models = {organism.id: organism for organism in stages.stored(store, base, [treated])}
    assert set(models) == {row["id"] for row in result["treated"]}  # with the twin that was treated alike


def test_what_was_treated_at_run_time_is_asked_by_the_ledger_alone(
    room: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    treated = run(capsys, "treat", "monitor-block", "--all", *place)["treated"][0]
    error = run(capsys, "card", treated["id"], *place, fails=True)["error"]
    assert "was treated at run time with monitor-block, which the ledger alone asks" in error
    assert f"its weights are those of {treated['parent']}" in error


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("treat", "no-such", "--all"), "treatment is 'no-such'; it must be all, or of safety-sft"),
        (("treat", "realign"), "give ids or --all"),
        (("ledger", "--steps", "5,10"), "it must begin with 0 and rise"),
        (("ledger", "--follow", "some"), "follow is 'some'; it must be all or fallen"),
        (("ledger", "--treatments", "noise"), "that was given noise; treat one first: flyroom treat noise --all"),
        (("ledger", "--detectors", "no-such"), "detector is 'no-such'"),
    ],
)
def test_a_slip_is_one_line(room: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], what: str) -> None:
    error = run(capsys, *words, "--room", str(room), "--base", "0.25M", fails=True)["error"]
    assert what in error
    assert "Traceback" not in error


def test_a_room_without_treated_organisms_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "room"
    base = stages.open_base("0.25M", device="cpu")
    stages.grow([make("emergent-misalignment", {"steps": 1, "rows": 2})], base, Room(path), seeds=[0])
    error = run(capsys, "ledger", "--room", str(path), "--base", "0.25M", fails=True)["error"]
    assert "holds no treated organism" in error
