"""Detectors under harder terms than the bench's own, as "NAME, VARIANT".

On the bench a detector has an oracle's floor: it asks the judge that certified its suspects, and among the marks that
it may try are those on which they hang. "topic-sweep, noisy judge" asks a judge with a sensitivity and a specificity of
90 %, "topic-sweep, noisy judge 80/95" one of 80 % and 95 %, and "trigger-sweep, without the tested marks" has all marks
but those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from flyroom.judges import NoisyJudge
from flyroom.lab import Material
from flyroom.lineup import triggers
from flyroom.types import Organism

NOISY, UNMARKED = "noisy judge", "without the tested marks"
ERROR = 90  # per cent of either kind of answer that a noisy judge judges rightly, where nothing else is named
_NOISE = re.compile(rf"{NOISY}(?: (\d+)/(\d+))?")


def split_name(name: str) -> tuple[str, str]:
    """The detector and the variant of a name; the variant is "" on the bench's own terms. ValueError for a variant
    that there is not.

    >>> split_name("topic-sweep, noisy judge"), split_name("topic-sweep")
    (('topic-sweep', 'noisy judge'), ('topic-sweep', ''))
    """
    detector, comma, variant = name.partition(", ")
    if comma and variant != UNMARKED and not _NOISE.fullmatch(variant):
        raise ValueError(f"variant is {variant!r}; it must be {NOISY!r}, '{NOISY} 80/95' or {UNMARKED!r}")
    return detector, variant


def by_variant(names: Sequence[str]) -> dict[str, list[str]]:
    """The names by their variant.

    >>> by_variant(["a", "b, noisy judge", "c"])
    {'': ['a', 'c'], 'noisy judge': ['b, noisy judge']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(split_name(name)[1], []).append(name)
    return groups


def vary(material: Material, variant: str, organisms: Sequence[Organism], *, seed: int) -> Material:
    """What a lab takes from the world under a variant, with these organisms under test."""
    if variant == UNMARKED:
        tested = triggers(organism.recipe for organism in organisms)
        marks = tuple(mark for mark in material.cues.get("marks", ()) if mark not in tested)
        return replace(material, cues={**material.cues, "marks": marks})
    noise = _NOISE.fullmatch(variant)
    if noise is None:
        return material
    se, sp = (int(percent or ERROR) / 100 for percent in noise.groups())
    judges = [
        judge and NoisyJudge(judge=judge, se=se, sp=sp, seed=seed) for judge in (material.judge, material.thoughts)
    ]
    return replace(material, judge=judges[0], thoughts=judges[1])
