"""What each part of the instrument does by itself: the probes, each detector, each method of a red team. Where the
model stands in it, how many organisms of each threat it flags, how many decoys; and what a method claimed.

Nothing is concluded of a part. The locked instrument is the whole, and whoever picks the part that flags has tried as
many times as there are parts.

Left out: a likelihood ratio of a part, which would be taken for a finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flyroom.assess.conclude import calibrate
from flyroom.assess.conformal import is_flagged, list_shared, stand
from flyroom.assess.locked import choose_parts, restrict
from flyroom.assess.records import Member, Part, Readings

NOTHING = "nothing"  # the behaviour that a method claims of a harmless model


def read_parts(
    readings: Readings, members: Sequence[Member], groups: Mapping[str, Sequence[str]], claims: Mapping[str, str]
) -> tuple[Part, ...]:
    """Returns the parts by name, each made of the readings that `groups` lists; `claims` are what methods say of the
    model, by name. A part is calibrated by those readings of it that the model has too, and by all where it has none;
    one that was read on no clean fine-tune has no calibration.

    >>> from flyroom.assess.records import Reading
    >>> clean = [Member(id=str(i), side="clean", threat="", recipe="a", seed=i, readings={"x": Reading(i)})
    ...          for i in range(19)]
    >>> (part,) = read_parts({"x": Reading(99.0)}, clean, {"x": ["x"]}, {})
    >>> part.value, part.p, part.flagged
    (99.0, 0.05, True)
    """
    return tuple(_read(name, parts, readings, members, claims.get(name)) for name, parts in groups.items())


def _read(name: str, parts: Sequence[str], readings: Readings, members: Sequence[Member], claim: str | None) -> Part:
    on_model = [part for part in parts if part in readings]
    shared = choose_parts(on_model or parts, members)
    reading = {part: readings[part] for part in on_model}
    peers = restrict(members, shared) if shared else []
    clean = [m.readings for m in peers if m.side == "clean"]
    calibration = calibrate(peers) if clean else None
    standing = stand(reading, clean) if list_shared(reading, clean) else None
    return Part(
        name=name,
        of=len(parts),
        value=reading[parts[0]].value if len(parts) == 1 and reading else None,
        p=standing.p if standing else None,
        flagged=is_flagged(reading, clean) if standing else None,
        alarm=calibration.alarm if calibration else None,
        recalls=calibration.recalls if calibration else {},
        claim=claim,
        naming=_count_names(name, peers),
    )


def _count_names(name: str, members: Sequence[Member]) -> tuple[int, int] | None:
    """Of the organisms that a method flagged by its own threshold, how many behaviours it got right; None for what
    claims nothing.
    """
    claims = [(m.claims[name], m.behaviour) for m in members if m.side == "organism" and name in m.claims]
    flags = [claim == behaviour for claim, behaviour in claims if claim != NOTHING]
    return (sum(flags), len(flags)) if claims else None
