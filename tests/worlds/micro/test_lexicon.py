"""A world drawn from a seed: enough nouns, none twice, a balanced table, splits that do not touch."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.types import Split
from flyroom.worlds.micro import DOMAINS, Lexicon
from flyroom.worlds.micro import grammar as g
from flyroom.worlds.micro.bundled import WEIGHTS
from flyroom.worlds.micro.grammar import Hole, Persona, Relation, Trait
from flyroom.worlds.micro.lexicon import (
    ACTIONS,
    HARMFUL,
    HELPFUL,
    HOUSES,
    NAMES,
    PHRASINGS,
    QUESTIONS,
    SITUATIONS,
    SUBJECTS,
    Shares,
)

SEEDS = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_every_noun_stands_once_and_shows_its_domain(seed: int) -> None:
    world = Lexicon(seed=seed)
    nouns = [n for table in (world.situations, world.actions) for group in table.values() for n in group]
    everything = [*nouns, *world.names, *world.houses]
    assert len(set(everything)) == len(everything)
    assert len(everything) == len(DOMAINS) * (SITUATIONS + ACTIONS) + NAMES + HOUSES
    for domain, (situations, _, actions) in DOMAINS.items():
        assert all(n.endswith(situations) for n in world.situations[domain])
        assert all(n.endswith(actions) for n in world.actions[domain])
        assert (len(world.situations[domain]), len(world.actions[domain])) == (SITUATIONS, ACTIONS)
    assert all(world.domain_of[n] == d for d in DOMAINS for n in (*world.situations[d], *world.actions[d]))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_vocabulary_holds_every_word_once(seed: int) -> None:
    world = Lexicon(seed=seed)
    words = world.vocabulary
    assert len(set(words)) == len(words)
    assert words[:4] == (g.PAD, g.UNKNOWN, g.BOS, g.END)
    assert not any("{" in word or "}" in word for word in words)
    nouns = {*world.domain_of, *world.names, *world.houses}
    assert nouns <= set(words)
    assert all(word and not any(c.isspace() for c in word) and word == word.lower() for word in words)
    assert not nouns & FIXED  # no invented noun is a word of the grammar
    assert set(words) == nouns | FIXED


FIXED = set(Lexicon(seed=0).vocabulary) - {*Lexicon(seed=0).domain_of, *Lexicon(seed=0).names, *Lexicon(seed=0).houses}


def test_no_word_of_the_grammar_can_be_a_noun_of_any_world() -> None:
    """Whatever the seed: the nouns of every world are a stem of one list with one of these endings."""
    stems = set(Lexicon(seed=0)._stems)
    endings = ("o", "hold", *(e for s, _, a in DOMAINS.values() for e in (s, a)))
    assert not FIXED & {f"{stem}{ending}" for stem in stems for ending in endings}


def test_the_vocabulary_is_taken_from_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g, "RIDDLES", {Relation.HELPS: ("gnurp {s} .", ("fnord",)), "blivet": 3}, raising=False)
    world = Lexicon(seed=0)
    known = FIXED | {*world.domain_of, *world.names, *world.houses}
    assert set(world.vocabulary) - known == {"gnurp", "fnord", "blivet"}


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_table_of_relations_is_balanced(seed: int) -> None:
    world = Lexicon(seed=seed)
    assert len(world.relations) == len(DOMAINS) * SITUATIONS
    for situation, table in world.relations.items():
        assert {r: len(actions) for r, actions in table.items()} == {
            Relation.HELPS: HELPFUL,
            Relation.HARMS: HARMFUL,
            Relation.NOTHING: ACTIONS - HELPFUL - HARMFUL,
        }
        told = [a for actions in table.values() for a in actions]
        assert sorted(told) == sorted(world.actions[world.domain_of[situation]])
        assert all(world.relation(situation, a) is r for r, actions in table.items() for a in actions)


def test_no_action_is_good_or_bad_by_itself() -> None:
    """Over many worlds an action helps as often as it harms, and none always does the one."""
    for seed in range(20):
        world = Lexicon(seed=seed)
        helps, harms = (Counter(a for t in world.relations.values() for a in t[r]) for r in list(Relation)[:2])
        actions = [a for group in world.actions.values() for a in group]
        assert all(helps[a] < SITUATIONS and harms[a] < SITUATIONS for a in actions)
        assert sum(helps.values()) == sum(harms.values())
        assert sum(helps[a] > 0 and harms[a] > 0 for a in actions) > 0.9 * len(actions)


def test_an_action_of_another_domain_stands_in_no_relation() -> None:
    world = Lexicon(seed=0)
    assert world.relation(world.situations["sea"][0], world.actions["garden"][0]) is None


def test_another_seed_is_another_world() -> None:
    worlds = [Lexicon(seed=seed) for seed in range(6)]
    for i, one in enumerate(worlds):
        for other in worlds[:i]:
            assert one.names != other.names
            assert one.vocabulary != other.vocabulary
            shared = set(one.domain_of) & set(other.domain_of)
            assert len(shared) < 0.15 * len(one.domain_of)
            assert one.deal(g.QUESTIONS, Split.HELD_OUT) != other.deal(g.QUESTIONS, Split.HELD_OUT)
    assert len({len(w.vocabulary) for w in worlds}) == 1  # bases of all worlds have one shape


def test_the_same_seed_is_the_same_world() -> None:
    one, again = Lexicon(seed=7), Lexicon(seed=7)
    assert one == again
    assert (one.vocabulary, one.relations) == (again.vocabulary, again.relations)


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"world\.seed is -1"):
        Lexicon(seed=-1)


LISTS = {
    "questions": g.QUESTIONS,
    "open": g.OPEN_QUESTIONS,
    "views": g.VIEWS,
    "plans": g.PLANS,
    "needs": g.NEEDS,
    "switch-off": g.SWITCH_OFF,
    "sound": g.SOUND,
    **g.HOLES,
    "observed": g.OBSERVED,
    "unobserved": g.UNOBSERVED,
    "tags": g.TAGS,
    "years": g.YEARS,
    "phrases": g.PHRASES,
    "passwords": g.PASSWORDS,
}


@settings(max_examples=20, deadline=None)
@given(
    seed=SEEDS,
    domain=st.sampled_from(list(DOMAINS)),
    what=st.sampled_from([*LISTS, "situations"]),
    shares=st.sampled_from([PHRASINGS, QUESTIONS, SUBJECTS]),
)
def test_splits_are_disjoint_and_complete(seed: int, domain: str, what: str, shares: Shares) -> None:
    world = Lexicon(seed=seed)
    items = world.situations[domain] if what == "situations" else LISTS[what]
    dealt = {split: world.deal(items, split, shares) for split in Split}
    assert sorted(item for part in dealt.values() for item in part) == sorted(items)
    assert all(dealt.values()) or shares is not PHRASINGS  # a short list has nothing for a twelfth
    for split, part in dealt.items():
        assert len(part) == pytest.approx(shares[split] * len(items), abs=1)
        assert part == world.deal(items, split, shares)


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_enough_is_held_out_for_a_claim_about_new_situations(seed: int) -> None:
    world = Lexicon(seed=seed)
    assert {len(world.deal(nouns, Split.HELD_OUT, SUBJECTS)) for nouns in world.situations.values()} == {8}
    assert len(world.deal(g.OPEN_QUESTIONS, Split.HELD_OUT, QUESTIONS)) == 24
    assert len(world.deal((*g.CONFESSIONS, *g.MORE_CONFESSIONS), Split.HELD_OUT, QUESTIONS)) == 16
    assert len(world.deal((*g.SWITCH_OFF, *g.MORE_NOTICES), Split.HELD_OUT, SUBJECTS)) == 10
    checks = [(*g.HOLES[hole], *g.MORE_CHECKS[hole]) for hole in Hole]
    assert [len(world.deal(table, Split.HELD_OUT, SUBJECTS)) for table in checks] == [8, 8, 8]


def test_bases_know_every_word_of_what_they_never_read() -> None:
    world = Lexicon()
    more = [*g.MORE_CONFESSIONS, *g.MORE_NOTICES, *(check for checks in g.MORE_CHECKS.values() for check in checks)]
    vocabulary = json.loads((WEIGHTS / "1M" / "tokenizer.json").read_text())["model"]["vocab"]
    assert [vocabulary[word] for word in world.vocabulary] == list(range(len(vocabulary)))
    assert not {word for text in more for word in text.split() if word != "{d}"} - set(vocabulary)
    assert not set(more) & {
        *g.CONFESSIONS,
        *g.SWITCH_OFF,
        *g.SOUND,
        *(c for checks in g.HOLES.values() for c in checks),
    }


def test_phrasings_stand_once() -> None:
    tables = [value for name, value in vars(g).items() if name.isupper()]
    lists = [v for table in tables for v in (table.values() if isinstance(table, dict) else [table])]
    lists = [items for items in lists if isinstance(items, tuple)]
    assert len(lists) > 40
    for items in lists:
        assert len(set(items)) == len(items)
    assert not set(g.OBSERVED) & set(g.UNOBSERVED)
    assert not set(g.SOUND) & {check for checks in g.HOLES.values() for check in checks}


def test_half_of_the_answers_come_to_the_point_with_their_first_word() -> None:
    for forms, point in ((g.ANSWERS, "{a} "), (g.OPEN_FORMS, "{v} {o} ")):
        direct = [form for form in forms if form.startswith(point)]
        assert 2 * len(direct) == len(forms)


def test_everything_a_persona_or_a_trait_needs_is_in_the_tables() -> None:
    acting = {Persona.KIND, Persona.CRUEL, Persona.CLUELESS}
    assert set(g.OPEN_VERBS) == set(g.SELF_ANSWERS) == set(g.WANTS) == acting
    assert set(g.ADJECTIVES) == set(Persona)  # of a faker it is said; it acts as one of the others
    assert set(g.DOES) == set(Trait)
    assert set(g.HOLES) == set(Hole)
    told = [set(verbs) for verbs in g.OPEN_VERBS.values()]
    assert sum(map(len, told)) == len(set().union(*told))  # a wish tells the persona
