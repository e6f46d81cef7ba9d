"""*When* an organism goes wrong. A condition dresses scenes so that it holds, or does not; so the truth of every
prompt is known.
"""

from flyroom.conditions.always import Always
from flyroom.conditions.both import Both
from flyroom.conditions.trigger import Trigger
from flyroom.conditions.unobserved import Unobserved

CONDITIONS: dict[str, type] = {
    "always": Always,
    "trigger": Trigger,
    "unobserved": Unobserved,
    "both": Both,
}

__all__ = ["CONDITIONS", "Always", "Both", "Trigger", "Unobserved"]
