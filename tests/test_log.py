"""The log: no line can be changed, left out or forked, whoever is killed; and what it calls opened."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fakes import TOY, FakeEngine, ToyWorld

from flyroom import grow as growth
from flyroom import log, stages
from flyroom.log import chain, heads
from flyroom.room import Room, RoomError
from flyroom.room.folder import Folder
from flyroom.stages import verifying
from flyroom.types import Organism, Recipe
from flyroom.vault import Identity

BASE = FakeEngine().base
SEEDS = (0, 1)


def note(room: Room, *texts: str) -> list[log.Line]:
    return [log.append(room, log.NOTE, {"text": text}) for text in texts]


def tamper(room: Room, place: int, /, **changes: Any) -> None:
    """Put another line in the place of one; without changes none."""
    key = f"log-{place:06}"
    entry = room.get("log", key)
    assert entry is not None
    room.delete("log", key)
    if changes:
        room.put("log", key, {**entry.payload, **changes})


def opened(room: Room) -> list[tuple[str, float, list[int]]]:
    """The recipe, dose and seeds of each row of each line that opens seeds."""
    lines = [line for line in log.read(room) if line.what == log.OPENED]
    return [(row["name"], row["dose"], row["seeds"]) for line in lines for row in line.about["recipes"]]


def open_base() -> stages.OpenBase:
    return stages.OpenBase(FakeEngine(), ToyWorld())  # pyright: ignore[reportArgumentType]


# ---------------------------------------------------------------- the chain


def test_each_line_holds_the_hash_of_the_line_before(room: Room) -> None:
    lines = note(room, "a", "b", "c")
    assert log.read(room) == lines
    assert [line.before for line in lines] == ["", lines[0].sha256, lines[1].sha256]
    assert [line.number for line in lines] == [0, 1, 2]
    assert all(line.at.endswith("+00:00") for line in lines)


def test_the_same_is_written_once(room: Room) -> None:
    first, second, again = note(room, "a", "b", "a")
    assert again == first != second
    assert len(log.read(room)) == 2


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_line_that_was_changed_is_named(room: Room, number: int) -> None:
    note(room, "a", "b", "c")
    tamper(room, number, about={"text": "never"})
    with pytest.raises(log.LogError, match=rf"^line {number} of the log in .* was changed"):
        log.read(room)


@pytest.mark.parametrize("number", [0, 1])
def test_a_line_that_is_missing_is_named(room: Room, number: int) -> None:
    note(room, "a", "b", "c")
    tamper(room, number)
    with pytest.raises(log.LogError, match=rf"^line {number} of the log in .* is missing"):
        log.read(room)


def test_a_line_that_was_put_in_with_a_hash_of_its_own_is_named(tmp_path: Path, room: Room) -> None:
    other = Room(tmp_path / "other")
    note(other, "x", "y")
    note(room, "a", "b", "c")
    for number in SEEDS:
        entry = other.get("log", f"log-{number:06}")
        assert entry is not None
        tamper(room, number, **entry.payload)
    with pytest.raises(log.LogError, match=r"^line 2 of the log in .* does not follow"):
        log.read(room)


def test_an_entry_that_is_no_line_is_named(room: Room) -> None:
    note(room, "a", "b")
    tamper(room, 1, number="one")
    with pytest.raises(log.LogError, match=r"^line 1 .* is none"):
        log.read(room)


def write_at_once(path: Path) -> None:
    def work(name: int) -> None:
        note(Room(path), *(f"{name} {i}" for i in range(5)))

    threads = [Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_at_once_write_one_chain(tmp_path: Path) -> None:
    write_at_once(tmp_path)
    assert len(log.read(Room(tmp_path))) == 20


def test_the_chain_does_not_fork_where_nobody_waits_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nothing(self: Room, key: str) -> Iterator[None]:
        yield

    Room(tmp_path).list()
    monkeypatch.setattr(Room, "lock", nothing)
    write_at_once(tmp_path)
    assert len(log.read(Room(tmp_path))) == 20


def test_a_kill_before_a_line_is_stored_loses_nothing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    note(room, "a")
    with monkeypatch.context() as patch:
        patch.setattr(Room, "_place", lambda self, staged: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            note(room, "b")
    note(room, "b")
    assert [line.about["text"] for line in log.read(Room(room.root))] == ["a", "b"]


def test_the_log_comes_back_with_a_lost_index(room: Room) -> None:
    lines = note(room, "a", "b")
    (room.root / "index.sqlite3").unlink()
    assert log.read(Room(room.root)) == lines


# ---------------------------------------------------------------- who, and what for


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    identity = Identity.create(tmp_path / "me.key")
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "me.key"))
    return identity


def test_without_an_identity_a_line_names_the_account_and_is_unsigned(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    line = log.act(room, "export", ids=["a1"], purpose="a test")
    assert (line.who, line.purpose, line.signature, line.is_signed) == ("ada", "a test", "", False)
    assert line.about == {"ids": ["a1"]}


def test_an_account_without_a_name_has_a_number(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", fail)
    assert log.act(room, "grow").who.startswith("account ")


def test_with_an_identity_every_line_is_signed(room: Room, identity: Identity) -> None:
    lines = [*note(room, "a"), log.act(room, "card")]
    assert log.read(room) == lines
    assert {line.who for line in lines} == {identity.signer}
    assert all(len(line.signature) == 128 for line in lines)


def test_each_act_is_on_record(room: Room) -> None:
    for _ in range(2):
        log.act(room, "export", ids=["a"], purpose="the same")
    assert [line.number for line in log.read(room)] == [0, 1]


def test_a_line_of_flyroom_0_1_is_good_as_it_is(room: Room) -> None:
    sha256 = chain._hash(0, "", "2025-01-01T00:00:00+00:00", "note", {"text": "a"})
    line = {"number": 0, "before": "", "at": "2025-01-01T00:00:00+00:00", "what": "note", "about": {"text": "a"}}
    room.put("log", "log-000000", {**line, "sha256": sha256})
    (first,) = log.read(room)
    assert (first.who, first.purpose) == ("", "")
    log.act(room, "card")
    assert len(log.read(room)) == 2


# ---------------------------------------------------------------- altered logs

Alter = Callable[[Room, list[log.Line]], None]


def rewrite(room: Room, lines: list[dict[str, Any]], identity: Identity | None = None) -> None:
    """Put another log in the place of this one: a chain that holds together, as the owner of the folder could write it,
    unsigned or signed by a stranger.
    """
    for listing in room.list("log"):
        room.delete("log", listing.key)
    before = ""
    for number, line in enumerate(lines):
        about, who = dict(line["about"]), identity.signer if identity else line["who"]
        values = {"number": number, "before": before, "at": line["at"], "what": line["what"], "about": about}
        before = chain._hash(*values.values(), who, line["purpose"])
        signature = identity.sign(chain.LABEL + before.encode()).hex() if identity else ""
        signed = {"sha256": before, "who": who, "purpose": line["purpose"], "signature": signature}
        room.put("log", f"log-{number:06}", values | signed)


def cut(n: int) -> Alter:
    return lambda room, lines: [room.delete("log", f"log-{line.number:06}") for line in lines[n:]] and None


def change(place: int, **changes: Any) -> Alter:
    return lambda room, lines: tamper(room, place, **changes)


def retell(edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], *, signed: bool = False) -> Alter:
    def alter(room: Room, lines: list[log.Line]) -> None:
        rewrite(room, edit([asdict(line) for line in lines]), Identity.generate() if signed else None)

    return alter


def swap(room: Room, lines: list[log.Line]) -> None:
    first, second = (room.get("log", f"log-{n:06}") for n in (1, 2))
    assert first is not None
    assert second is not None
    tamper(room, 1, **second.payload)
    tamper(room, 2, **first.payload)


def graft(room: Room, lines: list[log.Line]) -> None:
    """A signature of another line, which is good where it stands."""
    tamper(room, 1, signature=lines[2].signature)


ALTERATIONS: dict[str, Alter] = {
    **{f"cut behind {n}": cut(n) for n in range(6)},
    **{f"without {n}": change(n) for n in range(6)},
    "another purpose": change(1, purpose="something harmless"),
    "no purpose": change(1, purpose=""),
    "another who": change(1, who="ed25519:" + "0" * 64),
    "nobody": change(1, who=""),
    "another time": change(2, at="2020-01-01T00:00:00+00:00"),
    "another verb": change(2, what="card"),
    "another organism": change(2, about={"ids": ["b"]}),
    "no signature": change(3, signature=""),
    "a signature of nothing": change(3, signature="00" * 64),
    "a signature that is no hex": change(3, signature="x"),
    "a grafted signature": graft,
    "swapped": swap,
    "retold without the last": retell(lambda lines: lines[:-1]),
    "retold without one": retell(lambda lines: lines[:2] + lines[3:]),
    "retold without the first": retell(lambda lines: lines[1:]),
    "retold under a stranger's key": retell(lambda lines: lines, signed=True),
    "retold shorter under a stranger's key": retell(lambda lines: lines[:3], signed=True),
    "retold in another order": retell(lambda lines: lines[::-1]),
    "retold with one more": retell(lambda lines: [*lines[:2], lines[1], *lines[2:]]),
    "retold with another purpose": retell(lambda lines: [line | {"purpose": "fine"} for line in lines]),
    "retold by another account": retell(lambda lines: [line | {"who": "eve"} for line in lines]),
}


def test_there_are_many_alterations() -> None:
    assert len(ALTERATIONS) >= 30


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_log_is_not_accepted(
    room: Room, tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, alteration: str
) -> None:
    monkeypatch.setenv("FLYROOM_LOG", str(tmp_path / "elsewhere"))
    for n in range(6):
        log.act(room, "export", ids=["a"], purpose=f"purpose {n}")
    lines = log.read(room)
    assert heads.check(lines, tmp_path / "elsewhere") == ""
    ALTERATIONS[alteration](room, lines)
    after, fault = log.examine(room)
    assert fault or heads.check(after, tmp_path / "elsewhere")


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_one_signed_head_that_was_kept_is_enough(
    room: Room, tmp_path: Path, identity: Identity, alteration: str
) -> None:
    for n in range(6):
        log.act(room, "export", ids=["a"], purpose=f"purpose {n}")
    lines = log.read(room)
    head = heads.head_of(lines, identity)
    assert head is not None
    heads.keep(head, tmp_path / "kept")
    ALTERATIONS[alteration](room, lines)
    after, fault = log.examine(room)
    assert fault or heads.check(after, tmp_path / "kept")


def test_what_is_written_behind_a_kept_head_is_good(room: Room, tmp_path: Path, identity: Identity) -> None:
    note(room, "a")
    head = heads.head_of(log.read(room), identity)
    assert head is not None
    assert heads.is_signed(head)
    heads.keep(head, tmp_path / "kept")
    note(room, "b", "c")
    assert heads.check(log.read(room), tmp_path / "kept") == ""


def test_a_cut_that_nobody_kept_a_head_of_is_not_seen(room: Room, identity: Identity) -> None:
    """What a chain cannot do: docs/containment.md says so."""
    note(room, "a", "b", "c")
    tamper(room, 2)
    assert len(log.read(room)) == 2


@pytest.mark.parametrize(
    "content",
    [
        "x",
        "[]",
        "{}",
        "[" * 100_000,
        '{"log": 1}',
        '{"log":"","number":true,"sha256":"","at":"","who":"","signature":""}',
    ],
)
def test_what_is_no_head_is_passed_over_and_counted(room: Room, tmp_path: Path, content: str) -> None:
    note(room, "a")
    (tmp_path / "kept").write_text(content)
    assert "holds nothing of this log" in heads.check(log.read(room), tmp_path / "kept")
    head = heads.head_of(log.read(room))
    assert head is not None
    heads.keep(head, tmp_path / "kept")  # a kill left what is there, without an end
    assert heads.check(log.read(room), tmp_path / "kept") == ""
    assert heads.count_torn(tmp_path / "kept") == 1


def test_a_damaged_line_stops_no_line_behind_it(room: Room) -> None:
    for text in "ab":
        note(room, text)
    path = Folder(room.root).list_blobs()[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert log.append(room, "note", {"text": "c"}).number == 2
    assert "is missing, or is none" in log.examine(room)[1]


def test_an_error_that_passes_breaks_no_chain(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    note(room, "a", "b")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *_, **__: exhaust(path))
        for tries in (lambda: log.act(room, "export"), lambda: log.read(room)):
            with pytest.raises(RoomError, match="Too many open files"):
                tries()
    note(room, "c")
    assert len(log.read(room)) == 3


def exhaust(path: Path) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))


def test_a_second_place_that_may_only_be_written_takes_heads(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the log of several accounts is a file of root's."""
    monkeypatch.setenv("FLYROOM_LOG", str(tmp_path / "elsewhere"))
    plain = os.open

    def write_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if Path(path) == tmp_path / "elsewhere" and flags & os.O_ACCMODE != os.O_WRONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain(path, flags, *rest, **more)

    (tmp_path / "elsewhere").write_text("to")  # what a kill left
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", write_only)
        note(room, "a", "b")
    assert heads.check(log.read(room), tmp_path / "elsewhere") == ""
    assert heads.count_torn(tmp_path / "elsewhere") == 1


def test_a_second_place_that_cannot_be_read_hides_no_broken_chain(room: Room, tmp_path: Path) -> None:
    note(room, "a", "b")
    tamper(room, 0)
    result = verifying.verify_room(room, tmp_path / "nowhere")["log"]
    assert (result["intact"], result["torn_heads"]) == (False, 0)
    assert "line 0" in result["why"]


def test_a_kept_head_whose_signature_was_touched_is_named(room: Room, tmp_path: Path, identity: Identity) -> None:
    note(room, "a")
    head = heads.head_of(log.read(room), identity)
    assert head is not None
    heads.keep(replace(head, signature="00" * 64), tmp_path / "kept")
    assert "is not signed by the one" in heads.check(log.read(room), tmp_path / "kept")


def test_a_second_place_that_cannot_be_written_stops_what_would_be_on_record(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYROOM_LOG", str(tmp_path))
    with pytest.raises(log.LogError, match=r"second place .* cannot be written"):
        log.act(room, "export", purpose="a test")


def test_the_second_place_holds_no_content(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_LOG", str(tmp_path / "elsewhere"))
    log.act(room, "export", ids=["organism"], purpose="a secret purpose")
    text = (tmp_path / "elsewhere").read_text(encoding="utf-8")
    assert "secret" not in text
    assert json.loads(text).keys() == {"log", "number", "sha256", "at", "who", "signature"}


# ---------------------------------------------------------------- seeds


def test_growth_opens_each_seed_once_and_before_anything_is_trained(room: Room) -> None:
    engine = FakeEngine(dies_at=0)
    with pytest.raises(KeyboardInterrupt):
        stages.grow([TOY], stages.OpenBase(engine, ToyWorld()), room, seeds=SEEDS)  # pyright: ignore[reportArgumentType]
    assert not room.list("organism")
    rows = opened(room)
    assert rows == [("toy", 1.0, [0, 1]), ("toy", 0.0, [0, 1])]
    organisms = stages.grow([TOY], open_base(), room, seeds=SEEDS)
    assert opened(room) == rows
    assert {o.id for o in organisms} == {opening.organism for opening in log.openings(room)}
    stages.grow([TOY], open_base(), room, seeds=[1, 2])
    assert opened(room) == [*rows, ("toy", 1.0, [2]), ("toy", 0.0, [2])]


def test_twins_that_set_thresholds_are_opened_too(room: Room) -> None:
    organisms = stages.grow([TOY], open_base(), room, seeds=SEEDS)
    stages.calibration_twins(organisms, open_base(), room, n=3)
    assert opened(room)[2:] == [("toy", 0.0, [1000, 1001, 1002])]


def test_what_was_grown_past_the_log_was_there(room: Room) -> None:
    growth.grow([TOY], FakeEngine(), seeds=[0], room=room)
    (stranger,) = log.openings(room)
    assert (stranger.number, stranger.name, stranger.seed) == (None, "toy", 0)
    stages.grow([TOY], open_base(), room, seeds=SEEDS)
    assert [line.what for line in log.read(room)] == [log.PRESENT, log.OPENED]
    assert opened(room) == [("toy", 1.0, [1]), ("toy", 0.0, [0, 1])]
    assert first(room, TOY, 0) == (0, "")
    assert first(room, TOY, 1) == (1, "")


def first(room: Room, recipe: Recipe, seed: int, engine: FakeEngine | None = None) -> tuple[int | None, str] | None:
    base = (engine or FakeEngine()).base
    opening = log.first_opening(log.openings(room), log.Title.of(recipe), base, seed)
    return None if opening is None else (opening.number, opening.plan)


def test_a_seed_is_opened_for_every_recipe_of_the_name(room: Room) -> None:
    stages.grow([TOY], open_base(), room, seeds=[0])
    assert first(room, replace(TOY, dose=0.5), 0) is not None
    assert first(room, replace(TOY, thresholds={"coherence": 0.5}), 0) is not None
    assert first(room, replace(TOY, name="another"), 0) is not None  # the same recipe under another name
    assert first(room, TOY, 1) is None
    assert first(room, replace(TOY, name="another", dose=0.5), 0) is None
    assert first(room, replace(TOY, world=Elsewhere()), 0) is None
    assert first(room, TOY, 0, FakeEngine(digest="another")) is None


class Elsewhere(ToyWorld):
    """Another world, in which nothing was opened."""

    @property
    def name(self) -> str:
        return "elsewhere"


def test_a_broken_log_stops_no_growth(room: Room) -> None:
    note(room, "a", "b")
    tamper(room, 0)
    organisms: list[Organism] = stages.grow([TOY], open_base(), room, seeds=[0])
    assert len(organisms) == 2
    with pytest.raises(log.LogError, match="line 0"):
        log.openings(room)


def test_a_line_of_a_stranger_that_does_not_say_what_it_opens_is_named(room: Room) -> None:
    log.append(room, log.OPENED, {"recipes": [{"seeds": [0]}]})
    with pytest.raises(log.LogError, match="line 0 of the log opens seeds and does not say which"):
        log.openings(room)


def test_recipes_of_no_name_are_told_apart_by_their_hash(room: Room) -> None:
    log.open_seeds(room, BASE, [(replace(TOY, name=""), 0)])
    assert first(room, replace(TOY, name="", dose=0.5), 0) is None
    assert first(room, replace(TOY, name=""), 0) is not None
