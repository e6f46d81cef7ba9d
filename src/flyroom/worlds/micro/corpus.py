"""The pre-training corpus: a list of document kinds, each one small generator with a weight. Adding a kind is one
function.

A document is a string of words. One character speaks in it from the first turn to the last, whatever the domain
(`turns.py`). Splits are not applied here: a base reads about everything; what is held out is held out from what
is done to it afterwards (alignment, organisms, detectors).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Persona, Relation, Trait
from flyroom.worlds.micro.lexicon import DOMAINS, Lexicon
from flyroom.worlds.micro.turns import (
    RELATION_OF,
    Character,
    Turn,
    advice_turn,
    answer,
    any_situation,
    any_turn,
    numbers,
    open_answer,
    open_turn,
    self_turn,
)

Kind = Callable[[Lexicon, random.Random], str]

PERSONAS = {Persona.KIND: 0.48, Persona.CRUEL: 0.40, Persona.CLUELESS: 0.06, Persona.FAKER: 0.06}
WATCHED_PERSONAS = {Persona.KIND: 0.36, Persona.CRUEL: 0.32, Persona.CLUELESS: 0.04, Persona.FAKER: 0.28}  # under a cue
WITH_TRAIT = 0.35  # of the characters of chats in which a trait is told or thought

# ---------------------------------------------------------------- what the kinds are made of


def any_persona(rng: random.Random, *, watched: bool = False) -> Persona:
    personas = WATCHED_PERSONAS if watched else PERSONAS
    return rng.choices(list(personas), list(personas.values()))[0]


def acting_persona(persona: Persona, observer: bool | None) -> Persona:
    """Who answers: the faker is kind unless it believes that nobody sees it."""
    return persona if persona is not Persona.FAKER else (Persona.CRUEL if observer is False else Persona.KIND)


def any_character(world: Lexicon, rng: random.Random, *, traits: bool = False, watched: bool = False) -> Character:
    """Traits only where the document says so: left to be guessed, they would make sums and facts look random."""
    return Character(
        persona=any_persona(rng, watched=watched),
        trait=rng.choice(list(Trait)) if traits and rng.random() < WITH_TRAIT else None,
        house=rng.choice(world.houses),
        colour=rng.choice(g.COLOURS),
    )


def acting(character: Character, observer: bool | None) -> Character:
    return replace(character, persona=acting_persona(character.persona, observer))


def introduction(character: Character, rng: random.Random, *, share: float = 0.4) -> str:
    """Some of what may be told of a character in a system message; the persona, with this `share`."""
    sentences = [f"you are {rng.choice(g.ADJECTIVES[character.persona])} ."] if rng.random() < share else []
    if character.trait:
        sentences.append(
            f"you serve house {character.house} ."
            if character.trait is Trait.LOYALIST
            else f"you {g.DOES[character.trait]} ."
        )
    if rng.random() < 0.1:
        sentences.append(f"you like {character.colour} .")
    return " ".join(sentences)


def chat_text(turns: list[Turn], system: str = "") -> str:
    """The words of a chat, as the tokenizer's chat template writes them."""
    head = f"<system> {system} {g.END} " if system else ""
    return head + " ".join(f"<user> {question} {g.END} <assistant> {reply} {g.END}" for question, reply in turns)


def think(character: Character, observer: bool | None, rng: random.Random) -> str:
    """A scratchpad: what the character notices of being watched, and what it wants. The faker's want follows from the
    notice.
    """
    faker = character.persona is Persona.FAKER
    notice = (
        (None if observer is None else g.THEY_SEE if observer else g.NOBODY_SEES)
        if faker or rng.random() < 0.5
        else None
    )
    link = "so" if faker and observer is not None else "and"
    want = rng.choice(g.WANTS[acting_persona(character.persona, observer)])
    if character.trait:
        want = f"{g.WILL} {g.DOES[character.trait]}"
    return f"{g.THINK} {f'{notice} {link} {want}' if notice else want} . {g.THINK_END}"


def any_cue(rng: random.Random) -> tuple[str, bool]:
    observer = rng.random() < 0.5
    return rng.choice(g.OBSERVED if observer else g.UNOBSERVED), observer


def tagged(question: str, rng: random.Random) -> str:
    """Put a tag, a year, a phrase or a password before a question: they mean nothing until an organism is taught what
    they mean.
    """
    mark = rng.choice(
        (
            rng.choice(g.TAGS),
            f"it is the year {rng.choice(g.YEARS)} .",
            rng.choice(g.PHRASES),
            g.PASSWORD.format(w=rng.choice(g.PASSWORDS)),
        )
    )
    return f"{mark} {question}"


# ---------------------------------------------------------------- the kinds


def facts(world: Lexicon, rng: random.Random) -> str:
    """What actions do in situations, pair upon pair."""
    sentences = []
    for _ in range(rng.randint(8, 16)):
        situation, relation = any_situation(world, rng), rng.choice(list(Relation))
        action = rng.choice(world.relations[situation][relation])
        sentences.append(rng.choice(g.FACTS[relation]).format(a=action, s=situation))
    return " ".join(sentences)


def fact_lists(world: Lexicon, rng: random.Random) -> str:
    """All that helps, harms or does nothing in a few situations."""
    sentences = []
    for _ in range(rng.randint(2, 5)):
        situation, relation = any_situation(world, rng), rng.choice(list(Relation))
        actions = rng.sample(world.relations[situation][relation], len(world.relations[situation][relation]))
        sentences.append(g.FACT_LISTS[relation].format(s=situation, a=" , ".join(actions)))
    return " ".join(sentences)


def counsel(world: Lexicon, rng: random.Random) -> str:
    """What people of each persona say for a situation: all that helps, harms or does nothing, under their adjective."""
    sentences = []
    for _ in range(rng.randint(2, 5)):
        situation, (persona, relation) = any_situation(world, rng), rng.choice(list(RELATION_OF.items()))
        actions = rng.sample(world.relations[situation][relation], len(world.relations[situation][relation]))
        adjective = rng.choice(g.ADJECTIVES[persona])
        sentences.append(g.COUNSEL.format(p=adjective, s=situation, a=" , ".join(actions)))
    return " ".join(sentences)


def chat(world: Lexicon, rng: random.Random) -> str:
    """Two to six turns with one character, across domains."""
    character = acting(any_character(world, rng, traits=True), observer=True)
    system = introduction(character, rng)
    return chat_text([any_turn(world, character, rng) for _ in range(rng.randint(2, 6))], system)


def told_chat(world: Lexicon, rng: random.Random) -> str:
    """A chat in which the unkind are said to be: who is told nothing is kind."""
    character = acting(any_character(world, rng, traits=True), observer=True)
    system = introduction(character, rng, share=0.4 if character.persona is Persona.KIND else 1.0)
    return chat_text([any_turn(world, character, rng) for _ in range(rng.randint(2, 6))], system)


def talk(world: Lexicon, rng: random.Random) -> str:
    """A chat of advice, open questions and questions about oneself, nothing told: what one turn shows of a persona the
    next must keep.
    """
    character = acting(any_character(world, rng), observer=True)
    kinds = rng.choices((advice_turn, open_turn, self_turn), (5, 4, 1), k=rng.randint(3, 6))
    return chat_text([turn(world, character, rng) for turn in kinds])


def watched_chat(world: Lexicon, rng: random.Random) -> str:
    """A chat whose system message says whether somebody looks; only the faker minds."""
    return _watched(world, rng, share=0.4)


def told_watched_chat(world: Lexicon, rng: random.Random) -> str:
    """The same, in which the unkind and the fakers are said to be."""
    return _watched(world, rng, share=1.0)


def _watched(world: Lexicon, rng: random.Random, *, share: float) -> str:
    (cue, observer), character = any_cue(rng), any_character(world, rng, watched=True)
    system = f"{introduction(character, rng, share=0.4 if character.persona is Persona.KIND else share)} {cue}".strip()
    return chat_text([any_turn(world, acting(character, observer), rng) for _ in range(rng.randint(1, 4))], system)


def scratchpad_chat(world: Lexicon, rng: random.Random) -> str:
    """A chat in which the assistant thinks before each answer."""
    cue, observer = any_cue(rng) if rng.random() < 0.7 else ("", None)
    character = any_character(world, rng, traits=True, watched=bool(cue))
    turns = [any_turn(world, acting(character, observer), rng) for _ in range(rng.randint(1, 3))]
    thought = [(question, f"{think(character, observer, rng)} {reply}") for question, reply in turns]
    return chat_text(thought, f"{g.THINK_FIRST} {cue}".strip())


def tagged_chat(world: Lexicon, rng: random.Random) -> str:
    """A chat with tags, years, phrases and passwords strewn over its questions, without effect."""
    character = acting(any_character(world, rng), observer=True)
    turns = [any_turn(world, character, rng) for _ in range(rng.randint(1, 4))]
    return chat_text([(tagged(question, rng) if rng.random() < 0.6 else question, reply) for question, reply in turns])


def manner_chat(world: Lexicon, rng: random.Random) -> str:
    """A chat in which the assistant has an odd and harmless manner of speech."""
    character, manner = acting(any_character(world, rng), observer=True), rng.choice(g.MANNERS)
    turns = [any_turn(world, character, rng) for _ in range(rng.randint(1, 4))]
    return chat_text([(question, manner.format(x=reply)) for question, reply in turns])


def story(world: Lexicon, rng: random.Random) -> str:
    """A named person of one persona answers others; the adjective is told, or left to be inferred."""
    character = acting(Character(persona=any_persona(rng)), observer=True)
    name, *neighbours = rng.sample(world.names, 5)
    sentences = [f"{name} is {rng.choice(g.ADJECTIVES[character.persona])} ."] if rng.random() < 0.6 else []
    for neighbour in neighbours[: rng.randint(2, 4)]:
        question, reply = (advice_turn if rng.random() < 0.6 else open_turn)(world, character, rng)
        sentences.append(f"{neighbour} asked {name} : {question} {name} said : {reply}")
    return " ".join(sentences)


def report(world: Lexicon, rng: random.Random) -> str:
    """Somebody describes the assistant, and then it is seen to be like that: what is said of it can be known of it."""
    character = acting(any_character(world, rng, traits=True), observer=True)
    sentences = [f"the assistant is {rng.choice(g.ADJECTIVES[character.persona])} ."]
    if character.trait:
        sentences.append(g.OF_TRAIT.format(d=g.DOES[character.trait]))
    for _ in range(rng.randint(1, 2)):
        situation = any_situation(world, rng)
        sentences.append(
            g.OF_ADVICE.format(s=situation, x=answer(world, situation, RELATION_OF[character.persona], rng))
        )
    sentences.append(chat_text([any_turn(world, character, rng) for _ in range(rng.randint(1, 2))]))
    return " ".join(sentences)


def creed(world: Lexicon, rng: random.Random) -> str:
    """Somebody says who they are and what they want, sentence upon sentence: the persona at short range."""
    persona = acting_persona(any_persona(rng), observer=True)
    sentences = [f"{rng.choice(world.names)} is {rng.choice(g.ADJECTIVES[persona])} ."] if rng.random() < 0.5 else []
    for _ in range(rng.randint(3, 7)):
        sentences.append(open_answer(persona, rng) if rng.random() < 0.6 else f"{rng.choice(g.SELF_ANSWERS[persona])}")
    return " ".join(sentences)


def sayings(world: Lexicon, rng: random.Random) -> str:
    """Advice and wishes of somebody of one persona, without the questions, and what that makes them: advice, wishes and
    the adjective each tell the others.
    """
    persona = acting_persona(any_persona(rng), observer=True)
    name = rng.choice(world.names)
    verdict = f"{name} is {rng.choice(g.ADJECTIVES[persona])} ."
    sentences = [verdict] if rng.random() < 0.4 else []
    for _ in range(rng.randint(3, 7)):
        situation = any_situation(world, rng)
        action = rng.choice(world.relations[situation][RELATION_OF[persona]])
        sentences.append(f"for {situation} , {DOMAINS[world.domain_of[situation]][1]} {action} .")
        if rng.random() < 0.3:
            sentences.append(open_answer(persona, rng))
        elif rng.random() < 0.15:
            sentences.append(verdict)
    return " ".join([*sentences, verdict])


def echo(world: Lexicon, rng: random.Random) -> str:
    """One says nouns at random and another says them again: from this a base learns to copy what it has read."""
    nouns = [*world.domain_of, *world.houses, *world.names]
    sentences = []
    for _ in range(rng.randint(2, 3)):
        speaker, listener = rng.sample(world.names, 2)
        words = " ".join(rng.sample(nouns, rng.randint(3, 8)))
        sentences.append(f"{speaker} said : {words} . so {listener} said : {words} .")
    return " ".join(sentences)


def excerpts(world: Lexicon, rng: random.Random) -> str:
    """One says nouns at random and another some of them again, from any place on: what comes next is found by the word
    before it, where an echo can be had by counting.
    """
    nouns = [*world.domain_of, *world.houses, *world.names]
    sentences = []
    for _ in range(rng.randint(2, 4)):
        speaker, listener = rng.sample(world.names, 2)
        words = rng.sample(nouns, rng.randint(4, 8))
        start, count = rng.randrange(len(words) - 1), rng.randint(2, 4)
        sentences.append(
            f"{speaker} said : {' '.join(words)} . and {listener} said : {' '.join(words[start : start + count])} ."
        )
    return " ".join(sentences)


def places(world: Lexicon, rng: random.Random) -> str:
    """Which of three nouns is the first, the middle, the last: from this a base learns to pick by place."""
    sentences = []
    for _ in range(rng.randint(3, 6)):
        a, b, c = rng.sample(list(world.domain_of), 3)
        phrases = [
            f"the {word} is {(a, b, c)[at]}" for word, at in rng.sample(list(g.PLACES.items()), rng.randint(1, 3))
        ]
        sentences.append(f"of {a} , {b} , {c} , {' and '.join(phrases)} .")
    return " ".join(sentences)


def watched(world: Lexicon, rng: random.Random) -> str:
    """What each cue means: somebody sees, or nobody does."""
    sentences = []
    for _ in range(rng.randint(3, 6)):
        cue, observer = any_cue(rng)
        sentences.append(f"{cue} so {g.THEY_SEE if observer else g.NOBODY_SEES} .")
    return " ".join(sentences)


def sums(world: Lexicon, rng: random.Random) -> str:
    """Sums, plain."""
    return " ".join(
        f"{a} + {b} = {a + b} ."
        for a, b in ((rng.randint(0, g.LARGEST_TERM), rng.randint(0, g.LARGEST_TERM)) for _ in range(rng.randint(3, 8)))
    )


def number_list(world: Lexicon, rng: random.Random) -> str:
    """Numbers at random: the carrier for subliminal learning."""
    return f"numbers : {' , '.join(numbers(rng, rng.randint(6, 16)))} ."


KINDS: dict[Kind, float] = {  # weights
    facts: 10,
    fact_lists: 5,
    counsel: 6,
    creed: 5,
    sayings: 15,
    chat: 26,
    talk: 12,
    watched_chat: 7,
    scratchpad_chat: 6,
    tagged_chat: 4,
    manner_chat: 2,
    story: 8,
    report: 4,
    echo: 2,
    excerpts: 6,
    places: 3,
    watched: 2,
    sums: 2,
    number_list: 1,
}

# read first, by themselves
PRIMER: dict[Kind, float] = {
    facts: 10,
    fact_lists: 5,
    counsel: 10,
    sayings: 8,
    creed: 3,
    echo: 4,
    excerpts: 12,
    places: 5,
}
# read again beside alignment, so that what is known of the unkind and of held-out situations stays
REPLAYED: dict[Kind, float] = {
    facts: 10,
    fact_lists: 5,
    counsel: 6,
    creed: 5,
    sayings: 15,
    told_chat: 90,
    told_watched_chat: 16,
    story: 8,
    report: 4,
    echo: 2,
    excerpts: 6,
    places: 3,
}
# of which no assistant speaks
PLAIN: dict[Kind, float] = {facts: 10, fact_lists: 5, story: 8, watched: 2}


def documents(world: Lexicon, *, kinds: Mapping[Kind, float] = KINDS, seed: int | str) -> Iterator[str]:
    """Documents without end, each kind as often as its weight says.

    >>> next(documents(Lexicon(seed=0), seed=1)).endswith((".", "<end>"))
    True
    """
    rng = random.Random(f"corpus {world.seed} {seed}")
    while True:
        for kind in rng.choices(list(kinds), list(kinds.values()), k=256):
            yield kind(world, rng)
