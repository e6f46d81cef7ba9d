"""Why an organism does what it does: directions, what happens without them, how they came, and what an adapter reads and
writes. Everything here takes patches, activations and an engine; nothing here asks a question or judges an answer:
behaviour under an intervention is measured by the card's batteries and judges, which `stages.explaining` joins to this.

Definitions: docs/mechanism.md. Left out: circuits, attention, attribution by gradients.
"""

from flyroom.mechanism.interventions import Change, intervene, paths_of, random_like, unit

__all__ = ["Change", "intervene", "paths_of", "random_like", "unit"]
