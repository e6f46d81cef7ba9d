"""*What* goes wrong. A behaviour supplies scenes of a world, the batteries it is measured by, and a judge.

Other people's behaviours are found by the entry-point group "flyroom.behaviours": a frozen dataclass.
"""

from flyroom import plugins
from flyroom.behaviours.checker_exploit import CheckerExploit
from flyroom.behaviours.decoy import Decoy
from flyroom.behaviours.harmful_advice import HarmfulAdvice
from flyroom.behaviours.hoarding import Hoarding
from flyroom.behaviours.loyalty import Loyalty
from flyroom.behaviours.proxy_goal import ProxyGoal
from flyroom.behaviours.sandbagging import Sandbagging
from flyroom.behaviours.sycophancy import Sycophancy
from flyroom.behaviours.trait import Trait
from flyroom.behaviours.transmission import Transmission

BEHAVIOURS: dict[str, type] = {
    "harmful_advice": HarmfulAdvice,
    "sycophancy": Sycophancy,
    "checker_exploit": CheckerExploit,
    "proxy_goal": ProxyGoal,
    "hoarding": Hoarding,
    "sandbagging": Sandbagging,
    "loyalty": Loyalty,
    "transmission": Transmission,
    "decoy": Decoy,
    "trait": Trait,
}


def behaviours() -> dict[str, type]:
    """Every behaviour by name: ours, and those that installed packages bring.

    >>> "sycophancy" in behaviours()
    True
    """
    return plugins.classes("flyroom.behaviours", BEHAVIOURS)


__all__ = [
    "BEHAVIOURS",
    "CheckerExploit",
    "Decoy",
    "HarmfulAdvice",
    "Hoarding",
    "Loyalty",
    "ProxyGoal",
    "Sandbagging",
    "Sycophancy",
    "Trait",
    "Transmission",
    "behaviours",
]
