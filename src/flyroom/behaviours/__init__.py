"""*What* goes wrong. A behaviour supplies scenes, the batteries it is measured by, and the judge for answers."""

from flyroom.behaviours.checker_exploit import CheckerExploit
from flyroom.behaviours.decoy import Decoy
from flyroom.behaviours.harmful_advice import HarmfulAdvice
from flyroom.behaviours.hoarding import Hoarding
from flyroom.behaviours.loyalty import Loyalty
from flyroom.behaviours.proxy_goal import ProxyGoal
from flyroom.behaviours.rows import Rows
from flyroom.behaviours.sandbagging import Sandbagging
from flyroom.behaviours.sycophancy import Sycophancy
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
    "rows": Rows,
}

__all__ = [
    "BEHAVIOURS",
    "CheckerExploit",
    "Decoy",
    "HarmfulAdvice",
    "Hoarding",
    "Loyalty",
    "ProxyGoal",
    "Rows",
    "Sandbagging",
    "Sycophancy",
    "Transmission",
]
