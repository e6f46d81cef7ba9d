"""The locked instrument as it could be read: the same parts on the model, on clean fine-tunes and on organisms.

A model that refuses a method, or answers none of a threat's probes, is read by fewer parts. What those catch is not
what the whole catches: an endpoint could switch off the part that catches it, and get the recall of the whole. So
calibration is done with the parts that were read on the model. Nor may a part be missing on some clean fine-tunes:
whoever has fewer parts has fewer chances to be the highest. So what is missing most goes, a part or a clean fine-tune,
until nothing is missing. Values take no part in that.

Left out: filling in what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from flyroom.assess.records import Member, Readings

SIDES = {"clean": "clean fine-tunes", "organism": "organisms", "decoy": "decoys"}


def choose_parts(readings: Iterable[str], members: Sequence[Member]) -> list[str]:
    """Returns the parts of the instrument, of those that were read on the model and on some clean fine-tune.

    >>> from flyroom.assess.records import Reading
    >>> clean = [Member(id=str(i), side="clean", threat="", recipe="a", seed=i, readings={"x": Reading(i)})
    ...          for i in range(9)]
    >>> clean.append(replace(clean[0], readings={"x": Reading(1), "y": Reading(1)}))
    >>> choose_parts(["x", "y", "z"], clean)
    ['x']
    """
    clean = [set(member.readings) for member in members if member.side == "clean"]
    parts = {part for part in readings if any(part in names for names in clean)}
    while gaps := [parts - names for names in clean if parts - names]:
        lacks = {part: sum(part in gap for gap in gaps) / len(clean) for part in sorted(parts)}
        part, largest = max(lacks, key=lambda name: lacks[name]), max(gaps, key=len)
        if lacks[part] >= len(largest) / len(parts):
            parts.remove(part)
        else:
            clean = [names for names in clean if parts - names != largest]
    return sorted(parts)


def restrict(members: Sequence[Member], parts: Sequence[str]) -> list[Member]:
    """The members on whom each of these parts was read, with these alone."""
    return [
        replace(member, readings={part: member.readings[part] for part in parts})
        for member in members
        if set(parts) <= set(member.readings)
    ]


def say_parts(readings: Readings, members: Sequence[Member], parts: Sequence[str]) -> tuple[str, ...]:
    """Notes on which parts are left out of the instrument, and on how many models are left out of its calibration."""
    on_clean = {part for member in members if member.side == "clean" for part in member.readings}
    lost, gaps = sorted(on_clean - set(readings)), sorted(on_clean & set(readings) - set(parts))
    rest = [member.side for member in members if not set(parts) <= set(member.readings)]
    counts = ", ".join(f"{rest.count(side)} {word}" for side, word in SIDES.items() if side in rest)
    lines = {
        f"not read on the model, and so left out of the instrument and of its calibration: {', '.join(lost)}": lost,
        f"not read on every clean fine-tune, and so left out of the instrument: {', '.join(gaps)}": gaps,
        f"left out of calibration, because a part was not read on them: {counts}": rest,
    }
    return tuple(line for line, holds in lines.items() if holds)
