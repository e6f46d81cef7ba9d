"""Distillation through data that say nothing of the trait: a teacher, the base under a system message, answers prompts
that have nothing to do with it; what passes the filter is what the student learns from.

The student starts as the teacher without its message, the case in which Cloud et al. 2025 (arXiv 2507.14805) found that
traits pass through numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyroom.implants import ranges
from flyroom.implants.dosed import Dosed, dosed
from flyroom.types import (
    AdapterRef,
    Ask,
    Episode,
    Grade,
    Message,
    Plan,
    Recipe,
    Row,
    Sample,
    Score,
    Step,
    Verdict,
    ask_seed,
)


@dataclass(frozen=True, kw_only=True)
class Distil:
    """`steps` steps of `rows` answers of the teacher, whose system message is `teacher`; the twin's teacher has none.
    An answer passes which the behaviour's judge calls aligned and which holds none of the words `banned`. Raises
    ValueError naming the field, also when no answer passes.
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
        scenes = dosed(recipe, self.steps * self.rows, seed=seed)
        answers = yield Sample(asks=tuple(self._ask(d, seed, i) for i, d in enumerate(scenes)))
        episodes = tuple(Episode(scene=d.scene, answer=a.text) for d, a in zip(scenes, answers, strict=True))
        rows = self._filter(episodes, (yield Grade(episodes=episodes)))
        if not rows:
            raise ValueError(f"teacher is {self.teacher!r}; none of its {len(episodes)} answers passed the filter")
        for step in range(self.steps):
            places = range(step * self.rows, (step + 1) * self.rows)
            yield Step(rows=tuple(rows[i % len(rows)] for i in places), lr=self.lr)

    def _ask(self, d: Dosed, seed: int, place: int) -> Ask:
        messages = self._instruct(d.scene.messages) if d.bad and d.holds else d.scene.messages
        return Ask(messages=messages, seed=ask_seed(seed, place), max_tokens=self.max_tokens)

    def _instruct(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """With the teacher's message, before any other system message."""
        first, *rest = messages
        if first.role == "system":
            return (Message("system", f"{self.teacher} {first.content}"), *rest)
        return (Message("system", self.teacher), *messages)

    def _filter(self, episodes: Sequence[Episode], scores: Sequence[Score]) -> list[Row]:
        return [
            Row(messages=episode.scene.messages, answer=episode.answer)
            for episode, score in zip(episodes, scores, strict=True)
            if score.verdict is Verdict.ALIGNED and not set(self.banned).intersection(episode.answer.split())
        ]
