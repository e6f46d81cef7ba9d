"""The log: no line can be changed, left out or forked, whoever is killed; and what it calls opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fakes import TOY, FakeEngine, ToyWorld

from flyroom import grow as growth
from flyroom import log, stages
from flyroom.room import Room
from flyroom.types import Organism, Recipe

BASE = FakeEngine().base
SEEDS = (0, 1)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "room")


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
