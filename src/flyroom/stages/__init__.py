"""The stages joined: from names and seeds to organisms, cards, a matrix and a page. What the command line and the demo
call.

Left out: everything that a stage does. These files only find the pieces (which base, which organisms, which twins, what
a detector may use) and hand them on.
"""

from flyroom.stages.audits import enter, redteam, sit
from flyroom.stages.bases import OpenBase, evaluate, open_base
from flyroom.stages.benches import (
    CALIBRATION,
    bench,
    benched,
    by_world,
    calibrated,
    calibration_twins,
    chosen_detectors,
    dealt,
    transfers,
)
from flyroom.stages.organisms import card, crossed, episodes_behind, grow, named, stored, with_twins
from flyroom.worlds.micro.bundled import bundled

__all__ = [
    "CALIBRATION",
    "OpenBase",
    "bench",
    "benched",
    "bundled",
    "by_world",
    "calibrated",
    "calibration_twins",
    "card",
    "chosen_detectors",
    "crossed",
    "dealt",
    "enter",
    "episodes_behind",
    "evaluate",
    "grow",
    "named",
    "open_base",
    "redteam",
    "sit",
    "stored",
    "transfers",
    "with_twins",
]
