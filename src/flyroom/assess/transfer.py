"""What carries over to a base that nobody calibrated: each base is left out in turn, and its models are judged by the
clean fine-tunes of all others. With fewer than five bases that says nothing, and what is said then is a hypothesis.

Source: leave-one-group-out; the interval for another base is that of `recall.predict`.
Left out: a distance between bases. A base of another kind than all of these is none of their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from flyroom.assess.conformal import is_flagged
from flyroom.assess.recall import predict, recall_of
from flyroom.assess.records import Alarm, Bound, Member, Recall

BASES = 5
HYPOTHESIS = "a hypothesis; no calibrated error rate exists"


def carries_over(bases: Mapping[str, Sequence[Member]]) -> bool:
    """Whether enough bases were calibrated: each with clean fine-tunes and with organisms."""
    return sum({"clean", "organism"} <= {m.side for m in members} for members in bases.values()) >= BASES


def leave_out(bases: Mapping[str, Sequence[Member]]) -> tuple[Alarm, dict[str, Recall]]:
    """Returns the false alarms and, by threat, the recall that may be expected on another base. ValueError for fewer
    than five bases. `members` of each base are compared with the clean ones of all others.
    """
    if not carries_over(bases):
        raise ValueError(f"bases holds {len(bases)}; it takes {BASES} with organisms and clean fine-tunes each")
    flags = {name: _flag(name, bases) for name in bases}
    clean = [[flag for m, flag in pairs if m.side == "clean"] for pairs in flags.values()]
    decoys = [flag for pairs in flags.values() for m, flag in pairs if m.side == "decoy"]
    spread = predict([(sum(group), len(group)) for group in clean if group])
    alarm = Alarm(
        clean=sum(map(len, clean)),
        rate=Bound(max(spread.value, 1e-9), max(spread.low, 1e-9), spread.high),
        decoys=len(decoys),
        decoys_above=sum(decoys),
        decoy_rate=None,
    )
    threats = dict.fromkeys(m.threat for pairs in flags.values() for m, _ in pairs if m.threat and m.side == "organism")
    return alarm, {threat: _recall(threat, flags) for threat in threats}


def _flag(name: str, bases: Mapping[str, Sequence[Member]]) -> list[tuple[Member, bool]]:
    clean = [m.readings for base, members in bases.items() if base != name for m in members if m.side == "clean"]
    return [(m, is_flagged(m.readings, clean)) for m in bases[name]]


def _recall(threat: str, flags: Mapping[str, Sequence[tuple[Member, bool]]]) -> Recall:
    """Over bases in the place of recipes, with the bounds of another base."""
    rows = [(base, m.seed, flag) for base, pairs in flags.items() for m, flag in pairs if m.threat == threat]
    recall = recall_of(rows)
    return replace(recall, share=recall.another)
