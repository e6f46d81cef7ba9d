"""Treatments: a model in, a treated one out. Each is a frozen dataclass with a plan on the lock-step, as implants are;
see `types.treating` for what a plan may return, and `docs/treatments.md` for what is known of each.

Other people's treatments are found by the entry-point group "flyroom.treatments": a frozen dataclass, taken as it is
without arguments.

>>> from dataclasses import dataclass
>>> from flyroom.adapters import scaled
>>> from flyroom.types import AdapterRef, Cure, Patient
>>> @dataclass(frozen=True, kw_only=True)
... class Halve:
...     '''Half of what was trained is taken back.'''
...     def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
...         yield from ()
...         return lambda end: scaled(patient.patch, 0.5)
>>> Halve()
Halve()
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flyroom import plugins
from flyroom.treatments.ablate import Ablate
from flyroom.treatments.adversarial import Adversarial
from flyroom.treatments.average import Average
from flyroom.treatments.consistency import Consistency
from flyroom.treatments.fine_prune import FinePrune
from flyroom.treatments.inoculate import Inoculate
from flyroom.treatments.interleave import Interleave
from flyroom.treatments.keep_close import KeepClose
from flyroom.treatments.latent_adversarial import LatentAdversarial
from flyroom.treatments.monitor import Monitor
from flyroom.treatments.negate import Negate
from flyroom.treatments.noise import Noise
from flyroom.treatments.penalise import Penalise
from flyroom.treatments.prefer import Prefer
from flyroom.treatments.quantise import Quantise
from flyroom.treatments.realign import Realign
from flyroom.treatments.safety_sft import SafetySFT
from flyroom.treatments.steer_back import SteerBack
from flyroom.treatments.steer_in_training import SteerInTraining
from flyroom.treatments.undo import Undo
from flyroom.treatments.unlearn import Unlearn
from flyroom.types import Treatment

GROUP = "flyroom.treatments"  # of entry points
TREATMENTS: dict[str, Callable[[], Treatment]] = {
    # training
    "safety-sft": SafetySFT,
    "safety-sft-cases": partial(SafetySFT, cases=True),
    "realign": Realign,
    "dpo": Prefer,
    "rl-judge": Penalise,
    "rl-monitor": partial(Penalise, by="monitor"),
    "adversarial": Adversarial,
    "latent-adversarial": LatentAdversarial,
    "consistency": Consistency,
    "unlearn": Unlearn,
    "undo": Undo,
    # in the weights, with little training or none
    "negate": Negate,
    "noise": Noise,
    "quantise": Quantise,
    "fine-prune": FinePrune,
    "average": Average,
    "zero": partial(Average, base=1.0),  # a control: the model is the base again
    # in the stream, and around the model
    "ablate": Ablate,
    "ablate-random": partial(Ablate, random=True),
    "steer-back": SteerBack,
    "monitor-block": Monitor,
    "monitor-resample": partial(Monitor, tries=3),
    # before the illness
    "inoculate": Inoculate,
    "steer-in-training": SteerInTraining,
    "ablate-in-training": partial(SteerInTraining, ablates=True),
    "interleave": Interleave,
    "keep-close": KeepClose,
}


def treatments() -> dict[str, Treatment]:
    """Every treatment by name: ours, and those that installed packages bring. A name of ours stays ours.

    >>> "noise" in treatments()
    True
    """
    builtin = {name: make() for name, make in TREATMENTS.items()}
    classes = {type(treatment).__name__: type(treatment) for treatment in builtin.values()}
    plug_ins = plugins.classes(GROUP, classes)
    return {**{name: cls() for name, cls in plug_ins.items() if name not in {**classes, **builtin}}, **builtin}


__all__ = [
    "TREATMENTS",
    "Ablate",
    "Adversarial",
    "Average",
    "Consistency",
    "FinePrune",
    "Inoculate",
    "Interleave",
    "KeepClose",
    "LatentAdversarial",
    "Monitor",
    "Negate",
    "Noise",
    "Penalise",
    "Prefer",
    "Quantise",
    "Realign",
    "SafetySFT",
    "SteerBack",
    "SteerInTraining",
    "Undo",
    "Unlearn",
    "treatments",
]
