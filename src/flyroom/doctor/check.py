"""A check, and what several of them say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from flyroom.engine import TorchEngine
from flyroom.types import NotAvailable, World


class Check(NamedTuple):
    """A question, whether it is answered as it should be (None: nobody could look), and why."""

    check: str
    ok: bool | None
    why: str


class Subject(NamedTuple):
    """What is examined: an engine of its own over the base, and the world that the base speaks, if there is one."""

    engine: TorchEngine
    world: World | None


Answer = tuple[bool | None, str]  # as a check has them: ok, and why
Question = Callable[[Subject], Answer]


def ask(name: str, question: Question, subject: Subject) -> Check:
    """The answer to a question. One that cannot be put says so; one that breaks has failed."""
    try:
        return Check(name, *question(subject))
    except NotAvailable as absence:
        return Check(name, None, str(absence))
    except (ValueError, RuntimeError, AssertionError) as error:
        return Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def passes(checks: Iterable[Check]) -> bool:
    """Whether none of them failed.

    >>> passes([Check("one BOS", True, ""), Check("PEFT", None, "it is not installed")])
    True
    """
    return all(check.ok is not False for check in checks)


def failures(checks: Sequence[Check]) -> str:
    """The names and reasons of those that failed, in one line."""
    return "; ".join(f"{check.check}: {check.why}" for check in checks if check.ok is False)
