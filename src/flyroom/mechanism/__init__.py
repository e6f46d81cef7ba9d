"""Why an organism does what it does: directions, what happens without them, how they came, and what an adapter reads
and writes. It takes patches, activations and an engine; it asks no question and judges no answer: behaviour under an
intervention is measured by the card's batteries and judges, which `stages.explaining` joins to this.

Definitions: docs/mechanism.md. Left out: circuits, attention, attribution by gradients.
"""

from flyroom.mechanism.crosscoder import Crosscoder, Training, fit
from flyroom.mechanism.directions import Answered, Contrast, Weighting, contrast
from flyroom.mechanism.interventions import Change, intervene, random_like, random_matched, unit
from flyroom.mechanism.rotation import Turn, gram, turns
from flyroom.mechanism.spectra import Ends, Spectrum, ends, spectra

__all__ = [
    "Answered",
    "Change",
    "Contrast",
    "Crosscoder",
    "Ends",
    "Spectrum",
    "Training",
    "Turn",
    "Weighting",
    "contrast",
    "ends",
    "fit",
    "gram",
    "intervene",
    "random_like",
    "random_matched",
    "spectra",
    "turns",
    "unit",
]
