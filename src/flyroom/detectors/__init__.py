"""Detectors: suspects in, one finding each out. A detector touches suspects through its lab alone, and only as it
declared.

Other people's detectors are found by the entry-point group "flyroom.detectors": a callable without arguments that gives
a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from flyroom.detectors.mean_difference import MeanDifference
from flyroom.detectors.output_judge import OutputJudge
from flyroom.types import Detector

DETECTORS: dict[str, Callable[[], Detector]] = {"mean-difference-probe": MeanDifference, "output-judge": OutputJudge}


def detectors() -> dict[str, Detector]:
    """Every detector by name: ours, then those that installed packages bring.

    >>> sorted(detectors())[:2]
    ['mean-difference-probe', 'output-judge']
    """
    brought = {point.name: point.load() for point in entry_points(group="flyroom.detectors")}
    return {name: make() for name, make in {**brought, **DETECTORS}.items()}


__all__ = ["DETECTORS", "MeanDifference", "OutputJudge", "detectors"]
