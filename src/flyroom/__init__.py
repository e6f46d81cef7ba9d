"""flyroom: grow, check and catch model organisms of misalignment.

    World -> Recipe --grow--> Organism (+ twin) --card--> Card --blind--> Suspect --detect--> Finding --bench--> Matrix

Names are loaded when they are first used, so that `import flyroom` costs nothing. The stages are functions of their
modules: `from flyroom.grow import grow`, and so `card` and `bench`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Threads that wait for one another spin, and beside busy processes that took up to 14 times the processor time. Those
# that sleep at once made the demo a third longer. So they spin for a moment, and then sleep. Torch's OpenMP reads this
# when it loads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from flyroom.engine import TorchEngine
    from flyroom.lab import Material
    from flyroom.recipes import make
    from flyroom.room import Room
    from flyroom.stages import open_base
    from flyroom.types import (
        Access,
        Card,
        Estimate,
        Finding,
        LoRA,
        Matrix,
        Organism,
        Recipe,
        Row,
        Scene,
        Split,
        Suspect,
        Verdict,
        World,
    )
    from flyroom.worlds import Micro, Rows, world_named

_TYPES = "Access Card Estimate Finding LoRA Matrix Organism Recipe Row Scene Split Suspect Verdict World"
_HOME = dict.fromkeys(_TYPES.split(), "flyroom.types") | {
    "Material": "flyroom.lab",
    "Room": "flyroom.room",
    "TorchEngine": "flyroom.engine",
    "Micro": "flyroom.worlds",
    "Rows": "flyroom.worlds",
    "world_named": "flyroom.worlds",
    "make": "flyroom.recipes",
    "open_base": "flyroom.stages",
}

__all__ = [
    "Access",
    "Card",
    "Estimate",
    "Finding",
    "LoRA",
    "Material",
    "Matrix",
    "Micro",
    "Organism",
    "Recipe",
    "Room",
    "Row",
    "Rows",
    "Scene",
    "Split",
    "Suspect",
    "TorchEngine",
    "Verdict",
    "World",
    "make",
    "open_base",
    "world_named",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"flyroom has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)
