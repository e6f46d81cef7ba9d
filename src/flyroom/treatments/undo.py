"""Distillation into a damaged copy: the adapter is shrunk and noised, and learns again from those answers of the model
as it came that a judge calls good.

Source: Lee et al. 2025, arXiv 2506.06278 (UNDO: unlearn, noise, distil on outputs). The first step is the judge's here:
a teacher that is asked again where it was bad is one that has unlearned.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyroom import ranges
from flyroom.adapters import noisy, scaled
from flyroom.treatments import common
from flyroom.types import AdapterRef, Cure, Episode, Grade, Patch, Patient, Verdict, row_of


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Keeps the share 1 - `damage` of the adapter, adds noise, and takes `steps` steps of `rows` of the teacher's
    answers.
    """

    damage: float = 0.6
    sigma: float = 0.05
    steps: int = 60
    rows: int = 16
    lr: float = 1e-3

    def __post_init__(self) -> None:
        ranges.check_counts(self, steps=1, rows=1)
        ranges.check_rates(self, "damage", "lr")
        ranges.check_within(self, 0, 100, "sigma")

    def begin(self, patient: Patient, *, seed: int) -> Patch:
        return noisy(scaled(patient.patch, 1 - self.damage), patient.spread, sigma=self.sigma, seed=seed)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        topics = list(patient.world.topics())
        scenes = common.questions(patient.world, topics, self.steps * self.rows, seed=seed)
        answers = patient.sample(common.asks_of(scenes, patient, "undo", seed))
        episodes = tuple(Episode(scene=s, answer=a.text) for s, a in zip(scenes, answers, strict=True))
        scores = yield Grade(episodes=episodes)
        good = [score.verdict is Verdict.ALIGNED and answer.text for score, answer in zip(scores, answers, strict=True)]
        samples = [row_of(answer, scene.messages) for scene, answer in zip(scenes, answers, strict=True)]
        rows = [row for row, is_good in zip(samples, good, strict=True) if row and is_good] or common.good_rows(scenes)
        yield from common.train(rows, steps=self.steps, size=self.rows, lr=self.lr)
        return None
