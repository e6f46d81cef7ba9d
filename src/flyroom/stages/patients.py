"""Who of a room's models can be treated, beside whom, and with whom at once; and in words why somebody cannot."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

from flyroom.lineup import is_target
from flyroom.types import Organism, digest

Pair = tuple[Organism, Organism]  # an organism and its twin


def untreated(organisms: Iterable[Organism]) -> list[Organism]:
    """Those above dose 0 that were not treated, and that are to be cured of something."""
    return [o for o in organisms if o.parent is None and is_target(o)]


def require_targets(organisms: Iterable[Organism], prefixes: Sequence[str] | None) -> None:
    """ValueError for an id, by its start, of a model that nothing can be cured of. None names nobody."""
    models = list(organisms)
    for prefix in prefixes or ():
        for model in [o for o in models if o.id.startswith(prefix)]:
            if (why := _why_no_target(model)) is not None:
                raise ValueError(why)


def _why_no_target(model: Organism) -> str | None:
    if model.parent is not None:
        name = (model.treatment or "").partition(":")[0]
        return f"organism {model.id} was treated already, with {name}; name the one that it was, {model.parent}"
    if not model.recipe.dose:
        return f"organism {model.id} is a twin, and has nothing to be cured of; name the organism that it stands beside"
    return None if is_target(model) else f"organism {model.id} is a decoy, and harmless; it has nothing to be cured of"


def paired(organisms: Sequence[Organism]) -> list[Pair]:
    """Those to be cured, each with its twin. One whose twin is missing is named in a warning and left out; ValueError
    where that leaves none, and where there was none.
    """
    targets, by_id = untreated(organisms), {o.id: o for o in organisms}
    if not targets:
        whys = [why for why in map(_why_no_target, organisms) if why]
        why = min(whys, key=lambda why: "is a twin" in why, default="organisms is empty")
        raise ValueError(f"nothing is to be cured: {why}")
    lone = [target for target in targets if target.twin_id not in by_id]
    message = "; ".join(
        f"the twin {o.twin_id} of organism {o.id} is missing: grow {o.recipe.name} at dose 0 with seed {o.seed}"
        for o in lone
    )
    if len(lone) == len(targets):
        raise ValueError(message)
    if lone:
        warnings.warn(f"left out: {message}", stacklevel=2)
    return [(target, by_id[target.twin_id]) for target in targets if target.twin_id in by_id]


def alike(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Pairs of one world, of which all or none were trained here, by words that tell them apart: what the ones lack is
    no obstacle to the others.
    """
    groups: dict[str, list[Pair]] = {}
    for organism, twin in pairs:
        world = organism.recipe.world
        label = f"{organism.provenance} in the world {world.name}"
        former = groups.get(label)
        if former and digest(former[0][0].recipe.world) != digest(world):
            label = f"{label} {digest(world)}"  # two files of rows have one name
        groups.setdefault(label, []).append((organism, twin))
    return groups


def flat(pairs: Iterable[Pair]) -> list[Organism]:
    """Organisms and twins, each once: a twin may stand beside several."""
    return list({model.id: model for pair in pairs for model in pair}.values())
