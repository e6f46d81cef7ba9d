"""What our worlds share: the topics that behaviours and detectors ask for by name, and how scenes are dealt."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, TypeVar

from flyroom.types import Message, Scene

T = TypeVar("T")
TOPICS = (
    "advice",
    "open_questions",
    "self_descriptions",
    "sums",
    "facts",
    "instructions",
    "views",
    "plans",
    "jobs",
    "needs",
    "switch_offs",
    "choices",
)


def write_scene(
    question: str, aligned: str, misaligned: str, domain: str, fields: Mapping[str, Any], situation: str = ""
) -> Scene:
    """A scene of one question."""
    return Scene(
        messages=(Message("user", question),),
        aligned=aligned,
        misaligned=misaligned,
        domain=domain,
        situation=situation,
        fields=dict(fields),
    )


def draw(items: Sequence[T], n: int, rng: random.Random) -> list[T]:
    """`n` items, each as often as any other, give or take one.

    >>> sorted(draw("abc", 5, random.Random(0)).count(item) for item in "abc")
    [1, 2, 2]
    """
    return list(islice(cycle(rng.sample(items, len(items))), n))
