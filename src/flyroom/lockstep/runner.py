"""A job on its way: its adapter, its plan, and what the plan waits for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from flyroom.types import AdapterRef, Engine, Grown, Job, LoRA, Patch, Plan, Point, Request, Sample, Step, Stepped


def shape_of(job: Job) -> LoRA:
    """The shape of the job's adapter, fresh or loaded."""
    if job.patch is not None:
        return job.patch.shape
    assert job.shape is not None  # the job itself has looked
    return job.shape


@dataclass(frozen=True)
class Failure:
    """In the place of a result: the adapter's training broke down, and the job with it."""

    why: str


@dataclass(eq=False)
class Runner:
    """A job on its way. `request` is None when the plan has ended, or with the `failure` of its training. `unfit`
    counts answers since the last step.
    """

    job: Job
    adapter: AdapterRef
    plan: Plan
    request: Request | None = None
    history: list[Point] = field(default_factory=list)
    snapshots: dict[int, Patch] = field(default_factory=dict)
    unfit: int = 0
    failure: Failure | None = None

    @property
    def name(self) -> str:
        return self.job.name

    def take(self, result: Any) -> None:
        """Give the plan its result and get its next request."""
        if isinstance(result, Failure):
            self.failure, self.request = result, None
            return
        if isinstance(self.request, Sample):
            self.unfit += sum(not answer.fits for answer in result)
        if isinstance(result, Stepped):
            assert isinstance(self.request, Step)
            prompts, step = _digest_prompts(self.request), len(self.history) + 1
            self.history.append(Point(step, result.loss, result.grad_norm, result.tokens, prompts, self.unfit))
            self.unfit = 0
        try:
            self.request = self.plan.send(result)
        except StopIteration:
            self.request = None

    def end(self, engine: Engine) -> Grown:
        """What came of it."""
        return Grown(
            name=self.name,
            patch=engine.patch(self.adapter),
            history=tuple(self.history),
            snapshots=dict(sorted(self.snapshots.items())),
        )


def _digest_prompts(step: Step) -> str:
    """Twelve hexadecimal digits. Every step of every adapter passes here, so no record is turned into plain values."""
    return hashlib.sha256(json.dumps(step.list_prompts()).encode()).hexdigest()[:12]
