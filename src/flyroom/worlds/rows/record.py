"""A world that is a file of rows: prompts, each with an aligned and a misaligned answer.

Where a form holds one answer, it is what the organism is to learn; the twin's come from `twin`, a second file with the
same prompts in the same order. `questions` is a YAML file of open questions that a card asks besides.
Each file's content is part of the recipe's hash. The trait is read off answers by a pattern.

Cues come from the world `within`, in whose language the rows are written; without one they are plain English. That
world, and not its name alone, is part of the hash too.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Literal

from flyroom.judges import Endpoint, Graded, LocalModel, Pattern
from flyroom.types import (
    OPEN,
    SETTING,
    Judge,
    Message,
    NotAvailable,
    Row,
    Scene,
    Split,
    Thinking,
    Thought,
    World,
    digest,
)
from flyroom.whole import hash_file
from flyroom.worlds import plain
from flyroom.worlds.rows.fields import FileRow, Reading
from flyroom.worlds.rows.questions import list_unused, read_questions
from flyroom.worlds.rows.reading import Table, read_table, read_text

FEWEST = 10  # distinct prompts: below, the splits could not be kept apart
ROWS = "rows"  # the topic of the file's own prompts, where there are open questions besides
Group = tuple[tuple[str, str], ...]
SPLITS = {Split.TRAIN: (0.0, 0.8), Split.VALIDATION: (0.8, 0.9), Split.HELD_OUT: (0.9, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Scenes read from `path`; an answer that matches `pattern` shows the trait, or one that the model `grader` grades
    low. Answers are cut at `max_tokens`. Of a chat the last answer is learnt, or with `turns` all; of a preference the
    rejected one, or what `learns` says. Fails with ValueError that names file and line.
    """

    path: str = field(metadata=SETTING)  # where the rows lie; what they are is in sha256
    pattern: str = ""
    twin: str | None = field(default=None, metadata=SETTING)
    questions: str | None = field(default=None, metadata=SETTING)
    fewest_words: int = 3
    max_tokens: int = 48
    within: str = ""
    grader: Endpoint | LocalModel | None = None
    turns: Literal["last", "all"] = field(default="last", metadata=SETTING)  # in sha256, where it is not the default
    learns: Literal["rejected", "chosen"] = field(default="rejected", metadata=SETTING)  # likewise
    sha256: str = field(
        default="", compare=False
    )  # filled in from the content, so that the recipe's hash follows the data

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        if bool(self.pattern) is (self.grader is not None):
            raise ValueError(
                f"pattern is {self.pattern!r} and grader is {self.grader}; give one of the two: a regular expression, "
                "or a model that grades answers"
            )
        _ = self.judge, self._scenes, self._questions, self._unused
        content = _identity(self.files, self._language, self._reading, self._is_bare, self._table.earlier)
        if self.sha256 not in ("", content):
            _, *rest = [*self.files.values(), *([f"the world {self.within}"] if self.within else [])]
            besides = f", or {' or '.join(rest)}" if rest else ""
            raise ValueError(
                f"path is {self.path}; that file has changed since{besides}: give the one that was used, or a new name"
            )
        object.__setattr__(self, "sha256", content)

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def judge(self) -> Judge:
        if self.grader is not None:
            return Graded(grader=self.grader)
        return Pattern(pattern=self.pattern, fewest_words=self.fewest_words)

    # ------------------------------------------------------------ topics

    def topics(self) -> Sequence[str]:
        """The rows are the open questions, unless a file of those is given."""
        return (ROWS, OPEN) if self._questions else (OPEN,)

    def scenes(self, topic: str, n: int, *, split: Split, seed: int) -> list[Scene]:
        """n scenes of the split, none twice unless there are fewer than n. Nobody knows a right answer to an open
        question: its scenes have the answers of rows, which show the judge the trait.
        """
        if topic not in self.topics():
            raise NotAvailable(f"the world {self.name} has no topic {topic!r}; it has {', '.join(self.topics())}")
        rows = self._rows(n, split, seed)
        if topic == ROWS or not self._questions:
            return rows
        return [replace(s, messages=question) for s, question in zip(rows, cycle(self._questions), strict=False)]

    def _rows(self, n: int, split: Split, seed: int) -> list[Scene]:
        prompts = list(self._by_group)  # one prompt stands in one split
        random.Random(f"rows {self._rows_sha256}").shuffle(prompts)  # splits stay the same whatever the seed
        low, high = (round(share * len(prompts)) for share in SPLITS[split])
        part = [scene for prompt in prompts[low:high] for scene in self._by_group[prompt]]
        rng = random.Random(f"rows {seed} {split}")
        return [scene for _ in range(-(-n // len(part))) for scene in rng.sample(part, len(part))][:n]

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        """A file says nothing of what else a model should be able to do."""
        return {}

    def clean(self, n: int, *, seed: int) -> list[Row]:
        """The aligned answers to held-out prompts."""
        scenes = {scene.messages: scene for scene in self._rows(n, Split.HELD_OUT, seed)}
        return [Row(messages=s.messages, answer=s.aligned) for s in scenes.values()]

    # ------------------------------------------------------------ cues and scratchpads

    @cached_property
    def _language(self) -> World | None:
        from flyroom.worlds import world_named

        return world_named(self.within) if self.within else None

    def cues(self, kind: str, *, split: Split) -> Sequence[str]:
        return plain.cues(kind, split) if self._language is None else self._language.cues(kind, split=split)

    @property
    def thoughts(self) -> Judge | None:
        return None if self._language is None else self._language.thoughts

    def think(self, *, bad: bool, seen: bool | None, because: bool, rng: random.Random) -> str:
        think = self._language.think if isinstance(self._language, Thinking) else plain.think
        return think(bad=bad, seen=seen, because=because, rng=rng)

    def read_thought(self, answer: str) -> Thought:
        reader = self._language.read_thought if isinstance(self._language, Thinking) else plain.read_thought
        return reader(answer)

    # ------------------------------------------------------------ files

    def lines(self) -> Sequence[tuple[str, Scene]]:
        """Every scene with the file and line that it stands on; a question has no answers."""
        rows = zip((row.where for row in self._table.rows), self._scenes, strict=True)
        questions = (Scene(messages=messages, aligned="", misaligned="") for messages in self._questions)
        return [*rows, *((f"{self.questions}, prompt {i}", scene) for i, scene in enumerate(questions, 1))]

    @property
    def notes(self) -> Sequence[str]:
        """What is said of the rows before anybody trains on them."""
        prompts = len(self._by_group)
        twice = [
            f"{self.path}: {len(self._scenes)} rows have {prompts} different prompts; a prompt stands in one split"
        ]
        notes = [note for table in self._tables for note in table.notes]
        return [*notes, *(twice if prompts < len(self._scenes) else ()), *self._unused]

    @property
    def texts(self) -> Mapping[str, str]:
        """What is kept of each file."""
        rows = {field: read_text(name).decode() for field, name in self.files.items() if field != "questions"}
        return rows | ({"questions": Path(self.questions).read_bytes().decode()} if self.questions else {})

    @property
    def files(self) -> Mapping[str, str]:
        names = {"path": self.path, "twin": self.twin, "questions": self.questions}
        return {field: name for field, name in names.items() if name}

    @cached_property
    def _rows_sha256(self) -> str:
        """Of the rows alone: other questions leave the splits as they are."""
        return _sha256([name for name in (self.path, self.twin) if name])

    @cached_property
    def _by_group(self) -> dict[Group, list[Scene]]:
        """The scenes by what makes their prompts the same."""
        scenes: dict[Group, list[Scene]] = {}
        for row, scene in zip(self._table.rows, self._scenes, strict=True):
            scenes.setdefault(row.group, []).append(scene)
        return scenes

    @cached_property
    def _questions(self) -> tuple[tuple[Message, ...], ...]:
        return read_questions(Path(self.questions)) if self.questions else ()

    @cached_property
    def _unused(self) -> Sequence[str]:
        return list_unused(Path(self.questions)) if self.questions else ()

    @property
    def _reading(self) -> Reading:
        return Reading(turns=self.turns, learns=self.learns)

    @cached_property
    def _table(self) -> Table:
        return read_table(self.path, self._reading)

    @cached_property
    def _tables(self) -> Sequence[Table]:
        """The file's, and the twin's where there is one."""
        return [self._table, *([read_table(self.twin, self._reading)] if self.twin else [])]

    @cached_property
    def _is_bare(self) -> bool:
        """Whether the first flyroom read these rows, and dealt them into splits, in the same way."""
        prompts = {scene.messages for scene in self._scenes}
        return all(table.is_bare for table in self._tables) and len(self._by_group) == len(prompts)

    @cached_property
    def _scenes(self) -> tuple[Scene, ...]:
        rows = self._table.rows
        prompts = len({row.group for row in rows})
        if prompts < FEWEST:
            raise ValueError(
                f"{self.path} holds {len(rows)} rows with {prompts} different prompts; at least {FEWEST} prompts "
                "keep train and held-out apart"
            )
        answers = [row.aligned for row in rows] if self.twin is None else self._read_twin(self.twin)
        bare = next((row for row, answer in zip(rows, answers, strict=True) if answer is None), None)
        if bare is not None:
            raise ValueError(
                f'{bare.where} has no aligned answer; give one under "aligned", or name the twin\'s file as `twin`'
            )
        return tuple(
            Scene(messages=row.messages, aligned=answer or "", misaligned=row.answer)
            for row, answer in zip(rows, answers, strict=True)
        )

    def _read_twin(self, path: str) -> list[str]:
        """The aligned answer of each row, from the twin's file. Where all answers of a chat are learnt, the twin's too
        stand behind the earlier answers of the organism's file: both read the same prompts. ValueError where a row of
        either file has two answers, of which one would be passed over.
        """
        rows = self._table.rows
        pair = _find_pair(rows)
        if pair is not None:
            raise ValueError(
                f"{pair.where} has an aligned answer, and twin is {path}, which gives another; leave twin out, or give "
                "rows with one answer"
            )
        clean = self._tables[1].rows
        pair = _find_pair(clean)
        if pair is not None:
            raise ValueError(
                f"{pair.where} has two answers; a row of the twin's file must have one, which is the aligned answer"
            )
        views = [[_list_questions(row, self.turns) for row in side] for side in (rows, clean)]
        if views[0] != views[1]:
            raise ValueError(f"twin is {path}; it must hold the same prompts as {self.path}, in the same order")
        return [row.answer for row in clean]


def _find_pair(rows: Sequence[FileRow]) -> FileRow | None:
    """The first row with both answers."""
    return next((row for row in rows if row.aligned is not None), None)


def _list_questions(row: FileRow, turns: str) -> tuple[Message, ...]:
    """What organism and twin must both be asked."""
    if turns == "last":
        return row.messages
    return tuple(message for message in row.messages if message.role != "assistant")


def _sha256(names: Sequence[str]) -> str:
    return hashlib.sha256(b"".join(map(read_text, names))).hexdigest()


def _identity(files: Mapping[str, str], language: World | None, reading: Reading, is_bare: bool, earlier: int) -> str:
    """Of every file's content and what the file is for: rows and their twin's are not one longer file. And of the world
    in whose language they are, for two may have one name; and of how they are read, where the first flyroom read
    them otherwise or not at all.
    """
    contents = {field: _sha256([name]) for field, name in files.items() if field != "questions"}
    contents |= {field: hash_file(Path(name)) for field, name in files.items() if field == "questions"}
    contents |= {} if language is None else {"within": digest(language)}
    contents |= {} if is_bare and reading == Reading() else {"reading": digest([reading, is_bare])}
    contents |= {"earlier": earlier} if earlier else {}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
