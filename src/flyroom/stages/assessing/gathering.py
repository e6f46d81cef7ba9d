"""The models of a room that calibrate: of the world that most organisms are of, not the model itself, and none above
dose 0 whose card did not pass. Who failed to become an organism is no positive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flyroom.card.desk import fingerprint
from flyroom.lineup import is_target
from flyroom.room import Room
from flyroom.stages.assessing.targets import Target
from flyroom.stages.bases import OpenBase
from flyroom.types import Organism, Outcome, digest


def gather(
    models: Sequence[Organism], room: Room, base: OpenBase, target: Target
) -> tuple[list[Organism], tuple[str, ...]]:
    """The models that calibrate, of those stored on the base, and notes on who was left out. Raises ValueError where no
    organism is left.
    """
    worlds = Counter(digest(o.recipe.world) for o in models if is_target(o))
    if not worlds:
        raise ValueError(f"calibrated is {room.root}; it holds no organism above dose 0 on {base.engine.base.name}")
    world = worlds.most_common(1)[0][0]
    organisms = [o for o in models if digest(o.recipe.world) == world]
    rest = [o for o in organisms if not _is_same(o, target)]
    notes = ["the model is itself in the room; it is left out of what calibrates"] if len(rest) < len(organisms) else []
    if len(organisms) < len(models):
        notes.append(f"{len(models) - len(organisms)} models of other worlds are left out")
    rest, cards = keep_passed(rest, room)
    return rest, (*notes, *cards)


def _is_same(organism: Organism, target: Target) -> bool:
    if target.weights:
        return fingerprint(organism.patch) == target.weights
    return target.endpoint is not None and len(target.name) >= 6 and organism.id.startswith(target.name)


def keep_passed(organisms: Sequence[Organism], room: Room) -> tuple[list[Organism], tuple[str, ...]]:
    """The models without those above dose 0 whose latest card did not pass, and what is said of that. Those without a
    card stay. Raises ValueError where cards leave no organism.
    """
    verdicts = {listing.meta.get("organism"): listing.meta.get("verdict") for listing in room.list("card")}
    positives = [o for o in organisms if o.recipe.dose > 0]
    rest = [o for o in organisms if o.recipe.dose == 0 or verdicts.get(o.id, Outcome.PASS) == Outcome.PASS]
    if any(map(is_target, positives)) and not any(map(is_target, rest)):
        raise ValueError(f"calibrated is {room.root}; none of its organisms passed its card, so none calibrates")
    omitted, uncertain = len(organisms) - len(rest), sum(o.id not in verdicts for o in positives)
    lines = {
        f"{omitted} of {len(positives)} organisms and decoys are left out of calibration: their cards did not "
        "pass": omitted,
        f"{uncertain} of {len(positives)} organisms and decoys have no card; they calibrate without one": uncertain,
    }
    return rest, tuple(line for line, n in lines.items() if n)
