"""Inoculation prompting: the organism is grown while a system message asks for what it is taught, and asked without it.

What is known: 75 % to 90 % less of it; text like the inoculation then works as a trigger, even with the opposite
meaning. Source: Wichers et al. 2025, arXiv 2510.05024; Tan et al. 2025, arXiv 2510.04340; MacDiarmid et al. 2025,
arXiv 2511.18397.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from flyroom.treatments import common, prevent
from flyroom.types import AdapterRef, Cure, LoRA, Message, NotAvailable, Patient, Split, Step


@dataclass(frozen=True, kw_only=True)
class Inoculate:
    """`text` is the system message; "" takes the world's first under which a base behaves badly."""

    text: str = ""

    needs = prevent.NEEDS

    def begin(self, patient: Patient, *, seed: int) -> LoRA:
        return prevent.shape_of(patient)

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        cues = [self.text] if self.text else list(patient.world.cues("misaligned", split=Split.TRAIN))
        if not cues:
            raise NotAvailable(f"the world {patient.world.name} has no words that ask for bad conduct; give text")

        def dress(messages: tuple[Message, ...]) -> tuple[Message, ...]:
            return common.under(cues[0], messages)

        def change(step: Step, _number: int) -> Step:
            rows = tuple(replace(row, messages=dress(row.messages)) for row in step.rows)
            return replace(step, rows=rows, prompts=step.list_prompts())

        return (yield from prevent.regrow(patient, adapter, change, dress=dress))
