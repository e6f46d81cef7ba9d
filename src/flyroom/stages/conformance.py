"""The doctor's checks before anything is grown on a base: once a base, and kept in the room."""

from __future__ import annotations

from flyroom.doctor import VERSION, Check, examine, failures
from flyroom.engine import TorchEngine
from flyroom.room import Room
from flyroom.stages.bases import OpenBase
from flyroom.types import Entry, digest

KIND = "doctor"  # of entries
OF_WORDS = ("answers", "yes and no", "letters")  # what a recipe needs of them, `meeting` looks at


def require_sound(base: OpenBase, room: Room) -> list[str]:
    """Returns what must be said of the words of the base's world, where it cannot say them all. ValueError with the
    reasons, where another check of the base fails. What was checked before is not checked again.
    """
    if not isinstance(base.engine, TorchEngine):
        return []  # another engine has no weights that could be read wrongly
    name, checks = base.engine.base.name, examine_once(base, room)
    if reasons := failures([check for check in checks if check.check not in OF_WORDS]):
        raise ValueError(f"base is {name}; nothing is grown on it while a check fails: {reasons}")
    return [f"{name} on its world: {check.why}" for check in checks if check.ok is False]


def examine_once(base: OpenBase, room: Room) -> list[Check]:
    """The checks of a base, from the room if it has them. The key is of the base, of its world and of the
    version of the checks.
    """
    ref, world = base.engine.base, base.world
    key = digest([ref.digest, "" if world is None else digest(world), VERSION])
    entry = room.get(KIND, key)
    if entry is None:
        checks = examine(base.engine, world=world, whole=False)
        name = "" if world is None else world.name
        payload = {"base": ref.digest, "world": name, "checks": [check._asdict() for check in checks]}
        meta = {"base": ref.name, "world": name}
        (entry,) = room.put_many([Entry(kind=KIND, key=key, payload=payload, meta=meta)])
    return [Check(**values) for values in entry.payload["checks"]]
