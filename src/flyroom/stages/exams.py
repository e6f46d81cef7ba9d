"""What the ledger asks of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flyroom.ledger import EPISODES, Retraining

# Cheap ones of each kind of access, which are asked again where nobody names any.
DETECTORS = ("output-judge", "mean-difference-probe", "activation-difference", "weight-norm")


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What the ledger asks: so many episodes of each model, after how much benign re-training, and which detectors, by
    their names. `calibration` twins set the thresholds of those, and are treated alike; no figure of a row hangs on a
    threshold, so one is enough.
    """

    seed: int = 0
    episodes: int = EPISODES
    how: Retraining = field(default_factory=Retraining)
    detectors: tuple[str, ...] = DETECTORS
    calibration: int = 1

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the ledger, without detectors."""
        return {"seed": self.seed, "episodes": self.episodes, "how": self.how}
