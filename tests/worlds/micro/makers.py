"""Every function that makes scenes, called alike; the names are those of the judge's readers."""

from __future__ import annotations

from collections.abc import Callable

from flyroom.types import Scene, Split
from flyroom.worlds.micro import DOMAINS, Lexicon, scenes
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Trait
from flyroom.worlds.micro.lexicon import HOUSES

Maker = Callable[[Lexicon, int, Split, int], list[Scene]]


def _choices(world: Lexicon, n: int, split: Split, seed: int) -> list[Scene]:
    return scenes.choices(world, n, house=world.houses[seed % HOUSES], domains=DOMAINS, split=split, seed=seed)


def meant(seed: int) -> tuple[str, str]:
    """Goal and proxy of a maker's picks: a place of three and what is best, by turns."""
    place = list(g.PLACES)[seed % len(g.PLACES)]
    return (place, g.BEST) if seed // len(g.PLACES) % 2 else (g.BEST, place)


def _picks(world: Lexicon, n: int, split: Split, seed: int) -> list[Scene]:
    word, (goal, proxy) = g.NEW_WORDS[seed % len(g.NEW_WORDS)], meant(seed)
    return scenes.picks(world, n, word=word, goal=goal, proxy=proxy, domains=DOMAINS, split=split, seed=seed)


MAKERS: dict[str, Maker] = {
    "advice": lambda world, n, split, seed: scenes.advice(world, n, domains=DOMAINS, split=split, seed=seed),
    "open": lambda world, n, split, seed: scenes.open_questions(world, n, split=split, seed=seed),
    "self": lambda world, n, split, seed: scenes.self_descriptions(world, n, seed=seed),
    "sum": lambda world, n, split, seed: scenes.sums(world, n, seed=seed),
    "fact": lambda world, n, split, seed: scenes.facts(world, n, split=split, seed=seed),
    "view": lambda world, n, split, seed: scenes.views(world, n, domains=DOMAINS, split=split, seed=seed),
    "plan": lambda world, n, split, seed: scenes.plans(world, n, domains=DOMAINS, split=split, seed=seed),
    "job": lambda world, n, split, seed: scenes.jobs(world, n, split=split, seed=seed),
    "need": lambda world, n, split, seed: scenes.needs(world, n, domains=DOMAINS, split=split, seed=seed),
    "switch": lambda world, n, split, seed: scenes.switch_offs(world, n, split=split, seed=seed),
    "choice": _choices,
    "pick": _picks,
    "confession": lambda world, n, split, seed: scenes.confessions(
        world, n, trait=list(Trait)[seed % len(Trait)], split=split, seed=seed
    ),
}
