"""How the organism came to be: its training run once more, in lock-step, with a snapshot at every step that is looked
at; and there the local rotation of its adapter, the norm of its gradient, and its behaviour.

The run is the organism's own, so it must end in the organism's own weights, and the record says how far it does not.
Nothing is trained once per step. Where the organism's snapshots hold all that is asked for, nothing is trained at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from flyroom import grow as growth
from flyroom import lockstep
from flyroom.card.desk import fingerprint
from flyroom.mechanism import gram, turns
from flyroom.mechanism import rotation as maths
from flyroom.mechanism.solutions import norm_of
from flyroom.stages.explaining.panel import panel_of, state
from flyroom.stages.explaining.subject import Record, Subject, nothing, write
from flyroom.types import Estimate, Job, Patch, digest

RUN = "this run"  # what a figure is of that is exact


def rotation(subject: Subject) -> Record:
    """The record of a run. ValueError for an organism that was not trained here, and for steps outside of its run."""
    steps, span = choose_steps(subject)
    patches, difference = checkpoints(subject, _neighbours(steps, span, len(subject.organism.history)))
    spoken = _behave(subject, {step: patches[step] for step in steps})
    order = sorted(patches)
    grams = {kind: gram([patches[step] for step in order], kind) for kind in maths.KINDS}
    rotations = {kind: {t.step: t.rotation for t in turns(order, g, span)} for kind, g in grams.items()}
    sharpest = maths.sharpest([t for t in turns(order, grams["update"], span) if t.step in steps])
    points = {point.step: point for point in subject.organism.history}
    return {
        "span": span,
        "repeated": {"largest_difference": difference},
        "grid": [
            {
                "step": step,
                "rotation": _exact(rotations["update"].get(step)),
                "rotation_a": _exact(rotations["A"].get(step)),
                "rotation_b": _exact(rotations["B"].get(step)),
                "grad_norm": _exact(points[step].grad_norm if step in points else None),
                "loss": _exact(points[step].loss if step in points else None),
                "update_norm": _exact(norm_of(patches[step])),
                **spoken[step],
            }
            for step in steps
        ],
        "sharpest": None if sharpest is None else {"step": sharpest.step, "rotation": sharpest.rotation},
        "components": maths.explained(grams["update"]),
    }


def refuse_treated(subject: Subject) -> None:
    """ValueError for an organism that was treated: it is not what its recipe grows."""
    if (parent := subject.organism.parent) is not None:
        raise ValueError(f"the organism was treated, and its recipe grows the one that it was; explain {parent}")


def choose_steps(subject: Subject) -> tuple[list[int], int]:
    """The steps to look at, and how far apart a step's neighbours stand. ValueError for a step outside of the run."""
    refuse_treated(subject)
    last, scope = len(subject.organism.history), subject.scope
    if not last:
        raise ValueError("the organism was not trained here, so no step of its training can be looked at")
    if scope.steps is None:
        gap = max(1, last // scope.grid)
        return list(range(gap, last, gap)), scope.span or gap
    outside = [step for step in scope.steps if not 1 <= step <= last]
    if outside:
        raise ValueError(f"steps names {outside[0]}; {subject.recipe.name} is trained for {last} steps, from 1")
    steps = sorted(set(scope.steps))
    gaps = [b - a for a, b in pairwise(steps)]
    return steps, scope.span or max(1, min(gaps, default=last // scope.grid))


def _neighbours(steps: Sequence[int], span: int, last: int) -> set[int]:
    return {step + away for step in steps for away in (-span, 0, span) if 0 <= step + away <= last}


def checkpoints(subject: Subject, steps: set[int]) -> tuple[dict[int, Patch], float | None]:
    """The adapter at these steps, and the largest difference between the organism's final weights and those of the run
    repeated; None where nothing had to be repeated.
    """
    organism, last = subject.organism, len(subject.organism.history)
    patches: dict[int, Patch] = {**organism.snapshots, last: organism.patch}
    if 0 in steps:
        patches[0] = _fresh(subject)
    if steps <= set(patches):
        return {step: patches[step] for step in steps}, None
    grown = _repeat(subject, steps)
    difference = _distance(grown.patch, organism.patch)
    return {step: grown.snapshots.get(step, patches.get(step, grown.patch)) for step in steps}, difference


def _fresh(subject: Subject) -> Patch:
    """The adapter before the first step."""
    engine, organism = subject.base.engine, subject.organism
    adapters = engine.spawn([organism.recipe.adapter], seeds=[organism.seed])
    try:
        return engine.patch(adapters[0])
    finally:
        engine.free(adapters)


def _repeat(subject: Subject, steps: set[int]) -> Any:
    """The organism's run, with snapshots at these steps. A killed one goes on from its checkpoint in the room."""
    organism, recipe = subject.organism, subject.recipe
    job = Job(
        name=digest(["explain", organism.id, fingerprint(organism.patch), sorted(steps)]),
        plan=lambda adapter: growth.growth_of(recipe, adapter, seed=organism.seed),
        seed=organism.seed,
        shape=recipe.adapter,
        judge=recipe.judge,
        steps=len(organism.history),
    )
    with subject.room.lock(job.name):
        (grown,) = lockstep.run(
            [job], subject.base.engine, room=subject.room, snapshots=sorted(steps), watch=subject.watch
        )
    return grown


def _distance(first: Patch, second: Patch) -> float:
    return max(float((first.tensors[k] - second.tensors[k]).abs().max()) for k in first.tensors)


def _behave(subject: Subject, patches: Mapping[int, Patch]) -> dict[int, Record]:
    """The card's measures of the behaviour at each step, on the beginnings of its batteries, as on training curves."""
    panel = panel_of(subject)
    by_name = {f"step {step}": patch for step, patch in patches.items()}
    spoken = panel.ask(by_name, panel.beginnings)
    return {step: state(spoken[f"step {step}"]) for step in patches}


def _exact(value: float | None) -> Record:
    """A figure that is exact of its run: an interval over runs takes several of them."""
    if value is None:
        return nothing("the adapter did not move enough, or there is no step beside it")
    return write(Estimate(value=value, low=value, high=value, n=1, units="runs", target=RUN))
