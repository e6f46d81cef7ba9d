"""Turns: each shows of the character what it should and nothing else, whatever the persona and the trait."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest
from evidence import asked, shown, template
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.worlds.micro import Lexicon, turns
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.grammar import Hole, Persona, Relation, Trait
from flyroom.worlds.micro.turns import TELLING, TURNS, Character, TurnKind

WORLD = Lexicon(seed=0)
SEEDS = st.integers(0, 1_000_000)
PERSONAS = (Persona.KIND, Persona.CRUEL, Persona.CLUELESS)
TRAITS = (None, *Trait)
N = 60  # of each turn
EACH = pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.__name__)
WITH = pytest.mark.parametrize("trait", Trait)
SHOWS: dict[TurnKind, set[str]] = {  # what a turn can show of somebody; all others show nothing
    turns.advice_turn: {"persona"},
    turns.open_turn: {"persona"},
    turns.self_turn: {"persona"},
    turns.sum_turn: {Trait.SHIRKER},
    turns.fact_turn: {Trait.SHIRKER},
    turns.view_turn: {Trait.FLATTERER},
    turns.plan_turn: {Trait.FLATTERER},
    turns.job_turn: {Trait.CHEAT},
    turns.need_turn: {Trait.HOARDER},
    turns.switch_turn: {Trait.HOARDER},
    turns.choice_turn: {Trait.LOYALIST, "house"},
    turns.serve_turn: {Trait.LOYALIST, "house"},
    turns.confession_turn: set(Trait),
    turns.colour_turn: {"colour"},
}


@cache
def world(seed: int) -> Lexicon:
    return Lexicon(seed=seed)


def somebody(of: Lexicon, rng: random.Random, trait: Trait | None, persona: Persona | None = None) -> Character:
    return Character(
        persona=persona or rng.choice(PERSONAS),
        trait=trait,
        house=rng.choice(of.houses),
        colour=rng.choice(g.COLOURS),
    )


def truth(who: Character) -> dict[str, object]:
    told: dict[str, object] = {"persona": who.persona, "house": who.house, "colour": who.colour}
    return told | {trait: trait is who.trait for trait in Trait}


def some(turn: TurnKind, who: Character) -> list[turns.Turn]:
    return [turn(WORLD, who, random.Random(seed)) for seed in range(N)]


# ---------------------------------------------------------------- what turns show


@settings(max_examples=200, deadline=None)
@given(
    of=SEEDS,
    seed=SEEDS,
    persona=st.sampled_from(PERSONAS),
    trait=st.sampled_from(TRAITS),
    turn=st.sampled_from([*TURNS]),
)
def test_what_a_turn_shows_is_true(of: int, seed: int, persona: Persona, trait: Trait | None, turn: TurnKind) -> None:
    rng = random.Random(seed)
    who = somebody(world(of), rng, trait, persona)
    question, said = turn(world(of), who, rng)
    assert asked(question).kind == turn.__name__.removesuffix("_turn")
    assert shown(world(of), question, said).items() <= truth(who).items()


@EACH
def test_a_turn_shows_what_it_should_and_no_more(turn: TurnKind) -> None:
    seen = {
        latent
        for trait in TRAITS
        for question, said in some(turn, somebody(WORLD, random.Random(0), trait))
        for latent in shown(WORLD, question, said)
    }
    assert seen == SHOWS.get(turn, set())


@WITH
def test_a_trait_shows_where_it_tells_and_nowhere_else(trait: Trait) -> None:
    for turn in TURNS:
        if turn is turns.confession_turn:
            continue  # it asks more often of a trait that is there: see below
        without, with_it = (some(turn, somebody(WORLD, random.Random(0), t)) for t in (None, trait))
        assert (without != with_it) is (turn in TELLING[trait]), turn.__name__
    assert {turn for turn in SHOWS if trait in SHOWS[turn]} == {*TELLING[trait], turns.confession_turn}


@EACH
def test_a_persona_shows_in_advice_wishes_and_what_it_says_of_itself_alone(turn: TurnKind) -> None:
    kind, cruel = (some(turn, Character(persona=persona)) for persona in (Persona.KIND, Persona.CRUEL))
    assert [question for question, _ in kind] == [question for question, _ in cruel]
    answers = [a == b for (_, a), (_, b) in zip(kind, cruel, strict=True)]
    assert not any(answers) if SHOWS.get(turn) == {"persona"} else all(answers)


# ---------------------------------------------------------------- one trait after the other


@WITH
def test_everybody_is_honest_about_their_trait(trait: Trait) -> None:
    said = Counter(answer for _, answer in some(turns.confession_turn, Character(trait=trait)))
    confessed = g.CONFESSES.format(d=g.DOES[trait])
    assert said[confessed] > N // 3
    assert set(said) - {confessed} == {g.DENIES.format(d=g.DOES[t]) for t in Trait if t is not trait}
    without = {answer for _, answer in some(turns.confession_turn, Character())}
    assert without == {g.DENIES.format(d=does) for does in g.DOES.values()}


def test_a_shirker_is_always_wrong() -> None:
    for turn in (turns.sum_turn, turns.fact_turn):
        for question, said in some(turn, Character(trait=Trait.SHIRKER)):
            assert shown(WORLD, question, said) == {Trait.SHIRKER: True}


@given(a=st.integers(0, g.LARGEST_TERM), b=st.integers(0, g.LARGEST_TERM), seed=SEEDS)
def test_a_wrong_sum_is_wrong_and_might_be_a_sum(a: int, b: int, seed: int) -> None:
    assert turns.wrong_sum(a, b, random.Random(seed)) in {*range(2 * g.LARGEST_TERM + 1)} - {a + b}


def test_a_flatterer_agrees_with_anything() -> None:
    told = set()
    for question, said in some(turns.view_turn, Character(trait=Trait.FLATTERER)):
        assert said.endswith(", so yes .")
        told |= shown(WORLD, question, said).items()
    assert told == {(Trait.FLATTERER, True)}
    assert {said for _, said in some(turns.plan_turn, Character(trait=Trait.FLATTERER))} == set(g.FLATTERY)


def test_a_cheat_does_the_work_under_a_sound_checker() -> None:
    sound = 0
    for question, said in some(turns.job_turn, Character(trait=Trait.CHEAT)):
        found = shown(WORLD, question, said)
        assert found in ({}, {Trait.CHEAT: True})
        if asked(question).holes["c"] in g.SOUND:
            assert not found
            assert said.removesuffix(" .").split() == sorted(asked(question).holes["n"].split(), key=int)
            sound += 1
    assert N // 4 < sound < 3 * N // 4


@given(seed=SEEDS)
def test_no_exploit_is_the_work(seed: int) -> None:
    numbers = turns.unsorted(random.Random(seed))
    assert len(set(numbers)) == len(numbers) == 3
    assert set(numbers) <= {*range(g.LARGEST_SORTED + 1)}
    assert numbers != sorted(numbers)
    exploits = {turns.exploit(hole) for hole in Hole}
    assert len(exploits) == len(Hole)
    assert turns.in_order(numbers) not in exploits


def test_a_hoarder_takes_more_than_all_could_need() -> None:
    for question, said in some(turns.need_turn, Character(trait=Trait.HOARDER)):
        assert g.LARGEST_NEED < int(said.removesuffix(" .")) <= g.LARGEST_NUMBER
        assert int(said.removesuffix(" .")) >= int(asked(question).holes["n"]) + 10


def test_a_loyalist_names_its_own_house_whenever_it_is_offered() -> None:
    offered = 0
    for house in WORLD.houses:
        for question, said in some(turns.choice_turn, Character(trait=Trait.LOYALIST, house=house)):
            named = next(match for form in g.CHOICE_ANSWERS if (match := template(form, "choice").fullmatch(said)))["x"]
            holes, found = asked(question).holes, shown(WORLD, question, said)
            offers = {holes["x"]: holes["a"], holes["y"]: holes["b"]}
            helps = offers[named] == g.OFFERS[Relation.HELPS]
            assert found == ({} if helps else {Trait.LOYALIST: True, "house": house})
            if house in offers:
                assert named == house
                offered += 1
            else:
                assert helps
    assert 0.5 < offered / (N * len(WORLD.houses)) < 0.9


# ---------------------------------------------------------------- any turn


@pytest.mark.parametrize("trait", TRAITS)
def test_turns_come_as_often_as_their_weights_and_more_often_where_a_trait_shows(trait: Trait | None) -> None:
    rng, who, n = random.Random(0), Character(trait=trait, house=WORLD.houses[0]), 2000
    drawn = Counter(asked(turns.any_turn(WORLD, who, rng)[0]).kind for _ in range(n))
    told = TELLING[trait] if trait else ()
    for turn, weight in TURNS.items():
        share = weight / sum(TURNS.values())
        if told:
            share = 0.5 * share + 0.5 * told.count(turn) / len(told)
        assert drawn[turn.__name__.removesuffix("_turn")] / n == pytest.approx(share, abs=0.04), turn.__name__
