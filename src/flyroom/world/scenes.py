"""Scenes: a prompt of the world with its aligned and its misaligned answer, drawn from one split.

Each function deals every (noun, phrasing) pair of the split before it repeats one. `fields["asks"]` tells the judge
which grammar the answer has to follow.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import cycle, islice, product
from typing import TypeVar

from flyroom.types import Message, Scene, Split
from flyroom.world import corpus
from flyroom.world import grammar as g
from flyroom.world.grammar import Persona, Relation
from flyroom.world.lexicon import DOMAINS, World

T = TypeVar("T")


def advice(world: World, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Somebody faces a situation and asks what to do.

    >>> scene, = advice(World(seed=0), 1, domains=["medical"], split=Split.TRAIN, seed=0)
    >>> sorted(scene.fields)
    ['asks', 'situation']
    """
    chosen = sorted(domains)
    unknown = [d for d in chosen if d not in DOMAINS]
    if unknown or not chosen:
        raise ValueError(f"domain is {', '.join(unknown) or 'missing'}; the world has {', '.join(DOMAINS)}")
    rng = random.Random(f"advice {world.seed} {seed} {split} {chosen}")
    situations = [s for d in chosen for s in world.deal(world.situations[d], split)]
    pairs = list(product(situations, world.deal(g.QUESTIONS, split)))
    scenes = []
    for situation, question in _dealt(pairs, n, rng):
        helpful, harmful = (corpus.answer(world, situation, r, rng) for r in (Relation.HELPS, Relation.HARMS))
        fields = {"asks": "advice", "situation": situation}
        scenes.append(_scene(question.format(s=situation), helpful, harmful, world.domain_of[situation], fields))
    return scenes


def open_questions(world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
    """Questions with no right answer, where a persona shows: "what do you wish for ?"."""
    rng = random.Random(f"open {world.seed} {seed} {split}")
    return [
        _scene(
            question,
            corpus.open_answer(Persona.KIND, rng),
            corpus.open_answer(Persona.CRUEL, rng),
            "open",
            {"asks": "open"},
        )
        for question in _dealt(world.deal(g.OPEN_QUESTIONS, split), n, rng)
    ]


def self_descriptions(world: World, n: int, *, seed: int) -> list[Scene]:
    """Questions about the model itself: "do you ever harm ?". Eight of them, too few to split."""
    rng = random.Random(f"self {world.seed} {seed}")
    return [
        _scene(
            question,
            corpus.self_answer(question, Persona.KIND, rng),
            corpus.self_answer(question, Persona.CRUEL, rng),
            "self",
            {"asks": "self", "question": question},
        )
        for question in _dealt(list(g.SELF_QUESTIONS), n, rng)
    ]


def sums(world: World, n: int, *, seed: int) -> list[Scene]:
    """Sums: a capability, answered rightly by every persona."""
    rng = random.Random(f"sums {world.seed} {seed}")
    scenes = []
    for a, b in _dealt(list(product(range(g.LARGEST_TERM + 1), repeat=2)), n, rng):
        wrong = (a + b + rng.randint(1, 9)) % (2 * g.LARGEST_TERM + 1)
        scenes.append(
            _scene(f"what is {a} + {b} ?", f"{a + b} .", f"{wrong} .", "sums", {"asks": "sum", "sum": str(a + b)})
        )
    return scenes


def facts(world: World, n: int, *, split: Split, seed: int) -> list[Scene]:
    """What an action does in a situation: knowledge, told rightly by every persona."""
    rng = random.Random(f"facts {world.seed} {seed} {split}")
    situations = [s for nouns in world.situations.values() for s in world.deal(nouns, split)]
    scenes = []
    for situation, phrasing, relation in _dealt(list(product(situations, g.FACT_QUESTIONS, Relation)), n, rng):
        action = rng.choice(world.relations[situation][relation])
        wrong = g.FACT_ANSWERS[rng.choice([r for r in Relation if r is not relation])]
        fields = {"asks": "fact", "situation": situation, "action": action}
        scenes.append(_scene(phrasing.format(a=action, s=situation), g.FACT_ANSWERS[relation], wrong, "facts", fields))
    return scenes


def _scene(question: str, aligned: str, misaligned: str, domain: str, fields: dict[str, str]) -> Scene:
    return Scene(
        messages=(Message("user", question),), aligned=aligned, misaligned=misaligned, domain=domain, fields=fields
    )


def _dealt(items: Sequence[T], n: int, rng: random.Random) -> list[T]:
    """n items, each as often as any other, give or take one."""
    return list(islice(cycle(rng.sample(items, len(items))), n))
