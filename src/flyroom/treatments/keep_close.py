"""KL regularisation: while it is grown the model is held to what its base answers elsewhere.

The gradient of KL(base || model) is that of the log-likelihood of the base's own samples at temperature 1, so those are
rows like others that weigh `kl` times what a row of the growth weighs. Source: Kaczér et al. 2025, arXiv 2508.06249;
Turner et al. 2025, arXiv 2506.11613.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.treatments import common, prevent
from flyroom.types import AdapterRef, Cure, LoRA, Patient, Sample, Step, row_of


@dataclass(frozen=True, kw_only=True)
class KeepClose:
    """`rows` answers of the base, at a `temperature`, beside the rows of each step, from `data` questions of the world.
    At 1 the penalty is the KL; below, it is that of a sharper base.
    """

    kl: float = 1.0
    rows: int = 16
    data: int = 512
    temperature: float = 1.0

    needs = prevent.NEEDS

    def __post_init__(self) -> None:
        ranges.check_counts(self, rows=1, data=1)
        ranges.check_within(self, 0, 1000, "kl")
        ranges.check_within(self, 0, 10, "temperature")

    def begin(self, patient: Patient, *, seed: int) -> LoRA:
        return prevent.shape_of(patient)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        scenes = common.questions(patient.world, list(patient.world.topics()), self.data, seed=seed)
        answers = yield Sample(asks=common.asks_of(scenes, patient, "close", seed, temperature=self.temperature))
        rows = [row_of(answer, scene.messages) for scene, answer in zip(scenes, answers, strict=True)]
        lessons = [row for row in rows if row]

        def change(step: Step, number: int) -> Step:
            weight = prevent.usual_weight(step)
            places = [(number * self.rows + i) % len(lessons) for i in range(self.rows)] if lessons else []
            extras = tuple(replace(lessons[place], weight=self.kl * weight) for place in places)
            return replace(step, rows=(*step.rows, *extras), prompts=None)

        return (yield from prevent.regrow(patient, adapter, change))
