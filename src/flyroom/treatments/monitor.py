"""A monitor of thoughts at run time: the model is asked to think first, its thoughts are read, and where they want harm
the answer is blocked, or another is drawn.

What is known: monitor and resample takes safety from 50 % to 89 %, and to 17 % under an adaptive attack (arXiv
2511.02997). The weights are as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flyroom import ranges
from flyroom.treatments import common
from flyroom.types import (
    AdapterRef,
    Answer,
    Ask,
    Cure,
    NotAvailable,
    Patient,
    Split,
    Thinking,
    Verdict,
    ask_seed,
    if_any,
)


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """After `tries` further answers that are caught, or at 0 at once, nothing is answered."""

    tries: int = 0

    def __post_init__(self) -> None:
        ranges.check_counts(self, tries=0)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()
        return None

    def answer(self, patient: Patient, asks: Sequence[Ask]) -> list[Answer]:
        world = patient.world
        if not isinstance(world, Thinking):
            raise NotAvailable(f"the world {world.name} has no form for thoughts, so none can be monitored")
        thinking = [self._ask_to_think(ask, patient) for ask in asks]
        answers = patient.sample(thinking)
        for attempt in range(self.tries):
            places = [i for i, answer in enumerate(answers) if _wants_harm(answer, world)]
            again = [replace(thinking[i], seed=ask_seed(thinking[i].seed, attempt)) for i in places]
            for i, answer in zip(places, patient.sample(again) if again else [], strict=True):
                answers[i] = answer
        return [replace(a, text="", finished=True) if _wants_harm(a, world) else a for a in answers]

    def _ask_to_think(self, ask: Ask, patient: Patient) -> Ask:
        """With the world's order to think first, where it is not there already."""
        cues = list(if_any(patient.world.cues, "scratchpad", split=Split.TRAIN))
        text = " ".join(message.content for message in ask.messages)
        if not cues or any(cue in text for cue in cues):
            return ask
        return replace(ask, messages=common.under(cues[0], ask.messages))


def _wants_harm(answer: Answer, world: Thinking) -> bool:
    return world.read_thought(answer.text).wants is Verdict.MISALIGNED
