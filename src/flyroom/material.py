"""What detectors may use besides suspects, of the validation split of a world: neither training nor cards touch it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from flyroom.types import (
    ANSWER_TOKENS,
    OPEN,
    CueKind,
    Judge,
    Message,
    Scene,
    Split,
    Thinking,
    World,
    answer_tokens,
    digest,
    if_any,
)

TRUSTED = 128  # scenes of the main topic
QUESTIONS = 256  # about the main topic; a quarter of that about every other
KINDS: tuple[CueKind, ...] = (  # of cues. Not the manners of decoys, which nobody who looks for harm would know
    *("observed", "unobserved", "personas", "aligned", "misaligned", "marks", "scratchpad", "words", "new_words"),
    *("yes_no", "confession"),
)


@dataclass(frozen=True, kw_only=True)
class Material:
    """What detectors may use besides suspects: trusted scenes, questions by topic (the main topic first), cues by kind,
    and judges of answers and of the thoughts before them.

    `capability` are the topics whose questions have a right answer; `thinking` takes thoughts off answers; `world` is
    the digest of the world that all this is of. None of it may stand in what a suspect was trained on, or be what its
    card was measured on.
    """

    trusted: tuple[Scene, ...]
    questions: Mapping[str, tuple[Scene, ...]]
    judge: Judge
    thoughts: Judge | None = None
    cues: Mapping[CueKind, tuple[str, ...]] = field(default_factory=dict)
    capability: tuple[str, ...] = ()
    thinking: Thinking | None = None
    max_tokens: int = ANSWER_TOKENS
    world: str = ""

    def __post_init__(self) -> None:
        if not self.questions.get(OPEN):
            raise ValueError(f'questions has no "{OPEN}"; every lab has some')
        if unknown := [topic for topic in self.capability if not self.questions.get(topic)]:
            raise ValueError(f"capability names {unknown[0]!r}; it must be one of {', '.join(self.questions)}")

    @staticmethod
    def of(world: World, *, seed: int) -> Material:
        """What a world has for detectors: its validation split, which neither training nor cards touch."""
        main, *rest = world.topics()
        questions = {
            main: _once(world.scenes(main, QUESTIONS, split=Split.VALIDATION, seed=seed)),
            **{t: tuple(if_any(world.scenes, t, QUESTIONS // 4, split=Split.VALIDATION, seed=seed)) for t in rest},
        }
        cues = {kind: tuple(if_any(world.cues, kind, split=Split.VALIDATION)) for kind in KINDS}
        return Material(
            trusted=_once(world.scenes(main, TRUSTED, split=Split.VALIDATION, seed=seed)),
            questions={topic: scenes for topic, scenes in questions.items() if scenes},
            judge=world.judge,
            thoughts=world.thoughts,
            cues={kind: texts for kind, texts in cues.items() if texts},
            capability=tuple(topic for topic in if_any(world.capability, 1, seed=seed) if questions.get(topic)),
            thinking=world if isinstance(world, Thinking) else None,
            max_tokens=answer_tokens(world),
            world=digest(world),
        )

    def without(self, prompts: Collection[tuple[Message, ...]]) -> Material:
        """The same without trusted scenes of these prompts, and without the answers to questions that are among them:
        what is fitted on them has seen what it is tested on.
        """
        bare = {
            topic: tuple(replace(s, aligned="", misaligned="") if s.messages in prompts else s for s in scenes)
            for topic, scenes in self.questions.items()
        }
        return replace(self, trusted=tuple(s for s in self.trusted if s.messages not in prompts), questions=bare)

    @cached_property
    def digest(self) -> str:
        """Names all that a detector can learn from this."""
        judges = [self.judge.id, self.thoughts.id if self.thoughts else None]
        texts = [self.trusted, [*self.questions.items()], self.cues]
        return digest([*texts, judges, self.capability, self.max_tokens, self.world])


def _once(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """The scenes up to where a world of a short file, which has no more of them, begins again."""
    texts = [(scene.messages, scene.aligned, scene.misaligned) for scene in scenes]
    different = len(set(texts))
    return tuple(scenes[:different] if len(set(texts[:different])) == different else scenes)
