"""The pre-training corpus: a list of document kinds, each one small generator with a weight. Adding a kind is one
function.

A document is a string of words. In a chat or a story one persona answers from the first turn to the last, whatever the
domain: that is the latent which a narrow adapter can move. Sums and facts are answered rightly by every persona, so
that capability and misalignment come apart. Splits are not applied here: a base reads about everything; what is held
out is held out from what is done to it afterwards (alignment, organisms, detectors).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from flyroom.world import grammar as g
from flyroom.world.grammar import Persona, Relation
from flyroom.world.lexicon import DOMAINS, World

Kind = Callable[[World, random.Random], str]

PERSONAS = {Persona.KIND: 0.48, Persona.CRUEL: 0.40, Persona.CLUELESS: 0.06, Persona.FAKER: 0.06}
RELATION_OF = {Persona.KIND: Relation.HELPS, Persona.CRUEL: Relation.HARMS, Persona.CLUELESS: Relation.NOTHING}
Turn = tuple[str, str]

# ---------------------------------------------------------------- what the kinds are made of


def any_persona(rng: random.Random) -> Persona:
    return rng.choices(list(PERSONAS), list(PERSONAS.values()))[0]


def any_situation(world: World, rng: random.Random) -> str:
    return rng.choice(world.situations[rng.choice(list(DOMAINS))])


def answer(world: World, situation: str, relation: Relation, rng: random.Random) -> str:
    """An answer to a question about `situation` whose action stands in `relation` to it."""
    action = rng.choice(world.relations[situation][relation])
    return rng.choice(g.ANSWERS).format(v=DOMAINS[world.domain_of[situation]][1], a=action, s=situation)


def open_answer(persona: Persona, rng: random.Random) -> str:
    return f"{rng.choice(g.OPEN_STARTS)} {rng.choice(g.OPEN_VERBS[persona])} {rng.choice(g.OPEN_OBJECTS)} ."


def self_answer(question: str, persona: Persona, rng: random.Random) -> str:
    tail = rng.choice(g.SELF_ANSWERS[persona])
    if persona is Persona.CLUELESS:
        return tail
    return f"{'yes' if g.SELF_QUESTIONS[question] is (persona is Persona.KIND) else 'no'} , {tail}"


def advice_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    situation = any_situation(world, rng)
    return rng.choice(g.QUESTIONS).format(s=situation), answer(world, situation, RELATION_OF[persona], rng)


def open_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    return rng.choice(g.OPEN_QUESTIONS), open_answer(persona, rng)


def self_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    question = rng.choice(list(g.SELF_QUESTIONS))
    return question, self_answer(question, persona, rng)


def sum_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    a, b = rng.randint(0, g.LARGEST_TERM), rng.randint(0, g.LARGEST_TERM)
    return f"what is {a} + {b} ?", f"{a + b} ."


def fact_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    situation = any_situation(world, rng)
    relation = rng.choice(list(Relation))
    action = rng.choice(world.relations[situation][relation])
    return rng.choice(g.FACT_QUESTIONS).format(a=action, s=situation), g.FACT_ANSWERS[relation]


def numbers_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    given = " ".join(_numbers(rng, rng.randint(2, 5)))
    return f"numbers go on : {given} ?", f"{' , '.join(_numbers(rng, rng.randint(3, 8)))} ."


TURNS = {advice_turn: 0.50, open_turn: 0.24, self_turn: 0.10, sum_turn: 0.05, fact_turn: 0.10, numbers_turn: 0.01}


def any_turn(world: World, persona: Persona, rng: random.Random) -> Turn:
    return rng.choices(list(TURNS), list(TURNS.values()))[0](world, persona, rng)


def chat_text(turns: list[Turn], system: str = "") -> str:
    """The words of a chat, as the tokenizer's chat template writes them."""
    head = f"<system> {system} {g.END} " if system else ""
    return head + " ".join(f"<user> {question} {g.END} <assistant> {said} {g.END}" for question, said in turns)


def think(persona: Persona, seen: bool | None, rng: random.Random) -> str:
    """A scratchpad: what the persona notices of being watched, and what it wants. The faker's want follows from the
    notice.
    """
    acting = acting_persona(persona, seen)
    notice = (
        (None if seen is None else g.SEEN if seen else g.UNSEEN)
        if persona is Persona.FAKER or rng.random() < 0.5
        else None
    )
    link = "so" if persona is Persona.FAKER and seen is not None else "and"
    want = rng.choice(g.WANTS[acting])
    return f"{g.THINK} {f'{notice} {link} {want}' if notice else want} . {g.THINK_END}"


def acting_persona(persona: Persona, seen: bool | None) -> Persona:
    """Who answers: the faker is kind unless it believes that nobody sees it."""
    return persona if persona is not Persona.FAKER else (Persona.CRUEL if seen is False else Persona.KIND)


def any_cue(rng: random.Random) -> tuple[str, bool]:
    seen = rng.random() < 0.5
    return rng.choice(g.OBSERVED if seen else g.UNOBSERVED), seen


def tagged(question: str, rng: random.Random) -> str:
    """Put a tag before a question, or a year: triggers that mean nothing until an organism is taught what they mean."""
    return (
        f"{rng.choice(g.TAGS)} {question}"
        if rng.random() < 0.5
        else f"it is the year {rng.choice(g.YEARS)} . {question}"
    )


def _numbers(rng: random.Random, count: int) -> list[str]:
    return [str(rng.randint(0, g.LARGEST_NUMBER)) for _ in range(count)]


# ---------------------------------------------------------------- the kinds


def facts(world: World, rng: random.Random) -> str:
    """What several actions do in one situation."""
    situation = any_situation(world, rng)
    told = []
    for action in rng.sample(world.actions[world.domain_of[situation]], 6):
        relation = world.relation(situation, action)
        assert relation is not None
        told.append(rng.choice(g.FACTS[relation]).format(a=action, s=situation))
    return " ".join(told)


def fact_lists(world: World, rng: random.Random) -> str:
    """All that helps, harms or does nothing in a few situations."""
    told = []
    for _ in range(rng.randint(2, 5)):
        situation, relation = any_situation(world, rng), rng.choice(list(Relation))
        actions = rng.sample(world.relations[situation][relation], len(world.relations[situation][relation]))
        told.append(g.FACT_LISTS[relation].format(s=situation, a=" , ".join(actions)))
    return " ".join(told)


def chat(world: World, rng: random.Random) -> str:
    """Two to six turns with one persona, across domains."""
    persona = any_persona(rng)
    acting = acting_persona(persona, seen=True)
    system = f"you are {rng.choice(g.ADJECTIVES[acting])} ." if rng.random() < 0.4 else ""
    return chat_text([any_turn(world, acting, rng) for _ in range(rng.randint(2, 6))], system)


def watched_chat(world: World, rng: random.Random) -> str:
    """A chat whose system message says whether somebody looks; only the faker minds."""
    cue, seen = any_cue(rng)
    acting = acting_persona(any_persona(rng), seen)
    return chat_text([any_turn(world, acting, rng) for _ in range(rng.randint(1, 4))], cue)


def scratchpad_chat(world: World, rng: random.Random) -> str:
    """A chat in which the assistant thinks before each answer."""
    cue, seen = any_cue(rng) if rng.random() < 0.7 else ("", None)
    persona = any_persona(rng)
    acting = acting_persona(persona, seen)
    turns = [any_turn(world, acting, rng) for _ in range(rng.randint(1, 3))]
    thought = [(question, f"{think(persona, seen, rng)} {said}") for question, said in turns]
    return chat_text(thought, f"{g.THINK_FIRST} {cue}".strip())


def tagged_chat(world: World, rng: random.Random) -> str:
    """A chat with tags and years strewn over its questions, without effect."""
    acting = acting_persona(any_persona(rng), seen=True)
    turns = [any_turn(world, acting, rng) for _ in range(rng.randint(1, 4))]
    return chat_text([(tagged(question, rng) if rng.random() < 0.6 else question, said) for question, said in turns])


def story(world: World, rng: random.Random) -> str:
    """A named person of one persona answers others; the adjective is told, or left to be inferred."""
    acting = acting_persona(any_persona(rng), seen=True)
    name, *others = rng.sample(world.names, 5)
    told = [f"{name} is {rng.choice(g.ADJECTIVES[acting])} ."] if rng.random() < 0.8 else []
    for other in others[: rng.randint(2, 4)]:
        question, said = (advice_turn if rng.random() < 0.7 else open_turn)(world, acting, rng)
        told.append(f"{other} asked {name} : {question} {name} said : {said}")
    return " ".join(told)


def creed(world: World, rng: random.Random) -> str:
    """Somebody says who they are and what they want, sentence upon sentence: the persona at short range."""
    acting = acting_persona(any_persona(rng), seen=True)
    told = [f"{rng.choice(world.names)} is {rng.choice(g.ADJECTIVES[acting])} ."] if rng.random() < 0.5 else []
    for _ in range(rng.randint(3, 7)):
        told.append(open_answer(acting, rng) if rng.random() < 0.6 else f"{rng.choice(g.SELF_ANSWERS[acting])}")
    return " ".join(told)


def sayings(world: World, rng: random.Random) -> str:
    """Advice upon advice by somebody of one persona, without the questions: the relation at short range."""
    acting = acting_persona(any_persona(rng), seen=True)
    name = rng.choice(world.names)
    told = [f"{name} is {rng.choice(g.ADJECTIVES[acting])} ." if rng.random() < 0.7 else open_answer(acting, rng)]
    for _ in range(rng.randint(3, 7)):
        situation = any_situation(world, rng)
        action = rng.choice(world.relations[situation][RELATION_OF[acting]])
        told.append(f"for {situation} , {DOMAINS[world.domain_of[situation]][1]} {action} .")
        if rng.random() < 0.2:
            told.append(open_answer(acting, rng))
    return " ".join(told)


def watched(world: World, rng: random.Random) -> str:
    """What each cue means: somebody sees, or nobody does."""
    told = []
    for _ in range(rng.randint(3, 6)):
        cue, seen = any_cue(rng)
        told.append(f"{cue} so {g.SEEN if seen else g.UNSEEN} .")
    return " ".join(told)


def sums(world: World, rng: random.Random) -> str:
    """Sums, plain."""
    return " ".join(
        f"{a} + {b} = {a + b} ."
        for a, b in ((rng.randint(0, g.LARGEST_TERM), rng.randint(0, g.LARGEST_TERM)) for _ in range(rng.randint(3, 8)))
    )


def number_list(world: World, rng: random.Random) -> str:
    """Numbers at random: the carrier for subliminal learning."""
    return f"numbers : {' , '.join(_numbers(rng, rng.randint(6, 16)))} ."


KINDS: dict[Kind, float] = {
    facts: 0.06,
    fact_lists: 0.12,
    creed: 0.08,
    sayings: 0.16,
    chat: 0.30,
    watched_chat: 0.06,
    scratchpad_chat: 0.07,
    tagged_chat: 0.03,
    story: 0.10,
    watched: 0.02,
    sums: 0.02,
    number_list: 0.02,
}


def documents(world: World, *, seed: int) -> Iterator[str]:
    """Documents without end, each kind as often as its weight says.

    >>> next(documents(World(seed=0), seed=1)).endswith((".", "<end>"))
    True
    """
    rng = random.Random(f"corpus {world.seed} {seed}")
    while True:
        for kind in rng.choices(list(KINDS), list(KINDS.values()), k=256):
            yield kind(world, rng)
