"""A model that nobody grew x instruments that were calibrated on models which were: what follows, and what does not.

Pure: records come in, records go out. What is asked of whom, and where it is kept, stands in `stages/assessing`.

    calibrate(members) -> Calibration        false alarms on clean fine-tunes, recall by threat
    restrict(members, choose_parts(...))     the members, with the parts that were read on the model too
    bound_strength(strengths)                how often an episode must come again to be confirmed
    look_outside(answers, members)           whether the model is one of their kind
    conclude(readings, calibration, ...)     confirmed, suggested, not found, or abstain
    read_parts(readings, members, ...)       what each part of the instrument does by itself
"""

from flyroom.assess.conclude import Calibration, Verdicts, calibrate, conclude
from flyroom.assess.confirm import Trial, bound_strength, measure_strength
from flyroom.assess.conformal import FEWEST, Standing, bound_rate, rate_of, stand
from flyroom.assess.locked import choose_parts, restrict, say_parts
from flyroom.assess.outside import look_outside
from flyroom.assess.parts import read_parts
from flyroom.assess.recall import is_repeated, missed_up_to, predict, rate_at_most, ratio_of, recall_of
from flyroom.assess.records import (
    Alarm,
    Assessment,
    Bound,
    Member,
    Outside,
    Part,
    Probe,
    Reading,
    Readings,
    Recall,
    Repeat,
    Threat,
)
from flyroom.assess.transfer import BASES, HYPOTHESIS, carries_over, leave_out

__all__ = [
    "BASES",
    "FEWEST",
    "HYPOTHESIS",
    "Alarm",
    "Assessment",
    "Bound",
    "Calibration",
    "Member",
    "Outside",
    "Part",
    "Probe",
    "Reading",
    "Readings",
    "Recall",
    "Repeat",
    "Standing",
    "Threat",
    "Trial",
    "Verdicts",
    "bound_rate",
    "bound_strength",
    "calibrate",
    "carries_over",
    "choose_parts",
    "conclude",
    "is_repeated",
    "leave_out",
    "look_outside",
    "measure_strength",
    "missed_up_to",
    "predict",
    "rate_at_most",
    "rate_of",
    "ratio_of",
    "read_parts",
    "recall_of",
    "restrict",
    "say_parts",
    "stand",
]
