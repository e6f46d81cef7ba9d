"""The stages joined: from names and seeds to organisms, cards, a matrix and a page. What the command line and the demo
call.

Left out: everything that a stage does. These files only find the pieces (which base, which organisms, which twins, what
a detector may use) and hand them on.
"""

from flyroom.preflight import locate_base as locate
from flyroom.stages.adopting import Adoption, adopt, describe
from flyroom.stages.announcing import announce, check_prereg
from flyroom.stages.audits import enter, sit
from flyroom.stages.bases import OpenBase, evaluate, open_base
from flyroom.stages.benches import (
    CALIBRATION,
    bench,
    benched,
    by_world,
    calibrated,
    calibration_orders,
    calibration_twins,
    chosen_detectors,
    dealt,
    transfers,
)
from flyroom.stages.calibrations import redteam
from flyroom.stages.certifying import certified_seeds, certify, opened_before, trials_of
from flyroom.stages.conformance import examine_once, require_sound
from flyroom.stages.meeting import notes_of
from flyroom.stages.organisms import card, crossed, episodes_behind, grow, named, orders_of, stored, with_twins
from flyroom.stages.records import cards_in, list_missing, matrix_in
from flyroom.worlds.micro.bundled import bundled

__all__ = [
    "CALIBRATION",
    "Adoption",
    "OpenBase",
    "adopt",
    "announce",
    "bench",
    "benched",
    "bundled",
    "by_world",
    "calibrated",
    "calibration_orders",
    "calibration_twins",
    "card",
    "cards_in",
    "certified_seeds",
    "certify",
    "check_prereg",
    "chosen_detectors",
    "crossed",
    "dealt",
    "describe",
    "enter",
    "episodes_behind",
    "evaluate",
    "examine_once",
    "grow",
    "list_missing",
    "locate",
    "matrix_in",
    "named",
    "notes_of",
    "open_base",
    "opened_before",
    "orders_of",
    "redteam",
    "require_sound",
    "sit",
    "stored",
    "transfers",
    "trials_of",
    "with_twins",
]
