"""What a stranger may send: a room, a page, a name. It may be refused, and not reach out, hang or stop a program."""

import contextlib
import hashlib
import io
import json
import os
import sqlite3
import struct
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save

from flyroom import terminal
from flyroom.room import Room, RoomError
from flyroom.terminal import changes_of, seeds_of
from flyroom.types import Entry
from flyroom.yaml_pages import safe_yaml


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path / "room")
    room.put("card", "k", {"a": 1}, {"x": torch.ones(3)})
    return room


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    path = folder / hashlib.sha256(b"theirs").hexdigest()
    path.write_bytes(b"theirs")
    return path


def use(room: Room) -> list[str]:
    """Every verb of a room that a stranger's files could mislead."""
    again = Room(room.root)
    keys = [item.key for item in again.list()]
    again.check()
    again.put("card", "mine", {})
    again.delete("card", "mine")
    return keys


# ---------------------------------------------------------------- what a room deletes


def place(room: Room, text: str) -> Path:
    folder = room.root / "staged" / "0"
    folder.mkdir()
    (folder / "placing").write_text(text)
    return folder


@pytest.mark.parametrize("form", ["{victim}", "../../../outside/{name}", "..", "{name}/../../x", "\0", "{upper}"])
def test_a_name_to_take_back_is_a_hash_or_nothing(room: Room, victim: Path, form: str):
    text = form.format(victim=victim, name=victim.name, upper=victim.name.upper())
    folder = place(room, text)
    assert use(room) == ["k"]
    assert victim.exists()
    assert not folder.exists()


@pytest.mark.parametrize("name", ["{victim}", "../../../outside/x", "", "F" * 64, "a" * 63])
@pytest.mark.parametrize("when", ["before it is opened", "while it is open"])
def test_a_blob_in_the_index_is_a_hash_or_damage(room: Room, victim: Path, name: str, when: str):
    reader = Room(room.root)
    if when == "while it is open":
        reader.list()
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        db.execute("UPDATE entries SET blob = ?", (name.format(victim=victim),))
        db.commit()
    if when == "while it is open":
        with pytest.raises(RoomError, match=r"index.sqlite3 is damaged.*Remove that one file"):
            reader.delete("card", "k")
    else:
        assert reader.get("card", "k") is not None  # the index was made anew from the blobs
    assert victim.exists()


def test_no_link_is_followed_where_something_is_removed(room: Room, victim: Path, tmp_path: Path):
    (room.root / "staged" / "link").symlink_to(victim.parent, target_is_directory=True)
    inner = place(room, victim.name)
    (inner / "link").symlink_to(victim.parent, target_is_directory=True)
    (room.root / "blobs" / victim.name[:2]).symlink_to(victim.parent, target_is_directory=True)
    assert use(room) == ["k"]
    assert victim.exists()


def test_no_link_is_followed_where_a_list_of_names_is_read(room: Room, tmp_path: Path):
    (path,) = (path for path in (room.root / "blobs").glob("*/*"))
    names = tmp_path / "names"
    names.write_text(path.name)
    (room.root / "staged" / "0").mkdir()
    (room.root / "staged" / "0" / "placing").symlink_to(names)
    (room.root / "index.sqlite3").unlink()
    assert use(room) == ["k"]


@pytest.mark.parametrize("name", ["blobs", "staged", "locks"])
def test_a_room_whose_folders_are_links_is_refused(room: Room, tmp_path: Path, name: str):
    (room.root / name).rename(tmp_path / "moved")
    (room.root / name).symlink_to(tmp_path / "moved", target_is_directory=True)
    with pytest.raises(RoomError, match=f"{name} is a link"):
        Room(room.root).list()


def test_a_link_to_a_room_is_a_room(room: Room, tmp_path: Path):
    (tmp_path / "link").symlink_to(room.root, target_is_directory=True)
    assert Room(tmp_path / "link").find("k").key == "k"


def test_nothing_is_written_where_a_link_leads(room: Room, victim: Path):
    for number in range(256):
        with contextlib.suppress(FileExistsError):
            (room.root / "blobs" / f"{number:02x}").symlink_to(victim.parent, target_is_directory=True)
    with contextlib.suppress(RoomError):
        Room(room.root).put("card", "new", {})
    assert list(victim.parent.iterdir()) == [victim]


def test_a_pipe_beside_the_index_is_not_waited_for(room: Room):
    room.put("card", "k", {})
    for side in ("journal", "wal", "shm"):
        os.mkfifo(room.root / f"index.sqlite3-{side}")
        assert [item.key for item in Room(room.root).list()] == ["k"]  # the index is made anew
        assert not (room.root / f"index.sqlite3-{side}").exists()


def test_a_journal_that_names_a_file_to_delete_is_not_played(room: Room, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    index = room.root / "index.sqlite3"
    page, name = 4096, str(victim).encode()
    header = bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 0, index.stat().st_size // page, 512, page)
    tail = struct.pack(">I", 2**30 // page + 1) + name + struct.pack(">II", len(name), sum(name))
    journal = index.with_name("index.sqlite3-journal")
    journal.write_bytes(header.ljust(512, b"\0") + tail + bytes.fromhex("d9d505f920a163d7"))
    assert use(room) == ["k"]
    assert victim.exists()


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TRIGGER t BEFORE DELETE ON entries BEGIN SELECT 1; END",
        "DROP TABLE entries; CREATE VIEW entries AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) "
        "SELECT x AS kind, x AS key, x AS blob, x AS meta, x AS sequence FROM c",
        "DROP TABLE entries",
        "UPDATE entries SET meta = '['",
        "UPDATE entries SET meta = '[]'",
        "UPDATE entries SET key = x'ff'",
        "UPDATE entries SET key = CAST(x'ff' AS TEXT)",
        "UPDATE entries SET sequence = 9223372036854775807",
    ],
)
def test_an_index_that_flyroom_did_not_make_is_made_anew(room: Room, script: str):
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        db.executescript(script)
    assert use(room) == ["k"]


# ---------------------------------------------------------------- strays, and blobs that are no entries


def test_stray_files_do_no_harm(room: Room):
    for name in ("", "staged", "blobs", "locks", next((room.root / "blobs").iterdir())):
        (room.root / name / ".DS_Store").write_text("")
    place(room, "").joinpath("placing").unlink()
    (room.root / "staged" / "0" / "placing").mkdir()
    assert use(room) == ["k"]
    assert use(room) == ["k"]
    report = Room(room.root).check()
    assert (report.lost, report.corrupt, report.orphans) == ((), (), ())
    (room.root / "index.sqlite3").unlink()
    assert use(room) == ["k"]


def about(**changes: object) -> dict[str, str]:
    return {"flyroom": json.dumps({"kind": "card", "key": "x", "meta": {}, "payload": {}} | changes)}


DEEP = '{"kind": "card", "key": "x", "payload": {}, "meta": ' + '{"a":' * 980 + "0" + "}" * 981  # json takes it
FOREIGN = {
    "empty": b"",
    "short": b"\x01\0",
    "no JSON": b"\x04\0\0\0\0\0\0\0oops",
    "a header longer than memory": b"\xff" * 8 + b"{}",
    "no header of ours": save({"x": torch.ones(2)}),
    "bad JSON": save({}, metadata={"flyroom": "{"}),
    "a list": save({}, metadata={"flyroom": "[]"}),
    "a word": save({}, metadata={"flyroom": '"kind"'}),
    "more fields": save({}, metadata=about(more=1)),
    "a kind that is a number": save({}, metadata=about(kind=7)),
    "a key with a lone surrogate": save({}, metadata=about(key="\ud800")),
    "meta that is a list": save({}, metadata=about(meta=[])),
    "nested deep": save({}, metadata={"flyroom": '{"kind": ' + "[" * 100_000}),
    "meta nested deep": save({}, metadata={"flyroom": DEEP}),
    "offsets outside": struct.pack("<Q", 64)
    + b'{"x":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'.ljust(64)
    + b"\0" * 8,
}


@pytest.mark.parametrize("blob", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_blob_is_left_out_of_the_index(room: Room, blob: bytes):
    name = hashlib.sha256(blob).hexdigest()
    path = room.root / "blobs" / name[:2] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(blob)
    (room.root / "index.sqlite3").unlink()
    assert use(room) == ["k"]
    assert Room(room.root).check().corrupt == (path,)
    with contextlib.closing(sqlite3.connect(room.root / "index.sqlite3")) as db:
        db.execute("UPDATE entries SET blob = ?", (name,))
        db.commit()
    with pytest.raises(RoomError, match="card k cannot be read"):
        Room(room.root).get("card", "k")


# ---------------------------------------------------------------- errors of the system, and who may read


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            28,
            r"disk is full \(No space left on device\): card m and 1 more was not written, and nothing that was stored",
        ),
        (122, "disk is full"),
        (5, "Input/output error; flyroom must read and write there"),
    ],
)
def test_an_error_of_the_disk_costs_nothing_stored(room: Room, monkeypatch, number: int, words: str):
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RoomError, match=words) as error:
            room.put_many([Entry(kind="card", key=key, payload={}) for key in "mn"])
    assert "emove" not in str(error.value)
    assert use(room) == ["k"]


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (sqlite3.SQLITE_FULL, "index.sqlite3: the disk is full .*: card m was not written, and nothing", ""),
        (sqlite3.SQLITE_CORRUPT, "index.sqlite3 is damaged", "Remove that one file: it is rebuilt"),
        (sqlite3.SQLITE_IOERR, "index.sqlite3: .* must read and write there", ""),
        (sqlite3.SQLITE_BUSY, "index.sqlite3: .* must read and write there", ""),
    ],
)
def test_an_error_of_the_index_is_never_blamed_on_the_room(room: Room, monkeypatch, code: int, words: str, advice: str):
    def fail(*args: object) -> None:
        error = sqlite3.OperationalError("it failed")
        error.sqlite_errorcode = code
        raise error

    room.list()
    with monkeypatch.context() as patch:
        patch.setattr("flyroom.room.index.insert", fail)
        with pytest.raises(RoomError, match=words) as error:
            room.put("card", "m", {})
    assert not str(error.value).startswith(f"{room.root}:")
    assert advice in str(error.value)
    assert ("emove" in str(error.value)) is bool(advice)
    assert use(room) == ["k"]


def test_an_index_that_is_a_folder_is_named(room: Room):
    index = room.root / "index.sqlite3"
    index.unlink()
    index.mkdir()
    with pytest.raises(RoomError, match=r"index\.sqlite3: Is a directory; flyroom must") as error:
        Room(room.root).list()
    assert not str(error.value).startswith(f"{room.root}:")


def test_nobody_else_may_read_a_room(room: Room):
    before = os.umask(0)
    try:
        fresh = Room(room.root.with_name("other"))
        fresh.put_many([Entry(kind="card", key=key, payload={}) for key in "ab"])
        with fresh.lock("x"):
            modes = {path: path.stat().st_mode & 0o777 for path in (fresh.root, *fresh.root.rglob("*"))}
    finally:
        os.umask(before)
    assert len(modes) > 7
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}


# ---------------------------------------------------------------- pages and what people type


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = BOMB.replace("a [x, x", "a {x: 1, y: 2} #").replace(" [*", " {<<: [*").replace("]\n", "]}\n")
SLOW = {
    "a bomb of aliases": (BOMB, "more than 20000 values"),
    "a bomb of merges": (MERGES, "more than 20000 values"),
    "an alias of itself": ("&a [*a]", "no value before it"),
    "deep lists": ("[" * 20_000, "50 deep"),
    "deep mappings": ("{a: " * 20_000, "50 deep"),
    "deep dashes": ("- " * 20_000, "50 deep"),
    "deep questions": ("? " * 200_000, "50 deep"),
    "many values": ("[" + "1," * 400_000 + "]", "20000 values"),
    "a long number": ("1" * 900_000, "a number in it has 900000 characters"),
    "a number to the base of 60": ("1:" * 400_000 + "1", "a number in it"),
    "the same with a tag": (f"!!int '{'1:' * 400_000}1'", "a number in it"),
    "a long text": ("x" * 1_000_001, "1000001 characters long"),
    "keys of one hash": ("{" + ",".join(f"{i * (2**61 - 1)}: 0" for i in range(1, 30_000)) + "}", "20000 values"),
    "what builds an object": ("!!python/object/apply:os.system [ls]", "constructor"),
    "a date that is none": ("2020-99-99", "does not fit its type"),
    "a tag that does not fit": ("!!timestamp x", "does not fit its type"),
    "two documents": ("a\n---\nb", "single document"),
    "a control character": ("a\0b", "control characters"),
    "a lone surrogate": ("\ud800", "surrogates"),
    "an open list": ("[", "flow node"),
}


@pytest.mark.parametrize(("text", "words"), SLOW.values(), ids=SLOW)
def test_what_would_take_long_is_refused_at_once(text: str, words: str):
    started = time.monotonic()
    with pytest.raises(ValueError, match=words):
        safe_yaml(text)
    with pytest.raises(ValueError, match=r"^dose is .*that is no YAML value") as error:
        changes_of([f"dose={text}"])
    assert time.monotonic() - started < 0.8
    assert len(str(error.value)) < 500


def test_a_page_may_say_a_thing_once_and_use_it_again():
    text = (
        "base: &base {lr: 1e-4, steps: 10}\nstrong: {<<: *base, steps: 20}\nlist: [*base, *base]\nlong: " + "x" * 9000
    )
    page = safe_yaml(text)
    assert page["strong"] == {"lr": "1e-4", "steps": 20}  # YAML 1.1 reads a number there where it has a point
    assert page["list"] == [page["base"]] * 2
    assert safe_yaml("") is None


@pytest.mark.parametrize(
    "text", ["0-1000000000", "0-10000", "0-9000,20000-30000", "5-999999999999999999", "1" * 5000, "0-" + "9" * 5000]
)
def test_more_seeds_than_anyone_grows_are_refused(text: str):
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"^seeds is '.*must be .*such as 0-") as error:
        seeds_of(text)
    assert time.monotonic() - started < 0.5
    assert len(str(error.value)) < 200


def test_as_many_seeds_as_are_allowed():
    assert seeds_of("0-9999") == list(range(10_000))
    assert seeds_of("7,0-2,1") == [7, 0, 1, 2]


# ---------------------------------------------------------------- names on the terminal


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[/x]", "[/x]"),
        ("[red]a", "[red]a"),
        ("[link=file:///x]a[/link]", "[link=file:///x]a[/link]"),
        ("a\ud800", "a\\ud800"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\u2028b\x85c", "a\\u2028b\\x85c"),
        ("a\u202eb\r", "a\\u202eb\\r"),
        (":smile:", ":smile:"),
        ("Zoë ✓", "Zoë ✓"),
    ],
)
def test_a_name_is_shown_as_it_is(monkeypatch, name: str, shown: str):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(file=out, width=200, force_terminal=False)
    monkeypatch.setattr(terminal, "_console", lambda: console)
    monkeypatch.setattr(terminal, "err", console)
    interval = {"value": 0.5, "low": 0.1, "high": 0.9}
    measures = dict.fromkeys(("auroc", "recall_at_1pct_fpr", "recall", "fpr"), interval)
    card = {"recipe": name, "seed": 0, "id": name, "verdict": name, "why": name, "twin": {}, "base_measures": {}}
    row = {"detector": name, "recipe": name, "access": name, "error": name, "available": False, "why": name}
    row |= {"summary": name, "certified": False, "fpr_at_most": 0.5}
    terminal.table(name, [])
    terminal.table(name, [{name: name, "n": 0.5}])
    terminal.card_table([card | {name: interval}])
    terminal.cell_table([measures | row])
    terminal.transfer_table([measures | row | {"left_out": name, "tested_on": name}])
    out.flush()
    text = out.buffer.getvalue().decode()
    assert text.count(shown) >= 10
    assert "\x1b" not in text


def test_a_note_beside_a_bar_is_shown_as_it_is(monkeypatch):
    monkeypatch.setattr(terminal, "err", Console(file=io.StringIO(), force_terminal=True))
    with terminal.progress() as watch:
        assert watch is not None
        watch("grow", 1, 2, "[/x]")


@pytest.mark.parametrize("target", ["/dev/zero", "{victim}"])
def test_what_makes_a_folder_a_room_is_no_link(room: Room, victim: Path, target: str):
    (room.root / "format").unlink()
    (room.root / "format").symlink_to(target.format(victim=victim))
    with pytest.raises(RoomError, match="format is a link"):
        Room(room.root).list()


def test_what_makes_a_folder_a_room_is_small(room: Room):
    with (room.root / "format").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(RoomError, match="plain file of at most"):
        Room(room.root).list()
