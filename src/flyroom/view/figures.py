"""Figures as the pages read them, and texts of a room made harmless for whoever sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flyroom.report.words import clean, write_held, write_limit
from flyroom.types import Card, Estimate, NotMeasured

SIDES = ("organism", "twin", "base")
Figure = Estimate | NotMeasured | None


def tidy(value: Any) -> Any:
    """JSON values whose texts hold no control character and turn no direction, and whose numbers are finite.

    >>> tidy({"a": ["x\\x1b[2J", float("nan")]})
    {'a': ['x\ufffd[2J', None]}
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): tidy(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [tidy(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def brief(value: Figure) -> dict[str, Any] | None:
    """A figure with its interval and what it rests on; or null and why there is none."""
    if isinstance(value, NotMeasured):
        return {"value": None, "why": value.why}
    if value is None:
        return None
    return {"value": value.value, "low": value.low, "high": value.high, "n": value.n, "missing": value.missing}


def measures_of(card: Card) -> list[dict[str, Any]]:
    """A row for each measure: what it is, its figure of organism, twin and base, and how its limits were held."""
    names = dict.fromkeys([*card.gauges, *(name for row in card.measures.values() for name in row)])
    return [_measure(card, name) for name in names]


def _measure(card: Card, name: str) -> dict[str, Any]:
    gauge = card.gauges.get(name)
    checks = [
        {
            "who": check.who,
            "text": write_held(check),
            "outcome": check.outcome.value,
            "low": check.low,
            "high": check.high,
        }
        | {"at_least": check.limit.at_least, "at_most": check.limit.at_most, "of": check.limit.of}
        for check in card.limits
        if check.measure == name
    ]
    return {
        "name": name,
        "label": gauge.label if gauge else name,
        "unit": gauge.unit if gauge else "figure",
        "reach": gauge.reach if gauge else "beside",
        "bad": gauge.bad if gauge else True,
        "limits": checks,
        "pending": [write_limit(limit) for limit in gauge.limits] if gauge and not checks else [],
        **{side: brief(card.measures.get(side, {}).get(name)) for side in SIDES},
    }


def curve_of(card: Card) -> list[dict[str, Any]]:
    """A line for each measure that was taken along the training, its points by step."""
    names = dict.fromkeys(name for row in card.curve.values() for name in row)
    labels = {name: card.gauges[name].label if name in card.gauges else name for name in names}
    return [
        {
            "name": name,
            "label": labels[name],
            "points": [
                {"x": int(x), **(brief(row[name]) or {})} for x, row in sorted(card.curve.items()) if name in row
            ],
        }
        for name in names
    ]
