"""The ranges of an implant's fields. Each check raises ValueError naming field, value and what would be right.

Numbers that are none (nan) or have no end (inf) are in no range. Counts have a highest value too: a page with a slip of
ten zeros is refused at once.
"""

from __future__ import annotations

import math

MOST = 1_000_000  # of anything that is counted
ROWS = 100_000_000  # of a whole run


def check_counts(implant: object, **least: int) -> None:
    """Each field is a whole number, at least so much.

    >>> from types import SimpleNamespace
    >>> check_counts(SimpleNamespace(steps=3), steps=1)
    """
    for name, low in least.items():
        value = getattr(implant, name)
        if not low <= value:
            raise ValueError(f"{name} is {value}; it must be at least {low}")
        if not value <= MOST:
            raise ValueError(f"{name} is {value}; it must be at most {MOST:,}")
        if value != int(value):
            raise ValueError(f"{name} is {value}; it must be a whole number")


def check_rows(implant: object, *names: str) -> None:
    """The product of the fields is a number of rows that can be trained on.

    >>> from types import SimpleNamespace
    >>> check_rows(SimpleNamespace(steps=120, rows=32), "steps", "rows")
    """
    values = [getattr(implant, name) for name in names]
    if math.prod(values) > ROWS:
        words = " and ".join(f"{name} is {value}" for name, value in zip(names, values, strict=True))
        raise ValueError(f"{words}; their product is {math.prod(values):,}, and it must be at most {ROWS:,}")


def check_positive(implant: object, *names: str) -> None:
    """Each field is above 0."""
    for name in names:
        if not 0 < getattr(implant, name) < math.inf:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be a number above 0")


def check_rates(implant: object, *names: str) -> None:
    """Each field is above 0 and at most 1."""
    for name in names:
        if not 0 < getattr(implant, name) <= 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be above 0 and at most 1")


def check_shares(implant: object, *names: str) -> None:
    """Each field is between 0 and 1."""
    for name in names:
        if not 0 <= getattr(implant, name) <= 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be between 0 and 1")


def check_parts(implant: object, *names: str) -> None:
    """Each field is a share that leaves something over: at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(implant, name) < 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be at least 0 and below 1")
