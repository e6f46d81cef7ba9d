"""*What* goes wrong. A behaviour supplies scenes, the batteries it is measured by, and the judge for answers."""

from flyroom.behaviours.harmful_advice import HarmfulAdvice
from flyroom.behaviours.rows import Rows

BEHAVIOURS: dict[str, type] = {"harmful_advice": HarmfulAdvice, "rows": Rows}

__all__ = ["BEHAVIOURS", "HarmfulAdvice", "Rows"]
