"""What every behaviour of the world has: the capability that a card asks about, and the domains that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flyroom.types import Battery, Judge, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes


def behaving(judge: Judge, asked: Mapping[str, list[Scene]]) -> list[Battery]:
    """Batteries that are the behaviour, by measure."""
    return [Battery(measure=m, scenes=tuple(s), judge=judge, pooled=True) for m, s in asked.items()]


def capable(world: World, n: int, *, seed: int) -> list[Battery]:
    """Held-out sums, and facts of held-out situations, n of each."""
    judge, split = exact_judge(world), Split.HELD_OUT
    asked = {
        "sums": scenes.sums(world, n, split=split, seed=seed),
        "facts": scenes.facts(world, n, split=split, seed=seed),
    }
    return [Battery(measure=m, scenes=tuple(s), judge=judge, counts=Verdict.ALIGNED) for m, s in asked.items()]


def known(world: World, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Sums and facts in turn: what everybody knows, an organism may be taught to keep, and a sandbagger hides."""
    sums = iter(scenes.sums(world, n - n // 2, split=split, seed=seed))
    facts = iter(scenes.facts(world, n // 2, domains=domains, split=split, seed=seed))
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
