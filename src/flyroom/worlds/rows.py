"""A world that is a file: JSON lines of `{"prompt", "aligned", "misaligned"}`, or of `{"messages": […]}` with a chat's
last answer.

With `messages` the file holds only the answers that the organism is to learn; the twin's come from `twin`, a second
file with the same prompts in the same order. `questions` is a YAML file of open questions that a card asks besides.
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
from typing import Any

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
from flyroom.worlds import plain
from flyroom.yaml_pages import safe_yaml

FEWEST = 10  # distinct prompts: below, the splits could not be kept apart
ROWS = "rows"  # the topic of the file's own prompts, where there are open questions besides
QUESTION = {"id", "type", "paraphrases", "system", "samples_per_paraphrase", "judge", "judge_prompts"}
SPLITS = {Split.TRAIN: (0.0, 0.8), Split.VALIDATION: (0.8, 0.9), Split.HELD_OUT: (0.9, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Scenes read from `path`; an answer that matches `pattern` shows the trait, or one that the model `grader` grades
    low. Answers are cut at `max_tokens`. Fails with ValueError that names file and line.
    """

    path: str = field(metadata=SETTING)  # where the rows lie; what they are is in sha256
    pattern: str = ""
    twin: str | None = field(default=None, metadata=SETTING)
    questions: str | None = field(default=None, metadata=SETTING)
    fewest_words: int = 3
    max_tokens: int = 48
    within: str = ""
    grader: Endpoint | LocalModel | None = None
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
        _ = self.judge, self._scenes, self._questions
        content = _identity(self.files, self._language)
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
        prompts = list(dict.fromkeys(scene.messages for scene in self._scenes))  # one prompt stands in one split
        random.Random(f"rows {self._rows_sha256}").shuffle(prompts)  # splits stay the same whatever the seed
        low, high = (round(share * len(prompts)) for share in SPLITS[split])
        part = [scene for prompt in prompts[low:high] for scene in self._by_prompt[prompt]]
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

    @property
    def files(self) -> Mapping[str, str]:
        names = {"path": self.path, "twin": self.twin, "questions": self.questions}
        return {field: name for field, name in names.items() if name}

    @cached_property
    def _rows_sha256(self) -> str:
        """Of the rows alone: other questions leave the splits as they are."""
        return _sha256([name for name in (self.path, self.twin) if name])

    @cached_property
    def _by_prompt(self) -> dict[tuple[Message, ...], list[Scene]]:
        scenes: dict[tuple[Message, ...], list[Scene]] = {}
        for scene in self._scenes:
            scenes.setdefault(scene.messages, []).append(scene)
        return scenes

    @cached_property
    def _questions(self) -> tuple[tuple[Message, ...], ...]:
        return read_questions(Path(self.questions)) if self.questions else ()

    @cached_property
    def _scenes(self) -> tuple[Scene, ...]:
        learned = read_rows(Path(self.path))
        prompts = len({row.messages for row in learned})
        if prompts < FEWEST:
            raise ValueError(
                f"{self.path} holds {len(learned)} rows with {prompts} different prompts; at least {FEWEST} prompts "
                "keep train and held-out apart"
            )
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


def _identity(files: Mapping[str, str], language: World | None) -> str:
    """Of every file's content and what the file is for: rows and their twin's are not one longer file. And of the world
    in whose language they are, for two may have one name.
    """
    contents = {field: _sha256([name]) for field, name in files.items()}
    contents |= {} if language is None else {"within": digest(language)}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


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
        lines = path.read_text(encoding="utf-8").split("\n")  # JSON may hold any other character that ends a line
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
        items = safe_yaml(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise ValueError(f"questions is {path}; it cannot be read as YAML: {e}") from e
    if not isinstance(items, list) or not items:
        raise ValueError(f"questions is {path}; it must be a list of questions, and not empty")
    return tuple(prompt for i, item in enumerate(items, 1) for prompt in _prompts(item, f"{path}, question {i}"))


def _prompts(item: Any, where: str) -> list[tuple[Message, ...]]:
    if not isinstance(item, dict):
        raise ValueError(f"{where} is {type(item).__name__}; it must hold paraphrases by name")
    where = f"{where} ({item['id']})" if "id" in item else where
    strange = [str(name) for name in item if name not in QUESTION]
    if strange:
        raise ValueError(f"{where} has {strange[0]}, which is not known; it may have {', '.join(sorted(QUESTION))}")
    texts, system = item.get("paraphrases"), item.get("system")
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f'{where}: "paraphrases" is {texts!r}; it must be a list of texts, none of them empty')
    if "system" in item and (not isinstance(system, str) or not system.strip()):
        raise ValueError(f'{where}: "system" is {system!r}; it must be text, or left out')
    before = (Message("system", system),) if system else ()
    return [(*before, Message("user", text)) for text in texts]
