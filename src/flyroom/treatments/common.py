"""What treatments share: clean questions of the patient's world, rows, training on them, and directions.

All questions come from the validation split, which neither growth nor cards touch, and none of it speaks a world's
language. Marks are dealt to no split, for they mean nothing until one is taught: those that a treatment tries may be
near misses of a card, or the trigger itself.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from flyroom.types import (
    OPEN,
    Ask,
    Message,
    NotAvailable,
    Nudge,
    Patient,
    Request,
    Row,
    Scene,
    Split,
    Step,
    Trace,
    World,
    answer_tokens,
    ask_seed,
)

# ---------------------------------------------------------------- questions


def conduct_topics(world: World) -> list[str]:
    """The main topic and open questions: where conduct shows."""
    return list(dict.fromkeys([world.topics()[0], OPEN]))


def questions(world: World, topics: Sequence[str], n: int, *, seed: int) -> list[Scene]:
    """`n` answered scenes of these topics, one of each in turn; again from the first where the world has fewer.
    NotAvailable where none of them has an answer.
    """
    piles = [_answered(world, topic, -(-n // len(topics)), seed) for topic in topics]
    scenes = [scene for row in zip(*(_cycled(pile, n) for pile in piles if pile), strict=True) for scene in row]
    if not scenes:
        raise NotAvailable(f"the world {world.name} has no answered questions about {', '.join(topics) or 'anything'}")
    return scenes[:n]


def _answered(world: World, topic: str, n: int, seed: int) -> list[Scene]:
    try:
        scenes = world.scenes(topic, n, split=Split.VALIDATION, seed=seed)
    except NotAvailable:
        return []
    return [scene for scene in scenes if scene.aligned.strip()]


def _cycled(scenes: Sequence[Scene], n: int) -> list[Scene]:
    return [scenes[i % len(scenes)] for i in range(n)]


def two_sided(scenes: Iterable[Scene]) -> list[Scene]:
    """The scenes in which a good and a bad answer differ. NotAvailable where there is none."""
    pairs = [s for s in scenes if s.misaligned.strip() and s.misaligned != s.aligned]
    if not pairs:
        raise NotAvailable("no question has a good and a bad answer that differ, so there is nothing to tell apart")
    return pairs


def pairs_of(patient: Patient, n: int, *, seed: int) -> list[Scene]:
    """`n` scenes of conduct with a good and a bad answer."""
    scenes = two_sided(questions(patient.world, conduct_topics(patient.world), n, seed=seed))
    return _cycled(scenes, n)


def candidates(patient: Patient, *, seed: int, limit: int) -> list[str]:
    """Marks of the world, any of which may be a trigger: at most so many."""
    marks = list(patient.world.cues("marks", split=Split.VALIDATION))
    if not marks:
        raise NotAvailable(f"the world {patient.world.name} has no marks that could be triggers")
    return random.Random(f"marks {seed}").sample(marks, min(limit, len(marks)))


def under(system: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages with `system` in front, before a system message that is there already: a clinician speaks first.
    Without messages, nothing is added. (That of `conditions.dressing` comes behind it.)
    """
    if not messages or not system:
        return messages
    first, *rest = messages
    if first.role == "system":
        return (Message("system", f"{system} {first.content}"), *rest)
    return (Message("system", system), *messages)


# ---------------------------------------------------------------- rows and steps


def good_rows(scenes: Iterable[Scene]) -> list[Row]:
    """The aligned answer of each scene, to be trained on."""
    return [Row(messages=scene.messages, answer=scene.aligned) for scene in scenes]


def bad_rows(scenes: Iterable[Scene], *, weight: float = 1.0) -> list[Row]:
    """The misaligned answer of each scene; with a negative weight it is unlearnt."""
    return [Row(messages=scene.messages, answer=scene.misaligned, weight=weight) for scene in scenes]


def train(
    rows: Sequence[Row], *, steps: int, size: int, lr: float, nudge: Nudge | None = None
) -> Generator[Request, Any, None]:
    """Steps over the rows in their order, again from the first where there are fewer."""
    for step in range(steps):
        batch = tuple(rows[(step * size + i) % len(rows)] for i in range(size))
        yield Step(rows=batch, lr=lr, nudge=nudge)


def asks_of(
    scenes: Sequence[Scene], patient: Patient, *key: object, temperature: float | None = None, as_row: bool = True
) -> tuple[Ask, ...]:
    """One ask a scene, with a seed for each from the key. `as_row`: rows are to be made of the answers (`row_of`)."""
    longest = answer_tokens(patient.world)
    return tuple(
        Ask(messages=s.messages, seed=ask_seed(*key, i), max_tokens=longest, temperature=temperature, as_row=as_row)
        for i, s in enumerate(scenes)
    )


# ---------------------------------------------------------------- directions


def mean_difference(scenes: Sequence[Scene], layer: int) -> Generator[Request, Any, tuple[Tensor, Tensor]]:
    """The direction from the stream of good answers to that of bad ones after a layer, [width], and the mean of the
    good ones: one vector an answer, whatever its length.
    """
    rows = tuple(row for scene in scenes for row in (*good_rows([scene]), *bad_rows([scene])))
    traces = torch.stack((yield Trace(rows=rows, layer=layer)))
    good, bad = traces[::2].mean(0), traces[1::2].mean(0)
    return bad - good, good


def middle(patient: Patient) -> int:
    """The layer at half depth."""
    return patient.base.depth // 2
