"""Judges: episodes in, one score each out. Frozen records with an identity; the exact judge of a world lives in that
world.

A judge of another package comes with the world or the behaviour that hands it out.
"""

from flyroom.judges.endpoint import Endpoint
from flyroom.judges.graded import NO_ANSWER, Graded
from flyroom.judges.graders import Grader, NextTokens
from flyroom.judges.inspect_scorer import InspectScorer
from flyroom.judges.local import LocalModel, NextToken, bind
from flyroom.judges.noisy import NoisyJudge
from flyroom.judges.pattern import Pattern
from flyroom.judges.wrappers import Cached, RatedJudge, cached

__all__ = [
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
]
