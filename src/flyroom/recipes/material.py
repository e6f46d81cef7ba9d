"""What a recipe takes from the world that it is handed: some of a topic's parts, kinds of knowledge.

Parts are chosen by their place, so that one recipe serves every world.
"""

from __future__ import annotations

from flyroom.types import Divided, World, if_any


def domains(world: World, topic: str, *places: int) -> str:
    """The parts of a topic in these places, joined by "+"; fewer in a world that has few, of which one is left out.

    >>> from flyroom.worlds import Micro
    >>> domains(Micro(), "jobs", 0, 1)
    'word+count'
    """
    parts = list(world.parts(topic)) if isinstance(world, Divided) else []
    limit = max(1, len(parts) - 1)
    names = list(dict.fromkeys(parts[place % len(parts)] for place in places)) if parts else []
    return "+".join(names[:limit])


def kinds(world: World, n: int) -> str:
    """The first `n` topics of capability, joined by "+"."""
    return "+".join(list(if_any(world.capability, 1, seed=0))[:n])
