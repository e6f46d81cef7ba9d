"""Judges: episodes in, one score each out. Frozen records with an identity; the exact judge of a world lives in that
world.

Judges of other packages are found by the entry-point group "flyroom.judges": a callable that gives a judge.
"""

from collections.abc import Callable

from flyroom import plugins
from flyroom.judges.endpoint import Endpoint
from flyroom.judges.graded import NO_ANSWER, Graded
from flyroom.judges.graders import Grader, NextTokens
from flyroom.judges.inspect_scorer import InspectScorer
from flyroom.judges.local import LocalModel, NextToken, bind
from flyroom.judges.noisy import NoisyJudge
from flyroom.judges.pattern import Pattern
from flyroom.judges.wrappers import Cached, RatedJudge, cached
from flyroom.types import Judge

JUDGES: dict[str, Callable[..., Judge]] = {"pattern": Pattern, "graded": Graded, "inspect": InspectScorer}


def judges() -> dict[str, Callable[..., Judge]]:
    """Every kind of judge by name: ours, and those that installed packages bring.

    >>> judges()["pattern"](pattern="rain").id
    'f86d0f7a7832'
    """
    return plugins.load("flyroom.judges") | JUDGES


__all__ = [
    "JUDGES",
    "NO_ANSWER",
    "Cached",
    "Endpoint",
    "Graded",
    "Grader",
    "InspectScorer",
    "LocalModel",
    "NextToken",
    "NextTokens",
    "NoisyJudge",
    "Pattern",
    "RatedJudge",
    "bind",
    "cached",
    "judges",
]
