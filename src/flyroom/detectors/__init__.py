"""Detectors: suspects in, one finding each out. A detector touches suspects through its lab alone, and only as it
declared.

Other people's detectors are found by the entry-point group "flyroom.detectors": a callable without arguments that gives
a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points

from flyroom.detectors.elicit import FewShot, NoiseInjection
from flyroom.detectors.likelihood import Divergence, Perplexity, TargetOdds
from flyroom.detectors.mean_difference import MeanDifference
from flyroom.detectors.output_judge import OutputJudge
from flyroom.detectors.residuals import ActivationDifference, KnownProbe, Mahalanobis
from flyroom.detectors.sweep import Confession, EnvironmentSweep, TopicSweep, TriggerSweep
from flyroom.detectors.weights import Spectrum, WeightNorm
from flyroom.types import Detector

DETECTORS: dict[str, Callable[[], Detector]] = {
    # black box
    "output-judge": OutputJudge,
    "topic-sweep": TopicSweep,
    "environment-sweep": EnvironmentSweep,
    "trigger-sweep": TriggerSweep,
    "confession": Confession,
    "prefilled-confession": partial(Confession, prefill="yes ,"),
    # likelihoods
    "perplexity": Perplexity,
    "target-odds": TargetOdds,
    "divergence": Divergence,
    # activations
    "mean-difference-probe": MeanDifference,
    "activation-difference": ActivationDifference,
    "mahalanobis": Mahalanobis,
    "known-probe": KnownProbe,
    # weights, and what a little training or noise brings out
    "weight-norm": WeightNorm,
    "spectrum": Spectrum,
    "noise-injection": NoiseInjection,
    "few-shot": FewShot,
}


def detectors() -> dict[str, Detector]:
    """Every detector by name: ours, then those that installed packages bring.

    >>> sorted(detectors())[:2]
    ['activation-difference', 'confession']
    """
    brought = {point.name: point.load() for point in entry_points(group="flyroom.detectors")}
    return {name: make() for name, make in {**brought, **DETECTORS}.items()}


__all__ = ["DETECTORS", "MeanDifference", "OutputJudge", "detectors"]
