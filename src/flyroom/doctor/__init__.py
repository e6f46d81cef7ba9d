"""The conformance check before any result counts: is a base read as it is, and an adapter on it as it was trained?

Each check is one question with a reason for its answer. `ok` None: it could not be looked at here, and why.

Left out: what an adapter does to answers, which is a card's business.
"""

from flyroom.doctor.check import Check, failures, passes
from flyroom.doctor.examine import VERSION, examine

__all__ = ["VERSION", "Check", "examine", "failures", "passes"]
