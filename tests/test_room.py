"""What a room promises of its entries: they come back as they were put in, or an error says what is wrong."""

import doctest
import json
import os
import resource
import shutil
import sqlite3
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from flyroom import room as module
from flyroom.room import Listing, Room, RoomError, store
from flyroom.room import entries as entry_files
from flyroom.types import Entry, Estimate, Verdict, plain
from tests.forks import FORKS, start
from tests.rooms import assert_sound, blobs, end, entries, table

# ---------------------------------------------------------------- entries


def test_example_in_docstring():
    assert doctest.testmod(store) == (0, 4)


def test_public_names():
    assert set(module.__all__) == {"Room", "RoomError", "Listing", "Report", "Signature", "find_around", "place_page"}


def test_round_trip(room: Room):
    tensors = {
        "layers.0.A": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
        "half": torch.randn(4, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
        "transposed": torch.arange(6).reshape(2, 3).T,
        "step": torch.tensor(7),
        "none": torch.zeros(0, 4),
    }
    estimate = Estimate(value=0.5, low=0.1, high=0.9, n=4)
    put = room.put("organism", "a1", {"loss": 0.25, "e": estimate, "v": Verdict.ALIGNED, "t": (1, None)}, tensors)
    for entry in (put, room.get("organism", "a1"), Room(room.root).get("organism", "a1")):
        assert entry is not None
        assert entry.payload["e"] == plain(estimate)
        assert (entry.payload["v"], entry.payload["t"], entry.meta) == ("aligned", [1, None], {})
        assert set(entry.tensors) == set(tensors)
        for name, tensor in tensors.items():
            assert entry.tensors[name].dtype is tensor.dtype
            assert torch.equal(entry.tensors[name], tensor)
    assert room.get("organism", "a") is None
    assert room.get("card", "a1") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
shapes = st.lists(st.integers(0, 4), max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    payload=st.dictionaries(st.text(max_size=6), json_values, max_size=5),
    tensors=st.dictionaries(st.from_regex(r"[a-z.0-9]{1,8}", fullmatch=True), st.tuples(shapes, dtypes), max_size=3),
    seed=st.integers(0, 99),
)
def test_any_payload_comes_back(room: Room, payload, tensors, seed):
    generator = torch.Generator().manual_seed(seed)
    values = {name: torch.randint(0, 2, shape, generator=generator).to(kind) for name, (shape, kind) in tensors.items()}
    room.put("checkpoint", "x", payload, values)
    entry = room.get("checkpoint", "x")
    assert entry is not None
    assert json.dumps(entry.payload) == json.dumps(payload)  # the order of keys too
    assert set(entry.tensors) == set(values)
    for name, tensor in values.items():
        assert torch.equal(entry.tensors[name], tensor)


def put_six(root: Path) -> None:
    Room(root).put("a", "k", {"x": 1, "y": [2]}, {name: torch.ones(3) for name in "fedcba"}, {"m": 1, "l": 2})


def test_the_same_content_is_the_same_file_in_any_process(room: Room, tmp_path: Path):
    put_six(room.root)
    for name in "123":
        assert end(start(put_six, tmp_path / name)) == 0
        assert blobs(Room(tmp_path / name))[0].name == blobs(room)[0].name


def test_a_blob_is_a_safetensors_file_of_every_type_of_number(room: Room):
    tensors = {kind: torch.ones(5).to(getattr(torch, kind.removeprefix("torch."))) for kind in entry_files.DTYPES}
    tensors |= {"turned": torch.arange(12.0).reshape(3, 4).T, "step": torch.tensor(7), "none": torch.zeros(0, 4)}
    room.put("organism", "a", {"x": 1}, tensors, {"m": 2})
    (path,) = blobs(room)
    with safe_open(path, framework="pt") as file:
        assert list(file.metadata()) == ["flyroom"]
    for values in (load_file(path), room.get("organism", "a").tensors):
        assert set(values) == set(tensors)
        for name, tensor in tensors.items():
            assert values[name].dtype is tensor.dtype
            assert values[name].shape == tensor.shape
            assert torch.equal(values[name].float(), tensor.float())


def test_a_stored_entry_is_no_view_of_what_was_given(room: Room):
    tensor = torch.zeros(3)
    entry = room.put("organism", "a", {}, {"x": tensor})
    tensor += 1
    assert entry.tensors["x"].tolist() == [0, 0, 0]
    entry.tensors["x"] += 2
    assert room.get("organism", "a").tensors["x"].tolist() == [0, 0, 0]
    entry = room.get("organism", "a")
    room.delete("organism", "a")
    assert entry.tensors["x"].tolist() == [0, 0, 0]


def measure_memory(root: Path, sizes: Connection) -> None:
    room, tensors = Room(root), {f"{i}": torch.ones(5_000_000) for i in range(10)}  # 200 MB
    room.put("organism", "small", {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    room.put("organism", "a", {}, tensors)
    room.get("organism", "a")
    room.check()
    (root / "index.sqlite3").unlink()
    room.list()
    sizes.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is counted in other units")
def test_no_verb_needs_the_memory_of_an_entry_again(room: Room):
    ours, theirs = FORKS.Pipe(duplex=False)
    assert end(start(measure_memory, room.root, theirs)) == 0
    assert ours.recv() < 40_000  # kB; one tensor is 20,000


def test_first_entry_wins_except_for_checkpoints(room: Room):
    room.put("organism", "a", {"by": "first"})
    assert room.put("organism", "a", {"by": "second"}).payload == {"by": "first"}
    for step in (1, 2, 3):
        assert room.put("checkpoint", "a", {"step": step}).payload == {"step": step}
    assert len(blobs(room)) == 2
    before = table(room)
    room.put("checkpoint", "a", {"step": 3})
    assert table(room) == before
    assert_sound(room)


def test_list_is_in_order_and_delete_takes_the_blob(room: Room):
    room.put_many(entries("card", "cab"))
    room.put_many(entries("organism", "b"))
    assert [item.key for item in room.list("card")] == list("cab")
    assert room.list()[-1] == Listing("organism", "b", {"key": "b"})
    room.delete("card", "a")
    room.delete("card", "never")
    assert [item.key for item in room.list("card")] == list("cb")
    assert len(blobs(room)) == 3
    assert_sound(room)


def test_find(room: Room):
    room.put_many([*entries("organism", ["a1b2", "a1c3", "ff00", "ff"]), *entries("card", ["ff00"])])
    assert room.find("a1b").key == "a1b2"
    assert room.find("ff").key == "ff"  # a whole key comes first
    assert room.find("ff0", kind="card").kind == "card"
    for prefix, message in (
        ("a1", "'a1' could be 2 entries: organism a1b2, organism a1c3"),
        ("ff00", "organism ff00, card ff00"),
        ("a1b3", "did you mean (a1c3 or )?a1b2"),
        ("zz", "there are 5 to choose from"),
    ):
        with pytest.raises(RoomError, match=message):
            room.find(prefix)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry(kind="a", key="k", payload={"x": float("nan")}), "a k cannot be stored: Out of range"),
        (Entry(kind="a", key="k", payload={"x": object()}), "object cannot be written as JSON"),
        (Entry(kind="a", key="k", payload={}, tensors={"x": torch.zeros(1).to_sparse()}), "a k cannot be stored"),
        (
            Entry(kind="a", key="k", payload={}, tensors={"x": torch.zeros(1, dtype=torch.complex64)}),
            "'x' is torch.compl",
        ),
        (Entry(kind="a", key="k", payload={}, tensors={"__metadata__": torch.zeros(1)}), "a k cannot be stored"),
        (Entry(kind="a", key="k", payload={}, tensors={"\ud800": torch.zeros(1)}), "a k cannot be stored"),
        (Entry(kind="", key="k", payload={}), "not empty"),
        (Entry(kind="a", key="k\n", payload={}), "printable"),
    ],
)
def test_what_cannot_be_stored_is_refused(room: Room, entry: Entry, message: str):
    with pytest.raises(RoomError, match=message):
        room.put_many([*entries("a", "b"), entry])
    assert room.list() == []
    with pytest.raises(RoomError, match="twice"):
        room.put_many(entries("a", "bb"))


# ---------------------------------------------------------------- opening


def test_nothing_is_touched_before_the_first_use(tmp_path: Path):
    room = Room(tmp_path / "new")
    assert not room.root.exists()
    assert room.list() == []
    assert_sound(room)
    with pytest.raises(RoomError, match="there is no room at"):
        Room(tmp_path / "typo", create=False).list()
    assert not (tmp_path / "typo").exists()


def test_what_is_not_a_room_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RoomError, match=r"is not a room: it holds other files \(thesis.tex\)"):
        Room(tmp_path).list()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RoomError, match="it must be a folder, and a file is in its place"):
        Room(tmp_path / "thesis.tex").list()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flyroom room 4", r"newer flyroom \(format 4, this one reads format 3\)"),
        ("flyroom room 1", r"written by an early version \(format 1\), and this version reads format 2: grow again"),
        ("flyroom room 0", "is not a room"),
        ("flyroom room " + "9" * 5000, "is not a room"),
        ("hello", "is not a room"),
    ],
)
def test_other_formats_are_refused(room: Room, text: str, message: str):
    room.put("a", "k", {})
    (room.root / "format").write_text(text)
    with pytest.raises(RoomError, match=message):
        Room(room.root).list()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_room_without_permission(room: Room):
    room.put("a", "k", {"x": 1})
    folders = [room.root, *(path for path in room.root.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        with pytest.raises(RoomError, match="Permission denied"):
            Room(room.root).put("a", "l", {})
    finally:
        for path in folders:
            path.chmod(0o700)


def test_a_full_disk_is_said_clearly_and_leaves_nothing(room: Room, monkeypatch: pytest.MonkeyPatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    room.put("a", "k", {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RoomError, match=r"disk is full .*: a l and 1 more was not written, and nothing.* is lost"):
            room.put_many(entries("a", "lm"))
        assert list((room.root / "staged").iterdir()) == []  # its space is given back at once
    assert [item.key for item in Room(room.root).list()] == ["k"]
    assert list((room.root / "staged").iterdir()) == []
    assert_sound(room)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database, but long enough to look at" * 9),
        lambda path: path.write_bytes(path.read_bytes()[:4096]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(8) * 512 + path.read_bytes()[8192:]),
    ],
    ids=["deleted", "empty", "nonsense", "truncated", "overwritten"],
)
def test_the_index_is_rebuilt_equal(room: Room, damage):
    for key in "dacb":
        room.put_many(entries("organism", [key * 40, key]))
        room.put("checkpoint", "c", {"step": key})
    room.delete("organism", "a")
    listed, rows = room.list(), table(room)
    index = room.root / "index.sqlite3"
    damage(index)
    index.with_name("index.sqlite3-journal").write_bytes(b"left by the old one")
    assert Room(room.root).list() == listed
    assert table(room) == rows
    assert_sound(room)


def test_an_index_deleted_while_a_room_is_open_is_rebuilt(room: Room):
    room.put_many(entries("organism", "ab"))
    (room.root / "index.sqlite3").unlink()
    assert room.put("organism", "a", {"by": "second"}).payload == {"of": "a"}
    assert [item.key for item in room.list()] == ["a", "b"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_blob_is_never_used(room: Room, damage: str):
    room.put_many([Entry(kind="organism", key=key, payload={}, tensors={"x": torch.ones(99)}) for key in "ab"])
    path = next(path for path in blobs(room) if b'"key\\":\\"a' in path.read_bytes())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-7])
    if damage == "gone":
        path.unlink()
    with pytest.raises(RoomError, match=f"organism a cannot be read: {path}.*index.sqlite3") as error:
        room.get("organism", "a")
    assert ("is gone" if damage == "gone" else "is damaged") in str(error.value)
    report = room.check()
    assert report.entries == 2
    assert [item.key for item in report.lost] == (["a"] if damage == "gone" else [])
    assert report.corrupt == (() if damage == "gone" else (path,))
    assert room.get("organism", "b") is not None

    other = Room(shutil.copytree(room.root, room.root.with_name("copy")))
    (other.root / "index.sqlite3").unlink()  # what the message says
    assert [item.key for item in other.list()] == ["b"]

    room.put("organism", "a", {"made": "again"}, {"x": torch.ones(99)})  # or the stage is simply run again
    assert room.get("organism", "a").payload == {"made": "again"}
    assert len(room.list()) == 2


def test_orphans_are_reported_and_kept(room: Room):
    room.put_many(entries("organism", "ab"))
    with sqlite3.connect(room.root / "index.sqlite3") as db:
        db.execute("DELETE FROM entries WHERE key = 'a'")
    db.close()
    assert len(Room(room.root).check().orphans) == 1
    (room.root / "index.sqlite3").unlink()
    assert [item.key for item in Room(room.root).list()] == ["a", "b"]
