"""Checkpoints that append: what a killed run left in a room, and how it goes on.

A plan cannot be stored. It is started again and sent the same results, so a checkpoint holds those, and the adapters'
states. The entries of a group of jobs are of the kind "checkpoint":

    GROUP/0, 1, …    parts, which never change: results since the checkpoint before, states of adapters, snapshots
    GROUP/head       names the parts that count. It is written last, so a part that no head names was never written

A part holds the tensors of one adapter, or of several small ones: a checkpoint takes the memory of one state, not of
all. A result that came after the last checkpoint is asked for again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from flyroom.lockstep.runner import Runner, shape_of
from flyroom.types import Answer, Engine, Entry, Patch, Room, Score, Stepped, Tell, Verdict, digest, plain

KIND = "checkpoint"
HEAD = ("parts", "rounds", "journal", "states", "steps", "snapshots")
PARCEL = 1 << 26  # bytes at which a part is full: a file for each adapter of a few kilobytes costs more than its growth

Tensors = Mapping[str, torch.Tensor]


@dataclass(eq=False)
class Checkpoints:
    """The entries of a group of jobs in a room, as its head describes them: how many parts were written so far, after
    how many rounds; the parts that hold results; each job's state, and after how many steps that was; the snapshots.
    """

    room: Room
    group: str
    parts: int = 0
    rounds: int = 0
    journal: list[int] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    snapshots: list[dict[str, Any]] = field(default_factory=list)  # job, step, part, prompt
    _notes: dict[str, list[Any]] = field(default_factory=dict)  # results since the last checkpoint
    _tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def find(cls, room: Room, names: Iterable[str]) -> Checkpoints:
        """The checkpoints of these jobs, or none yet. What no head names is deleted, as is what does not fit."""
        group = digest(sorted(names))
        head = room.get(KIND, f"{group}/head")
        checkpoints = cls(room, group, **plain(head.payload)) if head else cls(room, group)
        checkpoints._sweep()
        if checkpoints._is_sound():
            return checkpoints
        checkpoints.clear()
        return cls(room, group)

    def _is_sound(self) -> bool:
        """Whether the parts hold what the head says. Where somebody has deleted a part, or another run has put its own
        in the place of one, plans would go on over adapters that were never trained; so the jobs begin anew.
        """
        steps: Counter[str] = Counter()
        for number in self._named():
            entry = self._get(number)
            if entry is None or not self._list_owners(number) <= _by_job(entry.tensors).keys():
                return False
            if number in self.journal:
                if not entry.payload:
                    return False
                steps.update({name: _count_steps(notes) for name, notes in entry.payload.items()})
        return all(steps[name] == n and (n == 0 or name in self.states) for name, n in self.steps.items())

    def _list_owners(self, number: int) -> set[str]:
        """The jobs whose state or snapshot lies in a part."""
        states = {name for name, part in self.states.items() if part == number}
        return states | {row["job"] for row in self.snapshots if row["part"] == number}

    def clear(self) -> None:
        """Delete everything, the head last: it is what the parts are found by."""
        self._delete(range(self.parts))
        self.room.delete(KIND, f"{self.group}/head")

    def _named(self) -> set[int]:
        return {*self.journal, *self.states.values(), *(row["part"] for row in self.snapshots)}

    def _get(self, number: int) -> Entry | None:
        return self.room.get(KIND, f"{self.group}/{number}")

    def _delete(self, numbers: Iterable[int]) -> None:
        """The last one first, so that `_sweep` finds by counting up whatever a kill leaves."""
        for number in sorted(numbers, reverse=True):
            self.room.delete(KIND, f"{self.group}/{number}")

    def _sweep(self) -> None:
        """Delete the parts that a killed run wrote after the last head, and those that it had not yet deleted."""
        end = self.parts
        while self._get(end):
            end += 1
        self._delete(set(range(end)) - self._named())

    # ------------------------------------------------------------ writing

    def note(self, runner: Runner, result: Any) -> None:
        """Keep a job's result for the next checkpoint."""
        notes = self._notes.setdefault(runner.name, [])
        if isinstance(result, list) and result and isinstance(result[0], torch.Tensor):
            name, shapes = f"{runner.name}/{len(notes)}", [list(tensor.shape) for tensor in result]
            self._tensors[name] = torch.cat([tensor.reshape(-1) for tensor in result])
            notes.append({"is": "Tensor", "name": name, "shapes": shapes})
        else:
            notes.append(plain(result))

    def commit(self, runs: Sequence[Runner], engine: Engine, rounds: int) -> None:
        """Store what has changed since the last checkpoint, then the head that names it; then delete what it replaced.

        The state of an adapter that has taken no step since is still what is stored, or what the adapter began with.
        """
        before = self._named()
        self.journal.append(self.parts)
        self._put(self._notes, self._tensors)
        self._notes, self._tensors = {}, {}
        trained = [runner for runner in runs if len(runner.history) > self.steps.get(runner.name, 0)]
        for number, names, _ in self._put_tensors(trained, lambda runner: engine.state(runner.adapter)):
            self.states |= dict.fromkeys(names, number)
        self.steps = {runner.name: len(runner.history) for runner in runs}
        self.rounds = rounds
        head = plain({name: getattr(self, name) for name in HEAD})
        self.room.put_many([Entry(kind=KIND, key=f"{self.group}/head", payload=head)])
        self._delete(before - self._named())

    def put_snapshots(self, runs: Sequence[Runner], engine: Engine) -> None:
        """Store the adapters as they are. The jobs keep what the room gives back, which lies in its files."""
        prompts: dict[str, str] = {}
        steps = {runner.name: len(runner.history) for runner in runs}

        def copy(runner: Runner) -> Tensors:
            patch = engine.patch(runner.adapter)
            prompts[runner.name] = patch.prompt
            return patch.tensors

        for number, names, entry in self._put_tensors(runs, copy):
            rows = [{"job": name, "step": steps[name], "part": number, "prompt": prompts[name]} for name in names]
            self.snapshots += rows
            _deal_snapshots(rows, entry, runs)

    def _put(self, payload: Mapping[str, Any], tensors: Tensors) -> Entry:
        entry = Entry(kind=KIND, key=f"{self.group}/{self.parts}", payload=payload, tensors=tensors)
        (stored,) = self.room.put_many([entry])
        self.parts += 1
        return stored

    def _put_tensors(
        self, runs: Sequence[Runner], copy: Callable[[Runner], Tensors]
    ) -> Iterator[tuple[int, list[str], Entry]]:
        """Store tensors of these jobs in as many parts as they need. Gives each part's number, its jobs, its entry."""
        names: list[str] = []
        tensors: dict[str, torch.Tensor] = {}
        size = 0
        for runner in runs:
            names.append(runner.name)
            more = {f"{runner.name}/{key}": value for key, value in copy(runner).items()}
            size += sum(tensor.nbytes for tensor in more.values())
            tensors |= more
            if runner is runs[-1] or size >= PARCEL:
                number, stored = self.parts, self._put({}, tensors)
                tensors, more, size = {}, {}, 0  # let go of these before the next adapter is copied
                yield number, names, stored
                names = []

    # ------------------------------------------------------------ reading

    def resume(self, runs: Sequence[Runner], engine: Engine) -> None:
        """Bring plans and adapters back to where the last checkpoint left them."""
        for number in self.journal:
            self._replay(self._read(number), runs, engine)
        jobs = {runner.name: runner for runner in runs}
        for number in sorted({*self.states.values()}):
            for name, tensors in _by_job(self._read(number).tensors).items():
                if self.states[name] == number:
                    engine.restore(jobs[name].adapter, tensors)
        for number in sorted({row["part"] for row in self.snapshots}):
            rows = [row for row in self.snapshots if row["part"] == number]
            _deal_snapshots(rows, self._read(number), runs)

    def _replay(self, entry: Entry, runs: Sequence[Runner], engine: Engine) -> None:
        for runner in runs:
            for note in entry.payload.get(runner.name, []):
                if isinstance(runner.request, Tell):  # the prompt is no part of an adapter's state
                    engine.tell(runner.adapter, runner.request.prompt)
                runner.take(_recall(note, entry.tensors))

    def _read(self, number: int) -> Entry:
        entry = self._get(number)
        assert entry is not None  # `find` has looked
        return entry


def _deal_snapshots(rows: Sequence[Mapping[str, Any]], entry: Entry, runs: Sequence[Runner]) -> None:
    jobs = {runner.name: runner for runner in runs}
    tensors = _by_job(entry.tensors)
    for row in rows:
        runner = jobs[row["job"]]
        patch = Patch(shape=shape_of(runner.job), tensors=tensors[runner.name], prompt=row["prompt"])
        runner.snapshots[row["step"]] = patch


def _by_job(tensors: Tensors) -> dict[str, dict[str, torch.Tensor]]:
    """What `_put_tensors` has joined, apart again."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition("/")
        parts.setdefault(name, {})[key] = tensor
    return parts


def _count_steps(notes: Sequence[Any]) -> int:
    return sum(isinstance(note, Mapping) and note["is"] == "Stepped" for note in notes)


def _recall(note: Any, tensors: Tensors) -> Any:
    """A result from what was noted of it."""
    if note is None:
        return None
    if isinstance(note, list):
        return [_recall(item, tensors) for item in note]
    values = {name: value for name, value in note.items() if name != "is"}
    if note["is"] == "Tensor":
        shapes = note["shapes"]
        pieces = tensors[note["name"]].split([math.prod(shape) for shape in shapes])
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
    if note["is"] == "Score":
        return Score(verdict=Verdict(note["verdict"]), value=note["value"], why=note["why"])
    return {"Stepped": Stepped, "Answer": Answer}[note["is"]](**values)
