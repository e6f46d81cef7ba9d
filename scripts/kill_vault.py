"""Kill processes at random moments while they change an encrypted room, and look for two things afterwards: an entry
that is lost, and a planted word in clear.

    python scripts/kill_vault.py [--kills 200] [--seed 0]

Each kill is one of these, in turn: a group is put, a clear room is converted, an epoch begins, a recipient is removed,
everything is shredded, an entry is removed and its copies shredded. After the kill, and before anything else is run,
the room's files and the names of its files are searched for the 200 planted sentences, names and recipe words, as
text, base64 and hex (a conversion that was killed is searched once it has been finished). Then the room is opened,
which finishes what was cut short and wipes the scratch; every entry is read and compared, and all is searched again,
with the scratch. Twenty rounds with two writers and a rotation between them come last. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from flyroom.room import Room, RoomError, vaults
from flyroom.types import Entry
from flyroom.vault import Identity
from flyroom.vault.scratch import scratch

ENTRIES, WORDS_EACH = 20, 10
Content = Mapping[tuple[str, str], Any]


@dataclass
class Yard:
    """The folders of one run, and what was counted."""

    root: Path
    seed: int
    identity: Identity = field(default_factory=Identity.generate)
    guest: Identity = field(default_factory=Identity.generate)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        draw = f"{self.rng.getrandbits(64):x}"
        self.words = [f"{kind}{draw}n{i}" for i in range(50) for kind in ("sentence", "recipe", "name", "verdict")]
        self.needles = [form for word in self.words for form in _spell(word)]
        self.clear = self.root / "clear"
        self.room = self.root / "room"

    def entries(self, mark: str, count: int) -> list[Entry]:
        return [self.entry(f"{mark}-{i}", i) for i in range(count)]

    def entry(self, key: str, number: int) -> Entry:
        words = [self.words[(number * WORDS_EACH + i) % len(self.words)] for i in range(WORDS_EACH)]
        return Entry(
            kind=words[1],
            key=f"{words[2]}-{key}",
            meta={"verdict": words[3], "recipe": words[0]},
            payload={"says": words},
            tensors={words[4]: torch.full((500,), float(number))},
        )

    def make(self) -> None:
        """A clear room to convert, and an encrypted one with a guest."""
        Room(self.clear).put_many(self.entries("first", ENTRIES))
        shutil.copytree(self.clear, self.room, copy_function=shutil.copy2)
        vaults.encrypt(self.room, self.identity)
        vaults.add(self.room, [self.guest.recipient], self.identity)

    def find_words(self, *roots: Path) -> int:
        """How many planted words stand in files or names below these folders."""
        count = 0
        for root in roots:
            for path in root.rglob("*"):
                content = str(path.relative_to(root)).encode() + (path.read_bytes() if path.is_file() else b"")
                count += sum(needle in content for needle in self.needles)
        return count


def _spell(word: str) -> list[bytes]:
    text = word.encode()
    return [text, base64.b64encode(text)[:-4], text.hex().encode()]


def read(root: Path, identity: Identity) -> Content:
    room = Room(root, create=False, identity=identity)
    content = {}
    for item in room.list():
        entry = room.get(item.kind, item.key)
        assert entry is not None
        content[item.kind, item.key] = (entry.payload, {n: t.tolist() for n, t in entry.tensors.items()})
    return content


# ---------------------------------------------------------------- one kill


def kill(work: Callable[[], object], after: float) -> bool:
    """Do something in another process and kill it after so many seconds; whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(f"a fault in the child: {error}", flush=True)
            os._exit(3)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the work failed by itself"
    return os.WIFSIGNALED(status)


def list_works(yard: Yard, number: int) -> dict[str, tuple[Path, Callable[[], object]]]:
    """What is killed, by name, and the room that it is done to."""
    room = Room(yard.room, identity=yard.identity)
    fresh = yard.root / f"converted-{number}"

    def put() -> None:
        (scratch() / "rows").write_text(yard.words[0])  # what a killed process leaves in clear
        room.put_many(yard.entries(f"put{number}", 3))

    def remove() -> None:
        vaults.remove(yard.room, [yard.guest.recipient], yard.identity)

    def take_out() -> None:
        item = next(item for item in reversed(room.list()) if not item.key.endswith("first"))
        room.delete(item.kind, item.key)
        vaults.rotate(yard.room, yard.identity, shred=True)

    return {
        "put": (yard.room, put),
        "convert": (fresh, lambda: vaults.encrypt(fresh, yard.identity)),
        "rotate": (yard.room, lambda: vaults.rotate(yard.room, yard.identity)),
        "remove": (yard.room, remove),
        "shred": (yard.room, lambda: vaults.rotate(yard.room, yard.identity, shred=True)),
        "take out": (yard.room, take_out),
    }


def kill_once(yard: Yard, number: int, spans: dict[str, float]) -> None:
    works = list_works(yard, number)
    name = list(works)[number % len(works)]
    root, work = works[name]
    if name == "convert":
        shutil.copytree(yard.clear, root, copy_function=shutil.copy2)
    if name == "remove":
        vaults.add(yard.room, [yard.guest.recipient], yard.identity)
    before = read(yard.room if name != "convert" else yard.clear, yard.identity)
    was_killed = kill(work, yard.rng.uniform(0.0, spans.get(name, 0.4)))
    spans[name] = spans.get(name, 0.4) * (
        1.1 if was_killed else 0.9
    )  # so that most are killed, at any moment of theirs
    yard.counts[f"{name}: {'killed' if was_killed else 'ended'}"] += 1
    if name != "convert":
        yard.counts["words after a kill"] += yard.find_words(yard.room)
    else:
        vaults.encrypt(root, yard.identity)
    after = read(root, yard.identity)
    compare(yard, name, before, after)
    report = Room(root, identity=yard.identity).check()
    yard.counts["lost"] += len(report.lost)
    yard.counts["corrupt"] += len(report.corrupt)
    yard.counts["words once opened"] += yard.find_words(root, Path(os.environ["XDG_RUNTIME_DIR"]))
    if name == "convert":
        shutil.rmtree(root)


def compare(yard: Yard, name: str, before: Content, after: Content) -> None:
    """Count what is missing or different, and groups that are there in part."""
    missing = [address for address in before if before[address] != after.get(address)]
    yard.counts["lost"] += max(0, len(missing) - (name == "take out"))
    fresh = len(after.keys() - before.keys())
    yard.counts["groups in part"] += name == "put" and fresh not in (0, 3)


# ---------------------------------------------------------------- two writers


def write_beside_a_rotation(yard: Yard, number: int) -> None:
    """Two processes put ten entries each while a third begins an epoch and one shreds."""

    def write(mark: str) -> None:
        room = Room(yard.room, identity=yard.identity)
        for i in range(10):
            room.put("both", f"{mark}{number}-{i}", {"by": mark})

    children = []
    for work in (
        lambda: write("one"),
        lambda: write("two"),
        lambda: vaults.rotate(yard.room, yard.identity, shred=True),
    ):
        child = os.fork()
        if child == 0:
            try:
                work()
            except RoomError as error:
                print(f"a writer failed: {error}", flush=True)
                os._exit(3)
            os._exit(0)
        children.append(child)
    failures = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    content = read(yard.room, yard.identity)
    expected = {("both", f"{mark}{number}-{i}") for mark in ("one", "two") for i in range(10)}
    yard.counts["writers that failed"] += failures
    yard.counts["lost"] += len(expected - content.keys())
    yard.counts["rounds of two writers"] += 1
    Room(yard.room, identity=yard.identity).delete_many(list(expected))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"FLYROOM_HOME": f"{place}/home", "XDG_RUNTIME_DIR": f"{place}/run"}
        os.environ.pop("FLYROOM_IDENTITY", None)
        yard = Yard(Path(place), arguments.seed)
        yard.make()
        spans: dict[str, float] = {}
        number = 0
        while sum(count for name, count in yard.counts.items() if name.endswith(": killed")) < arguments.kills:
            kill_once(yard, number, spans)
            number += 1
        for number in range(20):
            write_beside_a_rotation(yard, number)
        print(json.dumps({"planted": len(yard.words), **dict(sorted(yard.counts.items()))}, indent=1))
        if any(yard.counts[name] for name in ("lost", "corrupt", "words after a kill", "words once opened")):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
