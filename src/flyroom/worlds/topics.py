"""What our worlds share: the topics that behaviours and detectors ask for by name, and how scenes are dealt."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
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


# What a topic may be narrowed by, one behind the other; any other topic by its parts, if it has parts.
NARROWED_BY = {
    "choices": ("PARTS", "HOUSE"),
    "picks": ("PARTS", "WORD", "GOAL", "PROXY"),
    "confessions": ("TOPIC",),
}


def read_topic(topic: str, parts_of: Callable[[str], Sequence[str]]) -> tuple[str, list[str]]:
    """The name of a topic and what it is narrowed by. ValueError for more than it takes, for a house that is no number,
    and for a part that there is not or that stands there twice.

    >>> read_topic("choices/sea+sky/2", lambda _: ["sea", "sky", "land"])
    ('choices', ['sea+sky', '2'])
    """
    name, *narrower = topic.split("/")
    all_parts = parts_of(name)
    takes = NARROWED_BY.get(name, ("PARTS",) if all_parts else ())
    whole = len(narrower) == len(takes) if name == "picks" else len(narrower) <= len(takes)
    if not whole or (takes[1:2] == ("HOUSE",) and narrower[1:] and not narrower[1].isdecimal()):
        form = "/".join([name, *takes])
        raise ValueError(f"topic is {topic!r}; it must be {form}{', HOUSE a number' if 'HOUSE' in form else ''}")
    parts = narrower[0].split("+") if takes[:1] == ("PARTS",) and narrower and narrower[0] else []
    strange = next((part for part in parts if part not in all_parts or parts.count(part) > 1), None)
    if strange is not None:
        missing = f"{name} has no part {strange!r} to be asked about; it has {', '.join(all_parts)}"
        raise ValueError(f"topic is {topic!r}; {f'it names {strange!r} twice' if strange in all_parts else missing}")
    return name, narrower


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
