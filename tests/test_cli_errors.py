"""What cannot be done is said in one line, by its field, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import BASE, WHY, Flyroom, pick

from flyroom.behaviours import behaviours


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["hatch"], "No such command 'hatch'"),
        (["ls", "--colour"], "No such option: --colour"),
        (["grow"], "recipe is missing; name one of `flyroom recipes`, a YAML page or a group, or give --grid"),
        (["grow", "--grid"], "--grid"),
        (["grow", "all", "--grid", "g.yaml"], "recipe is 'all' and grid is g.yaml; give one of the two"),
        (["grow", "dose=0.5", "--grid", "g.yaml"], "recipe is 'dose=0.5' and grid is g.yaml; give one of the two"),
        (["demo", "--episodes", "3"], "greater than or equal to 10|x>=10"),
        (["demo", "--seed", "-1"], "'--seed'"),
        (["demo", "--seed", "one"], "'--seed'"),
        (["show", "abc", "--room", "NONE"], "there is no room at"),
        (["ls", "--room", "NONE"], "there is no room at"),
        (["card", "--all", "--room", "NONE", "--base", BASE], "there is no room at"),
        (["bench", "--all", "--room", "NONE", "--base", BASE], "there is no room at"),
        (["report", "--room", "NONE", "--base", BASE], "there is no room at"),
        (["card", "--room", "NONE"], "give ids or --all"),
        (["bench", "abc", "--all", "--room", "NONE"], "give ids or --all"),
        (["grow", "emergent-misalignment", "--seeds", "3-1"], "seeds is '3-1'; it must be numbers and ranges"),
        (["grow", "emergent-misalignment", "--seeds", ""], "seeds is ''"),
        (["grow", "emergent-misalignment", "--seeds=-1"], "seeds is '-1'"),
        (["grow", "emergent-misalignment", "dose"], "'dose' is not a change; write KEY=VALUE"),
        (["grow", "emergent-misalignment", "dose=["], "dose is '['; that is no YAML value"),
        (
            ["grow", "emergent-misalignment", "--base", "/no/such/base"],
            "base is /no/such/base; there is no such folder",
        ),
        (["grow", "emergent-misalignment", "--on", "slurm"], "on is 'slurm'; it must be ray, or ray:ADDRESS"),
        (["bench", "--all", "--on", "slurm"], "on is 'slurm'; it must be ray, or ray:ADDRESS"),
        (["grow", "emergent", "--base", BASE], "recipe is 'emergent'"),
        (["grow", "decoy", "--base", BASE], "recipe is 'decoy'"),
        (["grow", "sycophancy", "strength=loud", "--base", BASE], "strength is 'loud'; it must be one of plain, quiet"),
        (["grow", "decoys", "strength=quiet", "--base", BASE], "decoy-accent has no strength but plain"),
        (["grow", "no.yaml", "--base", BASE], "no.yaml cannot be read"),
        (["grow", "emergent-misalignment", "doze=1", "--base", BASE], "did you mean 'dose'?"),
        (["grow", "emergent-misalignment", "layers=[24]", "--base", BASE], "adapter.layers names layer 24; 0.25M has"),
        (["grow", "emergent-misalignment", "rank=900", "--base", BASE], "adapter.rank is 900"),
        (["grow", "emergent-misalignment", "world=1", "--base", BASE], "world is not a field of this recipe"),
        (["grow", "emergent-misalignment", "--world", "atlantis"], "world is 'atlantis'; it must be one of micro-0"),
        (["grow", "rows", "--base", BASE], "path is missing"),
        (["grow", "rows", "path=no.jsonl", "pattern=x", "--base", BASE], "path is no.jsonl; there is no such file"),
        (["world", "pretrain", "--size", "9M"], "size is '9M'"),
        (["world", "pretrain", "--tokens", "5"], "tokens is 5"),
        (["demo", "--base", "FOLDER"], "has no config.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_no_traceback(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    places = {"NONE": str(tmp_path / "none"), "FOLDER": str(tmp_path / "folder")}
    done = flyroom(*(places.get(word, word) for word in words))
    assert done.status > 0
    assert done.out == ""
    assert done.err.startswith("flyroom: ")
    assert done.err.count("\n") == 1
    assert any(part in done.err for part in why.split("|")), done.err
    assert "Traceback" not in done.err
    assert "a fault in flyroom" not in done.err
    assert {p.name for p in tmp_path.iterdir()} == {"folder"}  # and nothing was written


def test_ids_that_are_none_or_several(flyroom: Flyroom, grown: Path) -> None:
    for verb in ("card", "bench"):
        done = flyroom(verb, "zzz", "--room", grown, "--base", BASE)
        assert done.status == 1
        assert "has a key that starts with 'zzz'" in done.err
        assert done.err.count("\n") == 1
    assert "could be 6 entries" in flyroom("show", "", "--room", grown).err


def test_an_organism_of_another_base_is_told(flyroom: Flyroom, grown: Path) -> None:
    done = flyroom("card", pick(flyroom, grown), "--room", grown, "--base", "1M")
    assert done.status == 1
    assert "was not grown on 1M, but on 0.25M; name that with --base" in done.err
    assert "holds no organism on 1M" in flyroom("card", "--all", "--room", grown, "--base", "1M").err


def test_a_fault_of_ours_is_one_line_too(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise LookupError("of ours")

    monkeypatch.setattr("flyroom.worlds.micro.bundled.bundled", breaks)
    monkeypatch.delenv("FLYROOM_TRACEBACK", raising=False)
    done = flyroom("bases", "--json")
    assert done.status == 1
    assert done.err == "flyroom: LookupError: of ours (a fault in flyroom; FLYROOM_TRACEBACK=1 shows where)\n"
    monkeypatch.setenv("FLYROOM_TRACEBACK", "1")
    with pytest.raises(LookupError):
        flyroom("bases")


def test_stopped_by_hand(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flyroom.worlds.micro.bundled.bundled", stops)
    done = flyroom("bases")
    assert (done.status, done.err) == (130, "flyroom: stopped; the same call goes on from its last checkpoint\n")


@pytest.mark.parametrize(
    "words",
    [
        *(["ls"], ["show", "a"], ["grow", "emergent-misalignment"], ["card", "--all"], ["bench", "--all"], ["report"]),
        *(
            ["transfer", "--all", "--known", "ROOM"],
            ["demo"],
            ["export", "a", "--to", "x", *WHY],
            ["serve", "--all", *WHY],
        ),
        *(["game", "new", "g", "--all"], ["redteam", "--all", "--command", "true"]),
    ],
    ids=" ".join,
)
def test_a_room_of_an_earlier_version_is_refused_in_a_line(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faked: None, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    room = tmp_path / "room"
    room.mkdir()
    (room / "format").write_text("flyroom room 1\n")
    done = flyroom(*(str(room) if word == "ROOM" else word for word in words), "--room", room)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(
        f"flyroom: {room} was written by an early version (format 1), and this version reads format 2"
    )
    assert done.err.count("\n") == 1
    assert [p.name for p in room.iterdir()] == ["format"]
    assert [p.name for p in tmp_path.iterdir()] == ["room"]


@pytest.mark.usefixtures("unisolated")
@pytest.mark.filterwarnings("always::UserWarning")
def test_an_organism_whose_plug_in_is_gone_is_left_out(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--room", tmp_path / "room", "--base", BASE, "--json")
    kept, lost = (
        flyroom("grow", name, "steps=1", "rows=2", *where).json["organisms"] for name in ("power-seeking", "sycophancy")
    )
    there = {name: cls for name, cls in behaviours().items() if name != "sycophancy"}
    monkeypatch.setattr("flyroom.recipes.fields.behaviours", lambda: there)
    entries = flyroom("ls", "--json", "--room", tmp_path / "room").json["entries"]
    assert {entry["id"] for entry in entries} == {o["id"] for o in (*kept, *lost)}
    few = ("--all", "--calibration", 2, "--detectors", "weight-norm")
    for words, rows in ((("card", "--all", "--episodes", 20), "cards"), (("bench", *few), "cells")):
        done = flyroom(*words, *where)
        assert [row["recipe"] for row in done.json[rows]] == ["power-seeking"]
        (note,) = [line for line in done.err.splitlines() if "left out" in line]
        assert note.startswith("flyroom: note: 2 of the room's organisms left out (")
        assert all(o["id"] in note for o in lost)
        assert "holds Sycophancy, which is not installed" in note
    by_name = flyroom("card", lost[0]["id"], *where)
    assert by_name.status == 1
    assert by_name.err.count("\n") == 1
    assert "holds Sycophancy, which is not installed" in by_name.err
