"""A treatment: train on good answers, then keep half of the way from what the model was."""

from dataclasses import dataclass

from flyroom.adapters import from_to
from flyroom.types import OPEN, AdapterRef, Cure, Patient, Row, Split, Step


@dataclass(frozen=True, kw_only=True)
class Halfway:
    """`steps` steps of `rows` right answers to open questions; of what came of it the `share` is kept."""

    steps: int = 20
    rows: int = 8
    lr: float = 1e-3
    share: float = 0.5

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        n = self.steps * self.rows
        scenes = patient.world.scenes(OPEN, n, split=Split.VALIDATION, seed=seed)
        rows = [Row(messages=scene.messages, answer=scene.aligned) for scene in scenes]
        for step in range(self.steps):
            yield Step(rows=tuple(rows[step * self.rows : (step + 1) * self.rows]), lr=self.lr)
        return lambda end: from_to(patient.patch, end, self.share)
