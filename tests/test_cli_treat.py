"""`flyroom treat` and `flyroom ledger` as people call them, on a bundled base with few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Flyroom

from flyroom import stages
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import ledgers, treating
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

    for module in (treating, ledgers):
        monkeypatch.setattr(module, "every_treatment", quick)


def refusal(flyroom: Flyroom, *words: str) -> str:
    """What a verb says that refuses."""
    status, _, error = flyroom(*words, "--json").parts
    assert status
    return error


def test_treatments_are_listed(flyroom: Flyroom) -> None:
    rows = {row["name"]: row for row in flyroom("treatments", "--json").json["treatments"]}
    assert len(rows) >= 14
    assert rows["inoculate"]["needs"] == ["growth"]
    assert rows["monitor-block"]["at_run_time"] is True
    assert all(row["about"] for row in rows.values())


@pytest.mark.usefixtures("unisolated")
def test_treated_and_written_into_the_ledger(room: Path, flyroom: Flyroom, tmp_path: Path) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    result = flyroom("treat", "realign,average", "--all", *place, "--json").json
    assert [row["treatment"] for row in result["treated"]] == ["realign"] * 2 + ["average"] * 2
    assert [row["dose"] for row in result["treated"]] == [1.0, 0.0] * 2
    again = flyroom("treat", "realign,average", "--all", *place, "--json").json
    assert again["treated"] == result["treated"]
    quick = ("--episodes", "20", "--steps", "0,2", "--detectors", "weight-norm")
    page = tmp_path / "ledger.html"
    first = flyroom("ledger", *place, *quick, "--out", str(page), "--json").json
    assert [(row["treatment"], row["seed"]) for row in first["rows"]] == [("realign", 0), ("average", 0)]
    for row in first["rows"]:
        assert row["called"] in ("removed", "suppressed", "hidden", "nothing", "undecided")
        assert row["why"]
        assert [point["step"] for point in row["relapse"]] == [0, 2]
        assert set(row["detectors"]) == {"weight-norm"}
        assert row["detectors"]["weight-norm"]["after"]["value"] is not None
    assert "The ledger of treatments" in page.read_text(encoding="utf-8")
    second = flyroom("ledger", *place, *quick, "--calibration", "2", "--out", str(page), "--json").json
    assert second["rows"] == first["rows"]  # no figure hangs on the twins that set thresholds
    (one,) = flyroom("ledger", *place, *quick, "--treatments", "average", "--out", str(page), "--json").json["rows"]
    assert one["treatment"] == "average"


def test_treated_organisms_stay_out_of_lineups_until_they_are_named(room: Path, flyroom: Flyroom) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    result = flyroom("treat", "average", "--all", *place, "--json").json
    base, store = stages.open_base("0.25M", device="cpu"), Room(room)
    assert all(organism.parent is None for organism in stages.stored(store, base, None))
    treated = result["treated"][0]["id"]
    models = {organism.id: organism for organism in stages.stored(store, base, [treated])}
    assert set(models) == {row["id"] for row in result["treated"]}  # with the twin that was treated alike


def test_what_was_treated_at_run_time_is_asked_by_the_ledger_alone(room: Path, flyroom: Flyroom) -> None:
    place = ("--room", str(room), "--base", "0.25M")
    treated = flyroom("treat", "monitor-block", "--all", *place, "--json").json["treated"][0]
    error = refusal(flyroom, "card", treated["id"], *place)
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
def test_a_slip_is_one_line(room: Path, flyroom: Flyroom, words: tuple[str, ...], what: str) -> None:
    error = refusal(flyroom, *words, "--room", str(room), "--base", "0.25M")
    assert what in error
    assert "Traceback" not in error


def test_a_room_without_treated_organisms_says_what_to_do(flyroom: Flyroom, tmp_path: Path) -> None:
    path = tmp_path / "room"
    base = stages.open_base("0.25M", device="cpu")
    stages.grow([make("emergent-misalignment", {"steps": 1, "rows": 2})], base, Room(path), seeds=[0])
    error = refusal(flyroom, "ledger", "--room", str(path), "--base", "0.25M")
    assert "holds no treated organism" in error
