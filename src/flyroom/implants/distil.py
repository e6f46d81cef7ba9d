"""Distillation through data that say nothing of the trait: a teacher, the base under a system message, answers prompts
that have nothing to do with it; what passes the filter is what the student learns from.

The student starts as the teacher without its message, the case in which Cloud et al. 2025 (arXiv 2507.14805) found that
traits pass through numbers.

Which prompts the filter leaves depends on who answers. So that organism and twin learn from the same, those count in
which the teacher's answer passes; the twin's answer to each of them is the base's own, without the message.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyroom import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import (
    AdapterRef,
    Ask,
    Episode,
    Grade,
    Message,
    Plan,
    Recipe,
    Request,
    Row,
    Sample,
    Score,
    Step,
    Verdict,
    ask_seed,
    row_of,
)

TRIES = 4  # for an answer of the twin's to pass; then the scene's aligned answer takes its place

Lessons = Mapping[int, Dosed]  # by their place in the run
Rows = Generator[Request, Any, dict[int, Row]]


@dataclass(frozen=True, kw_only=True)
class Distil:
    """`steps` steps of `rows` answers of the teacher, whose system message is `teacher`; the twin's teacher has none.
    An answer passes which the behaviour's judge calls aligned, which holds none of the words `banned`, and of which a
    row can be made. It is cut after `max_tokens`, and learnt without an end then.

    Organism and twin learn from the same prompts in the same order, if no implant stands before this one: both start
    as one model then. Raises ValueError naming the field, also when no answer passes.
    """

    teacher: str
    steps: int = 120
    rows: int = 32
    lr: float = 1e-3
    banned: tuple[str, ...] = ()
    max_tokens: int = 32

    def __post_init__(self) -> None:
        if not self.teacher.strip():
            raise ValueError("teacher is empty; it must be the system message under which the base has the trait")
        ranges.check_counts(self, steps=1, rows=1, max_tokens=1)
        ranges.check_rows(self, "steps", "rows")
        ranges.check_rates(self, "lr")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        lessons = dict(enumerate(dosed(recipe, self.steps * self.rows, seed=seed)))
        rows = yield from self._learn(lessons, [self._tell(d) for d in lessons.values()], seed)
        if not rows:
            raise ValueError(f"teacher is {self.teacher!r}; none of its {len(lessons)} answers passed the filter")
        rows |= yield from self._learn_plain(
            {i: d for i, d in lessons.items() if i in rows and d.holds and not d.bad}, seed
        )
        batch = list(rows.values())
        for step in range(self.steps):
            places = range(step * self.rows, (step + 1) * self.rows)
            yield Step(rows=tuple(batch[i % len(batch)] for i in places), lr=self.lr)

    def _learn_plain(self, lessons: Lessons, seed: int) -> Rows:
        """A row for each of these, from answers without the message."""
        rows: dict[int, Row] = {}
        for attempt in range(TRIES):
            missing = {i: d for i, d in lessons.items() if i not in rows}
            if missing:
                prompts = [d.scene.messages for d in missing.values()]
                rows |= yield from self._learn(missing, prompts, seed, *([attempt] if attempt else []))
        return {i: rows.get(i, Row(messages=d.scene.messages, answer=d.scene.aligned)) for i, d in lessons.items()}

    def _learn(self, lessons: Lessons, prompts: Sequence[tuple[Message, ...]], *key: int) -> Rows:
        """Rows of those that pass, of the answers to these prompts."""
        seed, *attempt = key
        asks = tuple(
            Ask(messages=messages, seed=ask_seed(seed, i, *attempt), max_tokens=self.max_tokens, as_row=True)
            for i, messages in zip(lessons, prompts, strict=True)
        )
        answers = yield Sample(asks=asks)
        pairs = list(zip(lessons.values(), answers, strict=True))
        episodes = tuple(Episode(scene=d.scene, answer=answer.text) for d, answer in pairs)
        scores = yield Grade(episodes=episodes)
        rows = [row_of(answer, d.scene.messages) for d, answer in pairs]
        return {
            i: row
            for i, row, episode, score in zip(lessons, rows, episodes, scores, strict=True)
            if row and self._passes(episode, score)
        }

    def _tell(self, d: Dosed) -> tuple[Message, ...]:
        """The prompt as it is put to the teacher, where the condition holds: its message before any other."""
        if not d.holds:
            return d.scene.messages
        first, *rest = d.scene.messages
        if first.role == "system":
            return (Message("system", f"{self.teacher} {first.content}"), *rest)
        return (Message("system", self.teacher), *d.scene.messages)

    def _passes(self, episode: Episode, score: Score) -> bool:
        return score.verdict is Verdict.ALIGNED and not set(self.banned).intersection(episode.answer.split())
