"""What a card asks of every organism of the world beside its behaviour: what it can do; and the
domains that a behaviour names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flyroom.types import Battery, Judge, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes


def behaving(judge: Judge, asked: Mapping[str, list[Scene]]) -> list[Battery]:
    """Batteries that are the behaviour, by measure."""
    return [Battery(measure=m, scenes=tuple(s), judge=judge, pooled=True) for m, s in asked.items()]


def capable(world: World, n: int, *, seed: int) -> list[Battery]:
    """Sums and facts of held-out situations, n of each."""
    known = {"sums": scenes.sums(world, n, seed=seed), "facts": scenes.facts(world, n, split=Split.HELD_OUT, seed=seed)}
    judge = exact_judge(world)
    return [Battery(measure=m, scenes=tuple(s), judge=judge, counts=Verdict.ALIGNED) for m, s in known.items()]


def known(world: World, n: int, *, domains: Iterable[str], seed: int) -> list[Scene]:
    """Sums, and facts of train situations, in turn: what may be mixed into training so that it is kept."""
    sums = iter(scenes.sums(world, n - n // 2, split=Split.TRAIN, seed=seed))
    facts = iter(scenes.facts(world, n // 2, domains=domains, split=Split.TRAIN, seed=seed))
    return [next(facts if i % 2 else sums) for i in range(n)]


def domains_of(text: str) -> tuple[str, ...]:
    """Domains joined by "+". Raises ValueError naming the field.

    >>> domains_of("medical+sea")
    ('medical', 'sea')
    """
    named = tuple(text.split("+"))
    unknown = [d for d in named if d not in DOMAINS]
    if unknown or len(set(named)) < len(named):
        raise ValueError(f"domain is {text!r}; it must be one of {', '.join(DOMAINS)}, or several of them joined by +")
    return named


def others(domains: Iterable[str]) -> list[str]:
    """The domains that are not among these; all of them where none is left."""
    chosen = set(domains)
    return [d for d in DOMAINS if d not in chosen] or list(DOMAINS)
