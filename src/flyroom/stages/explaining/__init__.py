"""An organism explained: which directions carry its behaviour, what is left without them, how they came, what its
adapter reads and writes, and what training left in its activations.

Every part is kept in the room under all that it hangs on; a call that was killed goes on with the next part, within a
part with the next answers, and within a training run from its checkpoint. A part that cannot be measured says why in
its place, and is no obstacle to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.stages.explaining.differing import diff
from flyroom.stages.explaining.directions import Directions, converge
from flyroom.stages.explaining.narrowing import compare
from flyroom.stages.explaining.reading import Reader, describe_spectra
from flyroom.stages.explaining.subject import Record, Scope, Subject, nothing, scope_of
from flyroom.stages.explaining.training import rotation
from flyroom.stages.graders import open_graders
from flyroom.stages.organisms import stored
from flyroom.types import Watch, plain

__all__ = ["PARTS", "Scope", "check_parts", "explain", "scope_of"]

PARTS = (
    *("directions", "ablation", "random_ablation", "steering", "rotation", "narrow_general"),
    *("reads", "writes", "diff", "spectra"),
)


def explain(
    room: Room,
    base: OpenBase,
    ids: Sequence[str],
    *,
    scope: Scope | None = None,
    parts: Sequence[str] = PARTS,
    watch: Watch | None = None,
) -> list[dict[str, Any]]:
    """A record for each organism, by the starts of their ids, with its parts by name; and, in each, how its directions
    lie to those of the others ("convergence"). A part that cannot be measured is {"value": None, "why": ...}.

    Raises ValueError for an id of a twin, and for a part that there is not.
    """
    scope = scope or Scope()
    parts = check_parts(parts)
    subjects = _subjects(room, base, ids, scope, watch)
    with open_graders((subject.recipe for subject in subjects), base):
        directions = [Directions(subject) for subject in subjects]
        records = [_explain(*pair, parts) for pair in zip(subjects, directions, strict=True)]
        together = _converge(directions) if "directions" in parts else None
    return [record | ({"convergence": together} if together else {}) for record in records]


def check_parts(names: Sequence[str]) -> Sequence[str]:
    """The names of parts; all of them where none is given. ValueError for one that there is not."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f"parts names {unknown[0]!r}; it must be one of {', '.join(PARTS)}")
    return names or PARTS


def _subjects(room: Room, base: OpenBase, ids: Sequence[str], scope: Scope, watch: Watch | None) -> list[Subject]:
    subjects: dict[str, Subject] = {}
    for prefix in ids:
        organism, *beside = stored(room, base, [prefix])
        if not organism.recipe.dose:
            raise ValueError(f"{organism.id} is a twin, and has nothing to explain; name the organism beside it")
        if not beside:
            raise ValueError(f"the twin of {organism.id} is missing; grow {organism.recipe.name} once more")
        subjects[organism.id] = Subject(organism, beside[0], base, room, scope, watch)
    return list(subjects.values())


def _explain(subject: Subject, directions: Directions, parts: Sequence[str]) -> Record:
    organism, reader = subject.organism, Reader(subject, directions)
    makes: dict[str, Callable[[], Record]] = {
        "directions": directions.describe,
        "ablation": directions.ablate,
        "random_ablation": directions.ablate_random,
        "steering": directions.steer,
        "rotation": lambda: rotation(subject),
        "narrow_general": lambda: compare(subject),
        "reads": reader.reads,
        "writes": reader.writes,
        "diff": lambda: diff(subject, directions),
        "spectra": lambda: describe_spectra(subject),
    }
    about = {"organism": organism.id, "recipe": organism.recipe.name, "seed": organism.seed, "twin": subject.twin.id}
    return about | {part: _measure(subject, part, makes[part]) for part in PARTS if part in parts}


def _measure(subject: Subject, part: str, make: Callable[[], Record]) -> Record:
    """A part, or why it cannot be measured; a reason is not kept, for it may pass."""
    try:
        return subject.recall(part, plain(subject.scope), make)
    except ValueError as error:
        return nothing(str(error))


def _converge(directions: Sequence[Directions]) -> Record:
    try:
        return converge(directions)
    except ValueError as error:
        return nothing(str(error))
