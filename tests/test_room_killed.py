"""What a room promises when processes are killed, or race."""

import contextlib
import fcntl
import itertools
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from flyroom.room import Room, index
from flyroom.room.folder import Folder
from flyroom.types import Entry
from tests.forks import FORKS, start
from tests.rooms import assert_sound, blobs, end, entries, table


def write_on(root: Path, start: int, done: Connection) -> None:
    room = Room(root)
    for i in itertools.count(start):
        room.put_many([Entry(kind="organism", key=f"{i}-{j}", payload={"fill": "x" * 20000}) for j in range(3)])
        room.put("checkpoint", "now", {"i": i})
        done.send(i)


def kill_while_writing(root: Path, start_at: int, sleep: float, *, waits: bool) -> set[int]:
    """Kills a writer. Returns the groups of which it has said that they are written."""
    ours, theirs = FORKS.Pipe(duplex=False)
    process = start(write_on, root, start_at, theirs)
    theirs.close()
    if waits:
        ours.poll(20)  # it is writing by now; else it may be anywhere, in its imports too
    time.sleep(sleep)
    process.kill()
    assert end(process) == -signal.SIGKILL
    committed = set[int]()
    with contextlib.suppress(EOFError):
        while True:
            committed.add(ours.recv())
    return committed


@pytest.mark.parametrize("room_number", range(5))
def test_kill_9_at_any_moment(room: Room, room_number: int):
    """Five writers of a room are killed one after another; in five rooms, for all of a room is read after each."""
    rng, committed = random.Random(room_number), set()
    for kill in range(5):
        committed |= kill_while_writing(room.root, kill * 10**6, rng.uniform(0.0, 0.15), waits=kill > 0)
        fresh = Room(room.root)
        keys = [item.key for item in fresh.list("organism")]
        groups = {int(key.split("-")[0]) for key in keys}
        assert len(keys) == 3 * len(groups)  # all of a group or none
        assert committed <= groups  # what was done is there
        now = fresh.get("checkpoint", "now")
        assert now is None or now.payload["i"] >= max(committed, default=0)
        assert list((room.root / "staged").iterdir()) == []
        report = fresh.check()
        assert (report.lost, report.corrupt) == ((), ())
        assert all(b"checkpoint" in path.read_bytes() for path in report.orphans)  # a group never leaves one
    assert len(committed) >= 4
    assert_sound(room)
    rows = table(room)
    (room.root / "index.sqlite3").unlink()
    room.list()
    assert [row for row in table(room) if row[0] == "organism"] == [row for row in rows if row[0] == "organism"]


def die(*args: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def put_and_die(root: Path, moment: str) -> None:
    place, insert, placed = Room._place, index.insert, []

    def place_one(room: Room, path: Path) -> None:
        if placed:
            die()
        placed.append(path)
        place(room, path)

    if moment == "before the first blob":
        Room._place = die
    elif moment == "between blobs":
        Room._place = place_one
    elif moment == "behind the commit":
        unlink = Path.unlink
        Path.unlink = lambda self, **how: die() if self.name == "placing" else unlink(self, **how)
    elif moment == "before the commit":
        index.insert = lambda db, seal, row: die() if row.key == "c" else insert(db, seal, row)
    else:
        Room._drop = die
    Room(root).put_many(entries("organism", "abc"))


MOMENTS = ["before the first blob", "between blobs", "before the commit", "behind the commit", "after the commit"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_group_is_all_or_none_wherever_it_is_killed(room: Room, moment: str, index: str):
    room.put_many(entries("organism", "xy"))
    assert end(start(put_and_die, room.root, moment)) == -signal.SIGKILL
    if index == "lost":
        (room.root / "index.sqlite3").unlink()
    whole = {"behind the commit", "after the commit"}
    whole |= {"before the commit"} if index == "lost" else set()  # nobody knows of the commit, and all of it is there
    expected = "xyabc" if moment in whole else "xy"
    fresh = Room(room.root)
    assert [item.key for item in fresh.list()] == list(expected)
    assert len(blobs(room)) == len(expected)
    assert list((room.root / "staged").iterdir()) == []
    fresh.put_many(entries("organism", "abc"))
    assert sorted(item.key for item in fresh.list()) == list("abcxy")
    assert_sound(fresh)


def delete_and_die(root: Path, moment: str) -> None:
    if moment == "before the commit":
        index.remove = die
    elif moment == "after the commit":
        Room._drop = die
    else:
        remove, gone = Folder.remove, []
        Folder.remove = lambda self, name: die() if gone else gone.append(remove(self, name))
    Room(root).delete_many([("organism", key) for key in "abc"])


@pytest.mark.parametrize("moment", ["before the commit", "after the commit", "between blobs"])
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_what_is_taken_out_goes_as_a_whole_wherever_it_is_killed(room: Room, moment: str, index: str):
    room.put_many(entries("organism", "xyabc"))
    assert end(start(delete_and_die, room.root, moment)) == -signal.SIGKILL
    if index == "lost":
        (room.root / "index.sqlite3").unlink()
    stays = moment == "before the commit" or (moment == "after the commit" and index == "lost")
    fresh = Room(room.root)
    assert sorted(item.key for item in fresh.list()) == sorted("xyabc" if stays else "xy")
    assert fresh.check().orphans == ()


def write_hundred(root: Path, mine: str) -> None:
    room = Room(root)
    for i in range(50):
        entry = room.put("organism", f"shared-{i}", {"by": mine})
        assert room.get("organism", f"shared-{i}").payload == entry.payload  # whoever won, both have the same
    for i in range(0, 50, 10):
        room.put_many(entries("card", [f"{mine}-{i + j}" for j in range(10)]))
        room.put("checkpoint", "now", {"by": mine, "i": i})


def test_two_processes_write_at_once(room: Room):
    processes = [start(write_hundred, room.root, name) for name in ("one", "two")]  # and both make the room
    assert [end(process) for process in processes] == [0, 0]
    assert len(room.list("organism")) == 50
    assert len(room.list("card")) == 100
    report = room.check()
    assert (report.entries, report.lost, report.corrupt, report.orphans) == (151, (), (), ())
    rows = table(room)
    (room.root / "index.sqlite3").unlink()
    room.list()
    assert table(room) == rows
    assert_sound(room)


def test_a_sweep_leaves_the_living_alone(room: Room):
    room.put("a", "k", {})
    with room._folder.stage() as folder:
        (folder / "half").write_bytes(b"...")
        other = Room(room.root)
        other.put("a", "l", {})
        assert (folder / "half").exists()
    assert list((room.root / "staged").iterdir()) == []


def test_a_sweep_passes_over_a_writer_that_ends_while_it_looks(room: Room, monkeypatch: pytest.MonkeyPatch):
    folder = room.root / "staged" / "ending"
    folder.mkdir(parents=True)
    flock = fcntl.flock

    def end_first(handle: int, how: int) -> None:
        if how & fcntl.LOCK_NB:
            folder.rmdir()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", end_first)
    Room(room.root).put("a", "k", {})
    assert not folder.exists()
    assert room.get("a", "k") is not None


def make_once(root: Path, made: Connection) -> None:
    room = Room(root)
    with room.lock("stage"):
        if room.get("a", "k") is None:
            time.sleep(0.3)
            room.put("a", "k", {})
            made.send("made")


def test_the_second_at_a_lock_waits_and_finds_the_result(room: Room):
    ours, theirs = FORKS.Pipe(duplex=False)
    processes = [start(make_once, room.root, theirs) for _ in range(2)]
    assert [end(process) for process in processes] == [0, 0]
    theirs.close()
    assert ours.recv() == "made"
    with pytest.raises(EOFError):
        ours.recv()
    assert list((room.root / "locks").iterdir()) == []


def count(root: Path, times: int) -> None:
    room, tally = Room(root), root.with_name("tally")
    for _ in range(times):
        with room.lock("stage"):
            tally.write_text(str(int(tally.read_text()) + 1))


def test_a_lock_that_many_want_is_held_by_one_at_a_time(room: Room):
    room.root.with_name("tally").write_text("0")
    processes = [start(count, room.root, 100) for _ in range(4)]
    assert [end(process) for process in processes] == [0, 0, 0, 0]
    assert room.root.with_name("tally").read_text() == "400"


def hold(root: Path, held: Connection) -> None:
    with Room(root).lock("stage"):
        held.send("in")
        time.sleep(60)


def test_a_killed_holder_lets_go(room: Room):
    ours, theirs = FORKS.Pipe(duplex=False)
    process = start(hold, room.root, theirs)
    assert ours.recv() == "in"
    (path,) = (room.root / "locks").iterdir()
    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.kill()
    assert end(process) == -signal.SIGKILL
    started = time.monotonic()
    with room.lock("stage"), room.lock("index"), room.lock("staged"):  # no name is the room's own
        (room.root / "index.sqlite3").unlink()
        assert room.list() == []
        assert time.monotonic() - started < 5
