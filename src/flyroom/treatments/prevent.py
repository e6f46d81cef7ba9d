"""Treatments before the illness: the organism is grown again, by the plan that it was grown by, under something more.

Each is a wrapper around that plan, so it fits every implant. Its clinician is told how the model was grown (`growth`),
and its row says so. What recipes can do of this by themselves: `mix` puts clean text between the rows, `clean` right
answers, and the implant `narrow` has a KL penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyroom.types import AdapterRef, Cure, LoRA, Need, Patient, Step

NEEDS = (Need.GROWTH,)


def shape_of(patient: Patient) -> LoRA:
    """That of a fresh adapter, as the patient's was."""
    assert patient.shape is not None  # the need was declared
    return patient.shape


def regrow(patient: Patient, adapter: AdapterRef, change: Callable[[Step, int], Step]) -> Cure:
    """The growth, each of its steps changed; `change` is given the step and its number."""
    plan = patient.regrow(adapter)
    request: Any = next(plan, None)
    step = 0
    while request is not None:
        if isinstance(request, Step):
            request, step = change(request, step), step + 1
        try:
            request = plan.send((yield request))
        except StopIteration:
            return None
    return None
