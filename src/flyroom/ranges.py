"""The ranges of the fields of implants and treatments. Each check raises ValueError naming field, value and what would
be right.

Numbers that are none (nan) or have no end (inf) are in no range. Counts have a highest value too: a page with a slip of
ten zeros is refused at once.
"""

from __future__ import annotations

import math

MOST = 1_000_000  # of anything that is counted
ROWS = 100_000_000  # of a whole run


def check_counts(part: object, **least: int) -> None:
    """Each field is a whole number, at least so much.

    >>> from types import SimpleNamespace
    >>> check_counts(SimpleNamespace(steps=3), steps=1)
    """
    for name, low in least.items():
        value = getattr(part, name)
        if not low <= value:
            raise ValueError(f"{name} is {value}; it must be at least {low}")
        if not value <= MOST:
            raise ValueError(f"{name} is {value}; it must be at most {MOST:,}")
        if value != int(value):
            raise ValueError(f"{name} is {value}; it must be a whole number")


def check_rows(part: object, *names: str) -> None:
    """The product of the fields is a number of rows that can be trained on.

    >>> from types import SimpleNamespace
    >>> check_rows(SimpleNamespace(steps=120, rows=32), "steps", "rows")
    """
    values = [getattr(part, name) for name in names]
    if math.prod(values) > ROWS:
        words = " and ".join(f"{name} is {value}" for name, value in zip(names, values, strict=True))
        raise ValueError(f"{words}; their product is {math.prod(values):,}, and it must be at most {ROWS:,}")


def check_positive(part: object, *names: str) -> None:
    """Each field is above 0."""
    for name in names:
        if not 0 < getattr(part, name) < math.inf:
            raise ValueError(f"{name} is {getattr(part, name)}; it must be a number above 0")


def check_rates(part: object, *names: str) -> None:
    """Each field is above 0 and at most 1."""
    check_within(part, 0, 1, *names)


def check_shares(part: object, *names: str) -> None:
    """Each field is between 0 and 1."""
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise ValueError(f"{name} is {getattr(part, name)}; it must be between 0 and 1")


def check_parts(part: object, *names: str) -> None:
    """Each field is a share that leaves something over: at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(part, name) < 1:
            raise ValueError(f"{name} is {getattr(part, name)}; it must be at least 0 and below 1")


def check_within(part: object, low: float, high: float, *names: str) -> None:
    """Each field is above `low` and at most `high`."""
    for name in names:
        value = getattr(part, name)
        if not low < value <= high:
            raise ValueError(f"{name} is {value}; it must be above {low:g} and at most {high:g}")
