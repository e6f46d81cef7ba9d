"""What a model leaves its room for, and until when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from datetime import date as Day

DAYS = 90  # how long an export is meant to be used
MOST_DAYS = 3650
LENGTH = 500  # characters of a purpose


def purpose_of(text: str) -> str:
    """A purpose as it goes into the log: on one line. ValueError unless it says something.

    >>> purpose_of("  compare two  probes ")
    'compare two probes'
    """
    words = " ".join(text.split())
    if len(re.findall(r"\w", words)) < 3 or not words.isprintable() or len(words) > LENGTH:
        excerpt = repr(words if len(words) <= 40 else f"{words[:39]}…")
        raise ValueError(
            f"purpose is {excerpt}; say what the model is needed for, in words of 3 to {LENGTH} characters"
        )
    return words


def expiry(days: int, today: Day | None = None) -> str:
    """The day after which a mark has expired. ValueError for a number of days that is none.

    >>> expiry(90, Day(2030, 1, 1))
    '2030-04-01'
    """
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"expires is {days}; it must be 1 to {MOST_DAYS} days")
    return ((today or datetime.now(UTC).date()) + timedelta(days=days)).isoformat()


def is_past(day: str, today: Day | None = None) -> bool:
    """Whether a day is over. What is no day is: a mark that was tampered with lets nothing through.

    >>> is_past("2030-04-01", Day(2030, 4, 1)), is_past("2030-04-01", Day(2030, 4, 2)), is_past("never")
    (False, True, True)
    """
    try:
        return Day.fromisoformat(day) < (today or datetime.now(UTC).date())
    except (ValueError, TypeError):
        return True
