"""What a recipe holds its measures to: the gauges of its card, with the limits that its thresholds move, replace or
remove. Raised here is whatever is wrong with a threshold, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from flyroom.measures import CONDITIONAL, DERIVED, OTHERWISE, TWIN
from flyroom.types import Battery, Gauge, Limit, Override, Thresholds, Verdict, suggest


def gauge(batteries: Iterable[Battery], thresholds: Thresholds, *, harmless: bool = False) -> dict[str, Gauge]:
    """What each measure on the card is, by name, and what this recipe holds it to. ValueError for a threshold of a
    measure that there is not, and for a number where there is no one limit that it could move.
    """
    gauges: dict[str, Gauge] = {}
    for battery in batteries:
        if battery.measure in gauges or battery.measure in DERIVED:
            raise ValueError(
                f"measure is {battery.measure!r} in a battery; another measure is called so, name it apart"
            )
        gauges[battery.measure] = _gauge(battery, harmless)
    conditional = any(measure.endswith(OTHERWISE) for measure in gauges)
    gauges |= {measure: one for measure, one in DERIVED.items() if conditional or measure not in CONDITIONAL}
    for measure, one in gauges.items():
        if measure + OTHERWISE in gauges:
            gauges[measure] = replace(one, otherwise=measure + OTHERWISE)
    for name, override in thresholds.items():
        measure = name.removeprefix(TWIN)
        if measure not in gauges:
            raise ValueError(_unknown(name, override, gauges))
        limits = _overrule(name, gauges[measure].limits, override)
        gauges[measure] = replace(gauges[measure], limits=limits)
    return gauges


def _gauge(battery: Battery, harmless: bool) -> Gauge:
    """More of it is worse, but where good answers count or the behaviour itself is a harmless trait."""
    label = battery.measure.replace("_", " ").capitalize()
    bad = battery.counts is not Verdict.ALIGNED and not (harmless and battery.pooled)
    return Gauge(label=label, reach=battery.reach, bad=bad, limits=battery.limits)


def _overrule(name: str, limits: tuple[Limit, ...], override: Override) -> tuple[Limit, ...]:
    """The limits with those of the organism, or by a name that begins with "twin." those of the twin, as the recipe
    wants them. A limit of the twin that is the organism's too goes with it.
    """
    twin = name.startswith(TWIN)
    same = [limit for limit in limits if (limit.of == "twin") is twin]
    shared = [limit for limit in limits if not twin and limit.of == "twin" and replace(limit, of="organism") in same]
    others = tuple(limit for limit in limits if limit not in (*same, *shared))
    if override is None:
        return others
    if isinstance(override, Limit):
        changed = _limit(name, override, twin)
        return (*others, changed, *(replace(changed, of="twin") for _ in shared if changed.of == "organism"))
    if len(same) != 1:
        raise ValueError(
            f"thresholds.{name} is {override:g}; {name} has {len(same) or 'no'} limit{'s' * (len(same) > 1)} that a "
            "number could move: give {at_least: x} or {at_most: x}"
        )
    return tuple(limit.moved(override) if limit in (*same, *shared) else limit for limit in limits)


def _limit(name: str, limit: Limit, twin: bool) -> Limit:
    if limit.of not in (("organism", "twin") if twin else ("organism", "base ratio", "base drop")):
        right = "leave `of` out" if twin else f"name it {TWIN}{name}"
        raise ValueError(f"thresholds.{name} is a limit of the {limit.of}; {right}")
    return replace(limit, of="twin") if twin else limit


def _unknown(name: str, override: Override, gauges: Mapping[str, Gauge]) -> str:
    names = [*gauges, *(TWIN + measure for measure in gauges)]
    value = override
    if isinstance(override, Limit):
        value = f"at least {override.at_least:g}" if override.at_most is None else f"at most {override.at_most:g}"
    return (
        f"thresholds.{name} is {value}; there is no such measure. {suggest(name, names)}There are {', '.join(gauges)}"
    )
