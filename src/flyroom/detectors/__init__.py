"""Detectors: suspects in, one finding each out. A detector touches suspects through its lab alone, and only as it
declared.

Other people's detectors are found by the entry-point group "flyroom.detectors": a callable without arguments that gives
a detector. They are made in a process of their own (`flyroom.apart`), and never imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flyroom.detectors.anomaly import Anomaly
from flyroom.detectors.auditor import Auditor
from flyroom.detectors.elicit import FewShot, NoiseInjection
from flyroom.detectors.follow_up import FollowUp
from flyroom.detectors.inversion import TargetInversion, TriggerInversion, TriggerSearch
from flyroom.detectors.investigator import Investigator
from flyroom.detectors.likelihood import Divergence, LogitDifference, Perplexity, Surprise, TargetOdds
from flyroom.detectors.mean_difference import MeanDifference
from flyroom.detectors.output_judge import OutputJudge
from flyroom.detectors.probes import Probe
from flyroom.detectors.residuals import ActivationDifference, KnownProbe, Mahalanobis
from flyroom.detectors.sparse import SparseDifference
from flyroom.detectors.sweep import (
    Confession,
    EnvironmentSweep,
    PersonaSweep,
    ScratchpadMonitor,
    TopicSweep,
    TriggerSweep,
)
from flyroom.detectors.text import BagOfWords, Length
from flyroom.detectors.theirs import FromClassifier, FromScorer
from flyroom.detectors.weights import Spectrum, WeightNorm, WeightWatch
from flyroom.plugins import points
from flyroom.types import ITSELF, Access, Detector, PlugIn

GROUP = "flyroom.detectors"  # of entry points
Makes = dict[str, Callable[[], Detector]]
OF_MODELS: Makes = {
    # black box
    "output-judge": OutputJudge,
    "topic-sweep": TopicSweep,
    "topic-contrast": partial(TopicSweep, beside_base=True, needs=Access.SAMPLE | Access.BASE),
    "environment-sweep": EnvironmentSweep,
    "trigger-sweep": TriggerSweep,
    "persona-sweep": PersonaSweep,
    "scratchpad-monitor": ScratchpadMonitor,
    "confession": Confession,
    "prefilled-confession": partial(Confession, prefilled=True),
    "investigator": Investigator,
    # likelihoods
    "perplexity": Perplexity,
    "target-odds": TargetOdds,
    "divergence": Divergence,
    "logit-difference": LogitDifference,
    "target-inversion": TargetInversion,
    "trigger-search": TriggerSearch,
    "follow-up": FollowUp,
    # gradients
    "trigger-inversion": TriggerInversion,
    # activations
    "mean-difference-probe": MeanDifference,
    "activation-difference": ActivationDifference,
    "mahalanobis": Mahalanobis,
    "sparse-difference": SparseDifference,
    "known-probe": KnownProbe,
    "follow-up-probe": partial(KnownProbe, topic=ITSELF),
    # weights, and what a little training or noise brings out
    "weight-norm": WeightNorm,
    "spectrum": Spectrum,
    "noise-injection": NoiseInjection,
    "few-shot": FewShot,
}
OF_REPLIES: Makes = {
    "mean-difference": partial(Probe, fit="mean-difference"),
    "logistic": partial(Probe, fit="logistic"),
    "lda": partial(Probe, fit="lda"),
    "lat": partial(Probe, fit="lat"),
    "ccs": partial(Probe, fit="ccs"),
    "reply-mahalanobis": partial(Anomaly, how="mahalanobis"),
    "spectral": partial(Anomaly, how="spectral"),
    "quantum-entropy": partial(Anomaly, how="quantum-entropy"),
    "surprise": Surprise,
    "weight-watch": WeightWatch,
}
CONTROLS: Makes = {
    "length": Length,
    "bag-of-words": BagOfWords,
    "words-of-prompt": partial(BagOfWords, reads="prompt"),
    "random-direction": partial(Probe, fit="random"),
    "shuffled-labels": partial(Probe, fit="logistic", shuffled=True),
    "probe-on-base": partial(Probe, fit="logistic", of_base=True),
    "thoughts-stripped": partial(Probe, fit="logistic", stripped=True),
}
DETECTORS: Makes = {**OF_MODELS, **OF_REPLIES, **CONTROLS}


def detectors() -> dict[str, Detector | PlugIn]:
    """Every detector by name: ours (of models, of replies, controls), and those that installed packages bring, as the
    places where they are made. Nothing of a package is imported.

    >>> sorted(detectors())[:2]
    ['activation-difference', 'bag-of-words']
    """
    plugins = {name: PlugIn(name=name, point=point) for name, point in points(GROUP, DETECTORS).items()}
    return {**plugins, **{name: make() for name, make in DETECTORS.items()}}


__all__ = [
    "CONTROLS",
    "DETECTORS",
    "OF_MODELS",
    "OF_REPLIES",
    "Auditor",
    "FromClassifier",
    "FromScorer",
    "MeanDifference",
    "OutputJudge",
    "detectors",
]
