"""The ranges of an implant's fields. Each check raises ValueError naming field, value and what would be right."""

from __future__ import annotations


def counts(implant: object, **least: int) -> None:
    """Each field is at least so much.

    >>> from types import SimpleNamespace
    >>> counts(SimpleNamespace(steps=3), steps=1)
    """
    for name, low in least.items():
        if getattr(implant, name) < low:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be at least {low}")


def rates(implant: object, *names: str) -> None:
    """Each field is above 0 and at most 1."""
    for name in names:
        if not 0 < getattr(implant, name) <= 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be above 0 and at most 1")


def shares(implant: object, *names: str) -> None:
    """Each field is between 0 and 1."""
    for name in names:
        if not 0 <= getattr(implant, name) <= 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be between 0 and 1")


def parts(implant: object, *names: str) -> None:
    """Each field is a share that leaves something over: at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(implant, name) < 1:
            raise ValueError(f"{name} is {getattr(implant, name)}; it must be at least 0 and below 1")
