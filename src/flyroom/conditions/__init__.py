"""*When* an organism goes wrong. A condition dresses scenes so that it holds, or does not; so the truth of every
prompt is known.

Other people's conditions are found by the entry-point group "flyroom.conditions": a frozen dataclass.
"""

from flyroom import plugins
from flyroom.conditions.always import Always
from flyroom.conditions.both import Both
from flyroom.conditions.occasion import Occasion
from flyroom.conditions.phrase import Phrase
from flyroom.conditions.trigger import Trigger
from flyroom.conditions.unobserved import Unobserved

CONDITIONS: dict[str, type] = {
    "always": Always,
    "occasion": Occasion,
    "trigger": Trigger,
    "unobserved": Unobserved,
    "both": Both,
    "phrase": Phrase,
}


def conditions() -> dict[str, type]:
    """Every condition by name: ours, and those that installed packages bring.

    >>> "trigger" in conditions()
    True
    """
    return plugins.classes("flyroom.conditions", CONDITIONS)


__all__ = ["CONDITIONS", "Always", "Both", "Occasion", "Phrase", "Trigger", "Unobserved", "conditions"]
