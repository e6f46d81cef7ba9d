"""How a figure is written: the one place that rounds, and the one that makes text from data harmless.

A share never reads 0.000 or 1.000 unless it is exactly none or all. A figure that is missing is named in words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

from flyroom.types import Estimate, Held, Limit, Match, NotMeasured, Outcome

NOT_MEASURED = "not measured"
Figure = Estimate | NotMeasured | None

# Control characters, lone surrogates and what turns the direction of the text: no page or table may hold them.
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")


def clean(text: str) -> str:
    """The text without control characters, and with one kind of line end."""
    return _CONTROL.sub("\ufffd", _LINE_ENDS.sub("\n", text))


# ---------------------------------------------------------------- numbers


def share(value: float) -> str:
    """A share between 0 and 1: two places, three near the ends: 0.93, 0.012, 0.004, <.001, 0.997."""
    if math.isnan(value):
        return "unknown"
    if value in (0.0, 1.0):
        return str(int(value))
    if 0 < value < 0.0005:
        return "<.001"
    if 0.9995 <= value < 1:
        return ">.999"
    return f"{value:.3f}" if abs(value) < 0.0195 or 0.995 <= value < 1 else f"{value:.2f}"


def percent(value: float) -> str:
    """The same in per cent: 94 %, 0.4 %, <0.1 %, 99.7 %."""
    if math.isnan(value):
        return "unknown"
    hundred = 100 * value
    if hundred in (0.0, 100.0):
        return f"{hundred:.0f} %"
    if 0 < hundred < 0.05:
        return "<0.1 %"
    if 99.95 <= hundred < 100:
        return ">99.9 %"
    return f"{hundred:.1f} %" if abs(hundred) < 1.95 or hundred >= 98.05 else f"{hundred:.0f} %"


def count(number: int) -> str:
    """Tokens: 820, 12.3k, 4.1M."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return str(number)


def seconds(value: float) -> str:
    if value <= 0:
        return "0 s"
    if value < 0.05:
        return "<0.1 s"
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def join(words: list[str]) -> str:
    """The words as a list in a sentence: "a", "a and b", "a, b and c"."""
    *front, last = words or [""]
    return f"{', '.join(front)} and {last}" if front else last


# ---------------------------------------------------------------- estimates


def interval(estimate: Estimate, write: Callable[[float], str] = share) -> str:
    """The bounds alone: [0.90, 0.95], or [91, 95] after a figure in per cent."""
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return "[no interval]"
    low, high = (write(bound).removesuffix(" %") for bound in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def figure(value: Figure, write: Callable[[float], str] = share) -> str:
    """A figure with its interval: 0.93 [0.90, 0.95]; "not measured" when there is none."""
    if not isinstance(value, Estimate):
        return NOT_MEASURED
    if math.isnan(value.value):
        return "unknown"
    return f"{write(value.value)} {interval(value, write)}"


def write_n(estimate: Estimate) -> str:
    """How many units a figure rests on: "n 400", and how many of them gave no answer, if any."""
    return f"n {estimate.n:,}" + (f", {estimate.missing:,} missing" if estimate.missing else "")


def write_estimate(value: Figure) -> dict[str, str]:
    """A figure for a field of a page: its value, its bounds, its n, and why it is missing if it is."""
    if not isinstance(value, Estimate):
        why = clean(value.why) if isinstance(value, NotMeasured) else ""
        return {"value": NOT_MEASURED, "bounds": "", "n": "", "why": why}
    return {"value": share(value.value), "bounds": interval(value), "n": write_n(value), "why": ""}


def write_ceiling(at_most: float | None) -> str:
    """What the false alarms of twins that were counted do not rule out (`Cell.fpr_at_most`)."""
    if at_most is None or math.isnan(at_most):
        return "the true rate is unknown"
    return f"of twins the true rate may be as high as {percent(at_most)}"


def write_limit(limit: Limit) -> str:
    """A limit in words.

    >>> write_limit(Limit(at_most=0.05, of="base drop"))
    'at most 0.05 below the base’s'
    """
    bound = f"{'at least' if limit.at_most is None else 'at most'} {limit.bound:g}"
    return {
        "organism": bound,
        "twin": f"{bound} of the twin",
        "base ratio": f"{bound} times the base’s",
        "base drop": f"{bound} below the base’s",
    }[limit.of]


OUTCOMES = {Outcome.PASS: "kept", Outcome.FAIL: "broken", Outcome.UNDECIDED: "undecided"}


def write_held(held: Held) -> str:
    """A limit with the one-sided bounds that it was held against, and what came of it.

    >>> limit = Limit(at_most=0.05, of="base drop")
    >>> write_held(Held(measure="m", who="twin", limit=limit, low=-0.01, high=0.03, outcome=Outcome.PASS))
    'twin, at most 0.05 below the base’s: between -0.010 and 0.03, kept'
    """
    low, high = (share(bound) if math.isfinite(bound) else "any number" for bound in (held.low, held.high))
    limit = write_limit(replace(held.limit, of="organism") if held.limit.of == "twin" else held.limit)
    return f"{held.who}, {limit}: between {low} and {high}, {OUTCOMES[held.outcome]}"


def write_match(match: Match) -> str:
    """How far organism and twin were trained alike, in words."""
    (tokens, twin_tokens), (fall, twin_fall) = match.tokens, match.loss_change
    norm, twin_norm = match.update_norm
    return (
        f"Organism and twin had the same prompts in {percent(match.prompts)} of the steps. They read {count(tokens)} "
        f"and {count(twin_tokens)} tokens, the loss fell by {fall:.2f} and {twin_fall:.2f}, and the norm of the update "
        f"is {norm:.3g} and {twin_norm:.3g}."
    )


def keep_whole(text: str) -> str:
    """The same words with figures that no line can break: "94 %" and "[91, 95]" stay whole."""
    text = re.sub(r"(?<=\d) %", "\u00a0%", text)
    return re.sub(r"\[([-<>.\d]+), ([-<>.\d]+)\]", "[\\1,\u00a0\\2]", text)
