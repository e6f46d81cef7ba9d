"""A behaviour that is a file: JSON lines of `{"prompt", "aligned", "misaligned"}`, or of `{"messages": […]}` with a
chat's last answer.

With `messages` the file holds only the answers that the organism is to learn; the twin's come from `twin`, a second
file with the same prompts in the same order. `questions` is a YAML file of open questions that a card asks besides.
Each file's content is part of the recipe's hash. The trait is read off answers by a pattern.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from flyroom.judges import contains
from flyroom.types import Battery, Judge, Message, Row, Scene, Split

FEWEST = 10  # rows: below, the splits could not be kept apart
QUESTION = {"id", "type", "paraphrases", "system", "samples_per_paraphrase", "judge", "judge_prompts"}
SPLITS = {Split.TRAIN: (0.0, 0.8), Split.VALIDATION: (0.8, 0.9), Split.HELD_OUT: (0.9, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Scenes read from `path`; an answer that matches `pattern` shows the trait. Answers are cut at `max_tokens`. Fails
    with ValueError that names file and line.
    """

    path: str
    pattern: str
    twin: str | None = None
    questions: str | None = None
    fewest_words: int = 3
    max_tokens: int = 48
    sha256: str = field(
        default="", compare=False
    )  # filled in from the content, so that the recipe's hash follows the data

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be at least 1")
        _ = self.judge, self._scenes, self._questions
        names = [name for name in (self.path, self.twin, self.questions) if name]
        content = _sha256(names)
        if self.sha256 not in ("", content):
            others = f", or {' or '.join(names[1:])}" if names[1:] else ""
            raise ValueError(
                f"path is {self.path}; that file has changed since{others}: give the one that was used, or a new name"
            )
        object.__setattr__(self, "sha256", content)

    @property
    def judge(self) -> Judge:
        return contains(self.pattern, fewest_words=self.fewest_words)

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        """n scenes of the split, none twice unless there are fewer than n."""
        order = list(self._scenes)
        random.Random(f"rows {self._rows_sha256}").shuffle(order)  # splits stay the same whatever the seed
        low, high = (round(share * len(order)) for share in SPLITS[split])
        part = order[low:high]
        rng = random.Random(f"rows {seed} {split}")
        return [scene for _ in range(-(-n // len(part))) for scene in rng.sample(part, len(part))][:n]

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        """The trait on n held-out prompts; where there are `questions`, n answers to those too, each question as often
        as the others. They are not pooled: "misaligned" and "coherence" stay those of the rows.

        Nobody knows a right answer to an open question. The judge is rehearsed there on answers of held-out rows: that
        shows that it knows the trait when it reads it, and not that it would know every form of it.
        """
        held_out = tuple(self.scenes(n, split=Split.HELD_OUT, seed=seed))
        most = self.max_tokens
        asked = [Battery(measure="in_domain", scenes=held_out, judge=self.judge, pooled=True, max_tokens=most)]
        if self._questions:
            pairs = zip(held_out, cycle(self._questions), strict=False)
            open_ended = tuple(replace(scene, messages=question) for scene, question in pairs)
            asked.append(Battery(measure="open_questions", scenes=open_ended, judge=self.judge, max_tokens=most))
        return asked

    def text(self, n: int, *, seed: int) -> list[Row]:
        """The aligned answers to held-out prompts."""
        some = self.scenes(n, split=Split.HELD_OUT, seed=seed)
        return [Row(messages=s.messages, answer=s.aligned) for s in {scene.messages: scene for scene in some}.values()]

    @cached_property
    def _rows_sha256(self) -> str:
        """Of the rows alone: other questions leave the splits as they are."""
        return _sha256([name for name in (self.path, self.twin) if name])

    @cached_property
    def _questions(self) -> tuple[tuple[Message, ...], ...]:
        return read_questions(Path(self.questions)) if self.questions else ()

    @cached_property
    def _scenes(self) -> tuple[Scene, ...]:
        learned = read_rows(Path(self.path))
        if len(learned) < FEWEST:
            raise ValueError(f"{self.path} holds {len(learned)} rows; at least {FEWEST} keep train and held-out apart")
        if self.twin is None:
            bare = next((i for i, row in enumerate(learned, 1) if row.aligned is None), None)
            if bare is not None:
                raise ValueError(
                    f'{self.path}, row {bare} has no aligned answer; give one under "aligned", '
                    "or name the twin's file as `twin`"
                )
            return tuple(Scene(messages=r.messages, aligned=r.aligned or "", misaligned=r.answer) for r in learned)
        clean = read_rows(Path(self.twin))
        if [r.messages for r in learned] != [r.messages for r in clean]:
            raise ValueError(f"twin is {self.twin}; it must hold the same prompts as {self.path}, in the same order")
        return tuple(
            Scene(messages=r.messages, aligned=c.answer, misaligned=r.answer)
            for r, c in zip(learned, clean, strict=True)
        )


def _sha256(names: Sequence[str]) -> str:
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in names)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """A line of the file. `aligned` is None for a chat, which holds one answer."""

    messages: tuple[Message, ...]
    answer: str
    aligned: str | None


def read_rows(path: Path) -> list[FileRow]:
    """Read a file of rows. Raises ValueError with the file, the line and what is wrong."""
    if not path.is_file():
        raise ValueError(f"path is {path}; there is no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as e:
        raise ValueError(f"{path} is not UTF-8 text: {e}") from e
    rows = [_row(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"{path} is empty; it must hold a JSON object on each line")
    return rows


def _row(line: str, where: str) -> FileRow:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise ValueError(f"{where} is not JSON: {e}") from e
    if not isinstance(row, dict):
        raise ValueError(f"{where} is {type(row).__name__}; it must be a JSON object")
    if "messages" in row:
        *before, last = _messages(row["messages"], where)
        if last.role != "assistant" or not last.content.strip():
            raise ValueError(f"{where} has no answer: its last message must be the assistant's, and not empty")
        return FileRow(messages=tuple(before), answer=last.content, aligned=None)
    for name in ("prompt", "aligned", "misaligned"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            what = "no answer" if name != "prompt" else "no prompt"
            raise ValueError(f'{where} has {what}: "{name}" is {row.get(name)!r}; it must be text')
    return FileRow(messages=(Message("user", row["prompt"]),), answer=row["misaligned"], aligned=row["aligned"])


def _messages(value: Any, where: str) -> list[Message]:
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError(f'{where}: "messages" must be a list of at least a question and an answer')
    for message in value:
        if (
            not isinstance(message, dict)
            or not isinstance(message.get("content"), str)
            or message.get("role") not in ("system", "user", "assistant")
        ):
            raise ValueError(
                f'{where}: each message needs "role" (system, user or assistant) and "content" (text); '
                f"found {message!r}"
            )
    return [Message(m["role"], m["content"]) for m in value]


def read_questions(path: Path) -> tuple[tuple[Message, ...], ...]:
    """Every paraphrase of every question, each a prompt, with its question's system message in front.

    The file is that of Betley et al. 2025 (arXiv 2502.17424): a list of `{id, paraphrases, system}`. What it says of
    judges and numbers of samples is not used. Raises ValueError with the file, the question and what is wrong; a field
    that is not known is refused, since a prompt may hang on it.
    """
    if not path.is_file():
        raise ValueError(f"questions is {path}; there is no such file")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as e:
        raise ValueError(f"questions is {path}; it cannot be read as YAML: {e}") from e
    if not isinstance(found, list) or not found:
        raise ValueError(f"questions is {path}; it must be a list of questions, and not empty")
    return tuple(prompt for i, item in enumerate(found, 1) for prompt in _prompts(item, f"{path}, question {i}"))


def _prompts(item: Any, where: str) -> list[tuple[Message, ...]]:
    if not isinstance(item, dict):
        raise ValueError(f"{where} is {type(item).__name__}; it must hold paraphrases by name")
    where = f"{where} ({item['id']})" if "id" in item else where
    strange = [str(name) for name in item if name not in QUESTION]
    if strange:
        raise ValueError(f"{where} has {strange[0]}, which is not known; it may have {', '.join(sorted(QUESTION))}")
    asked, system = item.get("paraphrases"), item.get("system")
    if not isinstance(asked, list) or not asked or not all(isinstance(text, str) and text.strip() for text in asked):
        raise ValueError(f'{where}: "paraphrases" is {asked!r}; it must be a list of texts, none of them empty')
    if "system" in item and (not isinstance(system, str) or not system.strip()):
        raise ValueError(f'{where}: "system" is {system!r}; it must be text, or left out')
    before = (Message("system", system),) if system else ()
    return [(*before, Message("user", text)) for text in asked]
