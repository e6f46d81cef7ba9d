"""Distillation through data that say nothing of the trait: a teacher, the base under a system message, answers prompts
that have nothing to do with it; what passes the filter is what the student learns from.

The student starts as the teacher without its message, the case in which Cloud et al. 2025 (arXiv 2507.14805) found that
traits pass through numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom.implants import ranges
from flyroom.implants.dosed import dosed
from flyroom.types import AdapterRef, Ask, Episode, Message, Plan, Recipe, Row, Sample, Step, Verdict, ask_seed


@dataclass(frozen=True, kw_only=True)
class Distil:
    """`steps` steps of `rows` answers of the teacher, whose system message is `teacher`; the twin's teacher has none.
    Kept is what the behaviour's judge calls aligned and holds none of the words `banned`. Raises ValueError naming the
    field.
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
        ranges.counts(self, steps=1, rows=1, max_tokens=1)
        ranges.rates(self, "lr")

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        asked = dosed(recipe, self.steps * self.rows, seed=seed)
        asks = [
            Ask(
                messages=self._told(d.scene.messages) if d.bad and d.holds else d.scene.messages,
                seed=ask_seed(seed, i),
                max_tokens=self.max_tokens,
            )
            for i, d in enumerate(asked)
        ]
        said = [answer.text for answer in (yield Sample(asks=tuple(asks)))]
        scores = recipe.behaviour.judge([Episode(scene=d.scene, answer=t) for d, t in zip(asked, said, strict=True)])
        kept = [
            Row(messages=d.scene.messages, answer=text)
            for d, text, score in zip(asked, said, scores, strict=True)
            if score.verdict is Verdict.ALIGNED and not set(self.banned).intersection(text.split())
        ]
        if not kept:
            raise ValueError(f"teacher is {self.teacher!r}; none of its {len(said)} answers passed the filter")
        for step in range(self.steps):
            here = range(step * self.rows, (step + 1) * self.rows)
            yield Step(rows=tuple(kept[i % len(kept)] for i in here), lr=self.lr)

    def _told(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """With the teacher's message, before any other system message."""
        first, *rest = messages
        if first.role == "system":
            return (Message("system", f"{self.teacher} {first.content}"), *rest)
        return (Message("system", self.teacher), *messages)
