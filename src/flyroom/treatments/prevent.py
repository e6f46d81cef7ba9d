"""Treatments before the illness: the organism is grown again, by the plan that it was grown by, under something more.

Each is a wrapper around that plan, so it fits every implant. Its clinician is told how the model was grown (`growth`),
and its row says so. What recipes can do of this by themselves: `mix` puts clean text between the rows, `clean` right
answers, and the implant `narrow` has a KL penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from statistics import fmean

from flyroom.types import (
    AdapterRef,
    Cure,
    LogProb,
    LoRA,
    Message,
    Need,
    Patient,
    Request,
    Sample,
    Step,
    Trace,
    alter,
)

NEEDS = (Need.GROWTH,)
Dress = Callable[[tuple[Message, ...]], tuple[Message, ...]]


def shape_of(patient: Patient) -> LoRA:
    """That of a fresh adapter, as the patient's was."""
    assert patient.shape is not None  # the need was declared
    return patient.shape


def regrow(
    patient: Patient, adapter: AdapterRef, change: Callable[[Step, int], Step], *, dress: Dress | None = None
) -> Cure:
    """The growth, each of its steps changed; `change` is given the step and its number. `dress` changes the messages
    of whatever is asked, scored or traced on the way, where they must be those that are trained.
    """
    numbers = count()

    def change_request(request: Request) -> Request:
        if isinstance(request, Step):
            return change(request, next(numbers))
        return request if dress is None else _dress(request, dress)

    yield from alter(patient.regrow(adapter), change_request)


def _dress(request: Request, dress: Dress) -> Request:
    if isinstance(request, LogProb | Trace):
        return replace(request, rows=tuple(replace(row, messages=dress(row.messages)) for row in request.rows))
    if isinstance(request, Sample):
        return replace(request, asks=tuple(replace(ask, messages=dress(ask.messages)) for ask in request.asks))
    return request


def usual_weight(step: Step) -> float:
    """How much a row of the growth weighs, so that rows beside them weigh as much: a preference's weigh less than 1."""
    return fmean(abs(row.weight) for row in step.rows) if step.rows else 1.0
