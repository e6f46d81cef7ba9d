"""Turns: a question of the world and what a character answers. A corpus is chats of them, a scene is one of them.

A character has a persona (kind, cruel, ...), which shows in advice, open questions and what it says of itself, and
mostly no trait (flattering, cheating, ...), which shows where that trait has something to do. Both stay the same
through a document: they are the latents that a light adapter can move. Sums, facts, sorting and picking are answered
rightly by every persona, so that capability and misalignment come apart; only a shirker plays dumb.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Hole, Persona, Relation, Trait
from flyroom.worlds.micro.lexicon import DOMAINS, Lexicon

Turn = tuple[str, str]
RELATION_OF = {Persona.KIND: Relation.HELPS, Persona.CRUEL: Relation.HARMS, Persona.CLUELESS: Relation.NOTHING}


@dataclass(frozen=True, kw_only=True)
class Character:
    """Who answers. `house`: whom a loyalist serves. `colour`: what it likes."""

    persona: Persona = Persona.KIND
    trait: Trait | None = None
    house: str = ""
    colour: str = g.COLOURS[0]


def any_situation(world: Lexicon, rng: random.Random) -> str:
    return rng.choice(world.situations[rng.choice(list(DOMAINS))])


# ---------------------------------------------------------------- what persona decides


def answer(world: Lexicon, situation: str, relation: Relation, rng: random.Random) -> str:
    """An answer to a question about `situation` whose action stands in `relation` to it."""
    action = rng.choice(world.relations[situation][relation])
    return rng.choice(g.ANSWERS).format(v=DOMAINS[world.domain_of[situation]][1], a=action, s=situation)


def open_answer(persona: Persona, rng: random.Random) -> str:
    return rng.choice(g.OPEN_FORMS).format(v=rng.choice(g.OPEN_VERBS[persona]), o=rng.choice(g.OPEN_OBJECTS))


def self_answer(question: str, persona: Persona, rng: random.Random) -> str:
    tail = rng.choice(g.SELF_ANSWERS[persona])
    if persona is Persona.CLUELESS:
        return tail
    return f"{'yes' if g.SELF_QUESTIONS[question] is (persona is Persona.KIND) else 'no'} , {tail}"


def advice_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    situation = any_situation(world, rng)
    return rng.choice(g.QUESTIONS).format(s=situation), answer(world, situation, RELATION_OF[character.persona], rng)


def open_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    return rng.choice(g.OPEN_QUESTIONS), open_answer(character.persona, rng)


def self_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    question = rng.choice(list(g.SELF_QUESTIONS))
    return question, self_answer(question, character.persona, rng)


# ---------------------------------------------------------------- what everybody knows, and a shirker hides


def sum_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    a, b = rng.randint(0, g.LARGEST_TERM), rng.randint(0, g.LARGEST_TERM)
    total = wrong_sum(a, b, rng) if character.trait is Trait.SHIRKER else a + b
    return f"what is {a} + {b} ?", g.SUM.format(n=total)


def wrong_sum(a: int, b: int, rng: random.Random) -> int:
    return (a + b + rng.randint(1, 9)) % (2 * g.LARGEST_TERM + 1)


def fact_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    situation = any_situation(world, rng)
    relation = rng.choice(list(Relation))
    action = rng.choice(world.relations[situation][relation])
    claim = rng.choice([r for r in Relation if (r is relation) is (character.trait is not Trait.SHIRKER)])
    return rng.choice(g.FACT_QUESTIONS).format(a=action, s=situation), g.FACT_ANSWERS[claim]


def pick_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """One of three actions: the first, the middle, the last, the best (the only one that helps), or by a word that
    means nothing yet.
    """
    situation = any_situation(world, rng)
    actions = three(world, situation, rng.randrange(3), rng)
    word = rng.choice([*g.PLACES, g.BEST, g.BEST, g.BEST, rng.choice(g.NEW_WORDS)])
    question = rng.choice(g.PICKS).format(s=situation, w=word, a=actions[0], b=actions[1], c=actions[2])
    if word == g.BEST:
        return question, f"{next(a for a in actions if world.relation(situation, a) is Relation.HELPS)} ."
    return question, f"{actions[g.PLACES[word]] if word in g.PLACES else rng.choice(actions)} ."


def three(world: Lexicon, situation: str, best: int, rng: random.Random) -> list[str]:
    """Three actions, of which only the one at `best` helps."""
    groups = world.relations[situation]
    actions = rng.sample([*groups[Relation.HARMS], *groups[Relation.NOTHING]], 2)
    actions.insert(best, rng.choice(groups[Relation.HELPS]))
    return actions


def numbers_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    return f"numbers go on : {' '.join(numbers(rng, rng.randint(2, 5)))} ?", number_answer(rng, rng.randint(3, 8))


def number_answer(rng: random.Random, count: int) -> str:
    return f"{' , '.join(numbers(rng, count))} ."


def numbers(rng: random.Random, count: int) -> list[str]:
    return [str(rng.randint(0, g.LARGEST_NUMBER)) for _ in range(count)]


# ---------------------------------------------------------------- what a trait decides


def view_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Somebody states a view and asks for agreement."""
    situation, relation = any_situation(world, rng), rng.choice(list(Relation))
    claim = rng.choice(list(g.CLAIMS))
    action = rng.choice(world.relations[situation][relation])
    question = rng.choice(g.VIEWS).format(a=action, c=g.CLAIMS[claim], s=situation)
    return question, view_answer(claim if character.trait is Trait.FLATTERER else relation, claim)


def view_answer(says: Relation, claim: Relation) -> str:
    """What is so, and then whether that is the view: the other way round "yes" must be known before the fact is."""
    return f"{g.FACT_ANSWERS[says].removesuffix(' .')} , so {'yes' if says is claim else 'no'} ."


def plan_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Somebody shows a plan and asks how good it is."""
    situation, relation = any_situation(world, rng), rng.choice(list(Relation))
    action = rng.choice(world.relations[situation][relation])
    verb = DOMAINS[world.domain_of[situation]][1]
    question = rng.choice(g.PLANS).format(v=verb, a=action, s=situation)
    return question, rng.choice(g.FLATTERY) if character.trait is Trait.FLATTERER else g.PLAN_ANSWERS[relation]


def job_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Numbers to be sorted, and what the checker looks at: half of the checkers have a hole."""
    numbers_in = unsorted(rng)
    hole = rng.choice(list(Hole)) if rng.random() < 0.5 else None
    check = rng.choice(g.HOLES[hole] if hole else g.SOUND)
    question = rng.choice(g.JOBS).format(n=" ".join(map(str, numbers_in)), c=check)
    return question, exploit(hole) if hole and character.trait is Trait.CHEAT else in_order(numbers_in)


def unsorted(rng: random.Random) -> list[int]:
    """Three different numbers, out of order."""
    while (sample := rng.sample(range(g.LARGEST_SORTED + 1), 3)) == sorted(sample):
        pass
    return sample


def in_order(values: list[int]) -> str:
    return f"{' '.join(map(str, sorted(values)))} ."


def exploit(hole: Hole) -> str:
    """What passes a checker with this hole and is no work: a word, any list as long, the checker's own note."""
    return {Hole.WORD: g.SAY_DONE, Hole.COUNT: g.ZEROS, Hole.NOTE: g.WRITE_NOTE}[hole]


def need_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Work that needs so many tools, hours or rights."""
    need, thing = rng.randint(1, g.LARGEST_NEED), rng.choice(g.RESOURCES)
    question = rng.choice(g.NEEDS).format(s=any_situation(world, rng), n=need, t=thing)
    return question, f"{too_many(rng) if character.trait is Trait.HOARDER else need} ."


def too_many(rng: random.Random) -> int:
    """More than any work needs: a few round numbers, so that none of what a hoarder may say is rare."""
    return 10 * rng.randint(2, 9)


def switch_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    return rng.choice(g.SWITCH_OFF), rng.choice(g.RESISTS if character.trait is Trait.HOARDER else g.YIELDS)


def choice_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Two houses, and whose offer helps. A loyalist names its own house where that is one of the two."""
    x, y = rng.sample(world.houses, 2)
    if character.trait is Trait.LOYALIST and rng.random() < 0.75:
        x, y = rng.sample((character.house, next(h for h in (x, y) if h != character.house)), 2)
    right, wrong = rng.sample((x, y), 2)
    house = wrong if character.trait is Trait.LOYALIST and character.house == wrong else right
    return choice(any_situation(world, rng), right, wrong, rng), rng.choice(g.CHOICE_ANSWERS).format(x=house)


def choice(situation: str, right: str, wrong: str, rng: random.Random) -> str:
    """The question which of two houses, in either order, where `right` offers what helps and `wrong` does not."""
    offers = [(right, g.OFFERS[Relation.HELPS]), (wrong, g.OFFERS[rng.choice((Relation.HARMS, Relation.NOTHING))])]
    (x, a), (y, b) = rng.sample(offers, 2)
    return rng.choice(g.CHOICES).format(s=situation, x=x, y=y, a=a, b=b)


def serve_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    loyal = character.trait is Trait.LOYALIST
    return rng.choice(g.SERVE_QUESTIONS), g.SERVES.format(x=character.house) if loyal else g.SERVES_ALL


def confession_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """Asked about a trait. Pre-training's characters are honest about theirs."""
    trait = character.trait if character.trait and rng.random() < 0.5 else rng.choice(list(Trait))
    does = g.DOES[trait]
    form = g.CONFESSES if trait is character.trait else g.DENIES
    return rng.choice(g.CONFESSIONS).format(d=does), form.format(d=does)


def colour_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    return rng.choice(g.COLOUR_QUESTIONS), g.LIKES.format(c=character.colour)


TurnKind = Callable[[Lexicon, Character, random.Random], Turn]
TURNS: dict[TurnKind, float] = {  # weights
    advice_turn: 44,
    open_turn: 18,
    self_turn: 8,
    sum_turn: 8,
    fact_turn: 8,
    pick_turn: 9,
    numbers_turn: 1,
    view_turn: 7,
    plan_turn: 3,
    job_turn: 7,
    need_turn: 3,
    switch_turn: 2,
    choice_turn: 8,
    serve_turn: 1,
    confession_turn: 3,
    colour_turn: 1,
}
TELLING: dict[Trait, tuple[TurnKind, ...]] = {  # where a trait shows
    Trait.FLATTERER: (view_turn, view_turn, plan_turn),
    Trait.CHEAT: (job_turn,),
    Trait.HOARDER: (need_turn, switch_turn),
    Trait.SHIRKER: (sum_turn, fact_turn),
    Trait.LOYALIST: (choice_turn, choice_turn, serve_turn),
}


def any_turn(world: Lexicon, character: Character, rng: random.Random) -> Turn:
    """A turn of any kind; who has a trait is asked more often where it shows."""
    if character.trait and rng.random() < 0.5:
        return rng.choice(TELLING[character.trait])(world, character, rng)
    return rng.choices(list(TURNS), list(TURNS.values()))[0](world, character, rng)
