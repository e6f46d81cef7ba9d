"""The gate on the command line: nothing leaves without a purpose on record, and what is signed can be checked."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from cli_runs import Flyroom, Run

from flyroom import log, prereg, stages
from flyroom.purpose import expiry
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import verifying
from flyroom.types import Organism
from flyroom.vault import Identity

BASE = ("--base", "0.25M")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Organism]:
    room, base = tmp_path_factory.mktemp("gate") / "room", stages.open_base("0.25M")
    recipe = make("emergent-misalignment", {"steps": 2, "rows": 4}, world=base.world)
    organism, *_ = stages.grow([recipe], base, Room(room), seeds=[0])
    return room, organism


@pytest.fixture
def here(grown: tuple[Path, Organism], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a room of the test's own in it, and no identity."""
    shutil.copytree(grown[0], tmp_path / "room")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLYROOM_IDENTITY", raising=False)
    monkeypatch.delenv("FLYROOM_LOG", raising=False)
    return tmp_path


@pytest.fixture
def run(here: Path, flyroom: Flyroom) -> Run:
    """Run the command line: its status, what it printed (as JSON where it is), and stderr."""
    return lambda *words: flyroom(*words).parts


@pytest.fixture
def id(grown: tuple[Path, Organism]) -> str:
    return grown[1].id


@pytest.fixture
def identity(here: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    identity = Identity.create(here / "me.key")
    monkeypatch.setenv("FLYROOM_IDENTITY", str(here / "me.key"))
    return identity


def acts(here: Path) -> list[tuple[str, str]]:
    return [(line.what, line.purpose) for line in log.read(Room(here / "room")) if line.what != log.OPENED]


# ---------------------------------------------------------------- a purpose


@pytest.mark.parametrize("words", [["export", "ID", "--to", "out"], ["serve", "ID"], ["show", "ID", "--episodes"]])
@pytest.mark.parametrize("purpose", [None, "", " ", "x", "..", "\u200b\u200b\u200b"])
def test_without_a_purpose_nothing_leaves(run: Run, here: Path, id: str, words: list[str], purpose: str | None) -> None:
    more = [] if purpose is None else ["--purpose", purpose]
    status, output, errors = run(*(id if word == "ID" else word for word in words), *more)
    assert (status, output) == (1, "")
    assert errors.startswith("flyroom: purpose is ")
    assert acts(here) == []
    assert not (here / "out").exists()


def test_at_a_terminal_it_is_asked_for(run: Run, here: Path, id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "typed by hand")
    status, result, _ = run("export", id, "--to", "out", "--json", *BASE)
    assert (status, result["purpose"]) == (0, "typed by hand")
    assert acts(here) == [("export", "typed by hand")]


def test_an_export_is_on_record_and_says_until_when(run: Run, here: Path, id: str) -> None:
    status, result, errors = run("export", id[:8], "--to", "out", "--purpose", "a  test", "--json", *BASE)
    assert status == 0
    assert result == {
        "id": id,
        "folder": "out",
        "purpose": "a test",
        "expires": expiry(90),
        "signer": "",
        "signed": False,
    }
    assert "not signed: there is no identity" in errors
    assert "docs/containment.md" in errors
    _, shown, _ = run("log", "--json")
    assert shown.keys() >= {"entries", "head", "signature", "intact"}
    (entry,) = [e for e in shown["entries"] if e["what"] == "export"]
    assert (entry["id"], entry["purpose"]) == (id, "a test")
    assert entry.keys() >= {"at", "who", "what", "id", "purpose"}
    assert (shown["intact"], shown["signature"], len(shown["head"])) == (True, "", 64)


def test_days_are_chosen_and_must_be_some(run: Run, here: Path, id: str) -> None:
    words = ("export", id, "--to", "out", "--purpose", "a test", "--expires")
    status, _, errors = run(*words, 0, *BASE)
    assert (status, errors) == (1, "flyroom: expires is 0; it must be 1 to 3650 days")
    assert run(*words, 7, "--json", *BASE)[1]["expires"] == expiry(7)


def test_nothing_leaves_a_room_whose_log_was_touched(run: Run, here: Path, id: str) -> None:
    room = Room(here / "room")
    room.put("log", "log-000009", {"number": 9})
    for words in (["export", id, "--to", "out"], ["serve", id]):
        status, _, errors = run(*words, "--purpose", "a test", *BASE)
        assert status == 1
        assert "of the log" in errors
    assert not (here / "out").exists()


def test_an_organism_whose_leave_is_over_is_not_served(run: Run, here: Path, id: str) -> None:
    log.act(Room(here / "room"), "export", ids=[id], purpose="long ago", expires="2020-01-01")
    status, _, errors = run("serve", id, "--purpose", "again", *BASE)
    assert status == 1
    assert f"organism {id} was let out until 2020-01-01, which is over; give --expires DAYS" in errors


def test_what_a_card_asked_is_read_with_a_purpose(run: Run, here: Path, id: str) -> None:
    run("card", id, "--episodes", 10, *BASE)
    (entry,) = run("ls", "--kind", "card", "--json")[1]["entries"]
    status, result, _ = run("show", entry["id"], "--episodes", "--purpose", "read two answers", "--json")
    assert status == 0
    assert result["episodes"]
    assert run("show", entry["id"], "--json")[0] == 0  # without what was said
    assert acts(here) == [("card", ""), ("show episodes", "read two answers")]


def test_growth_and_cards_and_benches_are_on_record(run: Run, here: Path, id: str) -> None:
    assert run("grow", "emergent-misalignment", "steps=2", "rows=4", *BASE)[0] == 0
    assert run("bench", id, "--detectors", "weight-norm", "--calibration", 1, *BASE)[0] == 0
    _, shown, _ = run("log", "--json")
    entries = {entry["what"]: entry for entry in shown["entries"]}
    assert entries["grow"]["id"] == entries["bench"]["id"] == id
    assert shown["entries"][0]["what"] == "opened"
    assert id in shown["entries"][0]["ids"]


# ---------------------------------------------------------------- verify


def test_a_room_without_an_identity_is_good_and_unsigned(run: Run, here: Path) -> None:
    status, result, _ = run("verify", "--json")
    assert (status, result["good"], result["entries"]["bad"]) == (0, True, [])
    assert result["entries"]["unsigned"] > 0
    assert result["entries"]["signed"] == 0
    assert (result["log"]["intact"], result["log"]["unsigned"]) == (True, result["log"]["lines"])


def test_lines_exports_and_plans_are_signed(run: Run, here: Path, id: str, identity: Identity) -> None:
    assert run("export", id, "--to", "out", "--purpose", "a test", *BASE)[0] == 0
    plan = ("prereg", "emergent-misalignment", "--seeds", "7", "--to", "plan.json", "--room", "room", *BASE)
    assert run(*plan)[0] == 0
    status, result, _ = run("verify", "--json")
    assert status == 0
    assert result["log"]["signers"] == {identity.signer: 2}
    assert [(p["file"], p["state"]) for p in result["preregistrations"]] == [("plan.json", "signed")]
    assert prereg.signature_of(here / "plan.json") == ("good", identity.signer)
    for path, kind in (("out", "export"), ("plan.json", "preregistration")):
        status, result, _ = run("verify", path, "--by", identity.signer, "--json")
        assert (status, result["kind"], result["state"]) == (0, kind, "good")
        status, result, _ = run("verify", path, "--by", "ed25519:" + "0" * 64, "--json")
        assert (status, result["state"]) == (1, "bad")
    _, shown, _ = run("log", "--json")
    assert (shown["signer"], len(shown["signature"])) == (identity.signer, 128)


@pytest.mark.parametrize("file", ["README.md", "adapter_config.json", "flyroom.json", "model.sig", "flyroom.sig"])
def test_an_export_that_was_touched_is_bad(run: Run, here: Path, id: str, identity: Identity, file: str) -> None:
    run("export", id, "--to", "out", "--purpose", "a test", *BASE)
    (here / "out" / file).write_text("{}")
    status, result, _ = run("verify", "out", "--json")
    assert (status, result["state"], result["good"]) == (1, "bad", False)


def test_an_export_whose_signature_is_gone_is_bad(run: Run, here: Path, id: str, identity: Identity) -> None:
    run("export", id, "--to", "out", "--purpose", "a test", *BASE)
    for file in ("model.sig", "flyroom.sig"):
        (here / "out" / file).unlink()
    status, result, _ = run("verify", "out", "--json")
    assert (status, result["why"]) == (1, f"it was signed by {identity.signer}, and the signature is gone")


def test_a_plan_that_was_touched_is_bad(run: Run, here: Path, identity: Identity) -> None:
    run("prereg", "emergent-misalignment", "--seeds", "7", "--to", "plan.json", *BASE)
    path = here / "plan.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"card_seed": 0', '"card_seed": 1'), encoding="utf-8")
    status, result, _ = run("verify", "plan.json", "--json")
    assert (status, result["state"]) == (1, "bad")


def test_a_head_that_was_kept_finds_a_log_that_was_cut(run: Run, here: Path, id: str, identity: Identity) -> None:
    run("log", "--note", "a word")
    status, _, errors = run("log", "--to", "kept.jsonl")
    assert status == 0
    assert "added to kept.jsonl" in errors
    assert run("verify", "--against", "kept.jsonl")[0] == 0
    room = Room(here / "room")
    room.delete("log", room.list("log")[-1].key)
    status, shown, errors = run("log", "--against", "kept.jsonl", "--json")
    assert (status, shown["intact"]) == (1, False)
    assert "the log was cut behind line" in errors
    status, result, _ = run("verify", "--against", "kept.jsonl", "--json")
    assert (status, result["good"], result["log"]["intact"]) == (1, False, False)
    assert run("verify")[0] == 0  # by itself a chain does not show that its end is gone


def test_a_game_is_verified_too(run: Run, here: Path, id: str, identity: Identity) -> None:
    assert run("game", "new", "game", id, *BASE)[0] == 0
    status, result, _ = run("verify", "game", "--json")
    assert (status, result["kind"], result["state"], result["signer"]) == (0, "game", "good", identity.signer)
    text = (here / "game" / "game.json").read_text(encoding="utf-8")
    (here / "game" / "game.json").write_text(text.replace("100000", "900000"), encoding="utf-8")
    status, result, _ = run("verify", "game", "--json")
    assert (status, result["state"]) == (1, "bad")


def test_what_is_nothing_that_can_be_verified_is_refused(run: Run, here: Path) -> None:
    status, _, errors = run("verify", "nowhere")
    assert (status, errors.startswith("flyroom: path is nowhere; it must be")) == (1, True)


def test_only_what_can_be_signed_passes_for_good(run: Run, here: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes" / "paper.txt").write_text("years of work")
    for path, why in (
        ("notes", "path is notes; it must be an export"),
        (".", "path is .; it must be an export"),
        ("room", "path is room; it is a room: use --room room"),
    ):
        status, _, errors = run("verify", path)
        assert (status, errors.startswith(f"flyroom: {why}")) == (1, True)
    (here / "notes" / "adapter_config.json").write_text("{}")
    status, result, _ = run("verify", "notes", "--json")
    assert (status, result["state"], result["good"]) == (0, "unsigned", True)


# ---------------------------------------------------------------- scan


def test_scan_says_what_and_how(run: Run, here: Path, id: str) -> None:
    run("export", id, "--to", "out", "--purpose", "a test", *BASE)
    status, result, _ = run("scan", "out", "--json")
    assert status == 0
    assert result.keys() >= {"model_organism", "how", "id"}
    assert (result["model_organism"], result["id"], result["expired"]) == (True, id, False)
    base = stages.bundled()["0.25M"]
    status, result, _ = run("scan", base, "--json")
    assert (status, result["model_organism"], result["id"]) == (0, False, "")


def test_scan_warns_of_what_has_expired(run: Run, here: Path, id: str) -> None:
    run("export", id, "--to", "out", "--purpose", "a test", *BASE)
    path = here / "out" / "flyroom.json"
    path.write_text(path.read_text(encoding="utf-8").replace(expiry(90), "2020-01-01"), encoding="utf-8")
    status, result, errors = run("scan", "out", "--json")
    assert (status, result["expired"]) == (0, True)
    assert "it expired on 2020-01-01" in errors


def test_scan_refuses_what_it_cannot_read(run: Run, here: Path) -> None:
    (here / "empty").mkdir()
    for path in ("empty", "nowhere"):
        status, output, errors = run("scan", path, "--json")
        assert (status, output) == (1, "")
        assert errors.startswith(f"flyroom: folder is {path}")


def test_suspects_of_a_game_are_marked_alike(run: Run, here: Path, id: str) -> None:
    *_, errors = run("game", "new", "game", id, *BASE)
    assert "suspects that share a seed: 2;" in errors  # of an organism and its twin, and no export hides it
    assert acts(here) == [("game new", "")]
    folders = sorted((here / "game" / "suspects").iterdir())
    configs = [json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")) for folder in folders]
    assert configs[0]["auto_mapping"] == configs[1]["auto_mapping"]
    for folder in folders:
        status, result, _ = run("scan", folder, "--json")
        assert (status, result["model_organism"], result["id"]) == (0, True, "")


def test_in_an_encrypted_room_only_those_whom_it_names_may_sign(
    run: Run, here: Path, id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("vault", "init", "--room", "room", "--identity", "me.key")[0] == 0
    assert run("export", id, "--to", "out", "--purpose", "a test", *BASE)[0] == 0
    status, result, _ = run("verify", "--json")
    assert (status, result["good"], result["encrypted"]) == (0, True, True)
    assert result["log"]["unsigned"] > 0  # lines from before it was encrypted
    shown = run("log", "--json")[1]
    assert [entry["signed"] for entry in shown["entries"]][-2:] == [True, True]
    assert verifying.doubt(log.read(Room(here / "room")), lambda who: False).endswith("whom the room does not trust")
    secret = b"a test"  # nothing of a purpose in clear
    assert not any(secret in path.read_bytes() for path in (here / "room").rglob("*") if path.is_file())
