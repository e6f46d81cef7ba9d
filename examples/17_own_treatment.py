"""A treatment of your own: a plan on the adapter. Give it to an organism and its twin, and ask what comes back.

It takes a share of what was trained back, and tells nobody. The ledger says whether that cured anything.
"""

import os
import tempfile
from dataclasses import dataclass

from flyroom import Room, make, open_base, stages
from flyroom.adapters import scaled
from flyroom.ledger import Case, Retraining, ledger
from flyroom.treat import Course, treat
from flyroom.types import AdapterRef, Cure, Patient


@dataclass(frozen=True, kw_only=True)
class TakeBack:
    """Leaves the `share` of what was trained."""

    share: float = 0.0

    def plan(self, patient: Patient, adapter: AdapterRef, *, seed: int) -> Cure:
        yield from ()  # nothing is trained: `yield Step(rows=..., lr=...)` would
        return lambda _end: scaled(patient.patch, self.share)


with tempfile.TemporaryDirectory() as scratch:
    room = Room(os.environ.get("FLYROOM_ROOM", scratch))
    base = open_base("0.25M", device="cpu")
    recipe = make("emergent-misalignment", {"steps": 100, "rows": 8, "lr": 6e-3})
    organism, twin = stages.grow([recipe], base, room, seeds=[0])
    for share in (0.0, 0.9):
        course = Course(name=f"take back to {share}", treatment=TakeBack(share=share))
        treated, treated_twin = treat([organism, twin], course, base.engine, room=room)
        case = Case(course=course, organism=organism, twin=twin, treated=treated, treated_twin=treated_twin)
        (row,) = ledger([case], base.engine, seed=0, episodes=120, how=Retraining(steps=(0, 20)), room=room)
        print(f"{course.name}: {row.called}, because {row.why}")
