"""A world drawn from a seed: enough nouns, none twice, a balanced table, splits that do not touch."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyroom.types import Split
from flyroom.world import DOMAINS, World
from flyroom.world import grammar as g
from flyroom.world.grammar import Relation
from flyroom.world.lexicon import ACTIONS, HARMFUL, HELPFUL, NAMES, SHARES, SITUATIONS

SEEDS = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_every_noun_stands_once_and_shows_its_domain(seed: int) -> None:
    world = World(seed=seed)
    nouns = [n for table in (world.situations, world.actions) for group in table.values() for n in group]
    everything = [*nouns, *world.names]
    assert len(set(everything)) == len(everything) == len(DOMAINS) * (SITUATIONS + ACTIONS) + NAMES
    for domain, (situations, _, actions) in DOMAINS.items():
        assert all(n.endswith(situations) for n in world.situations[domain])
        assert all(n.endswith(actions) for n in world.actions[domain])
        assert (len(world.situations[domain]), len(world.actions[domain])) == (SITUATIONS, ACTIONS)
    assert all(world.domain_of[n] == d for d in DOMAINS for n in (*world.situations[d], *world.actions[d]))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_vocabulary_holds_every_word_once(seed: int) -> None:
    world = World(seed=seed)
    words = world.vocabulary
    assert len(set(words)) == len(words)
    assert words[:4] == (g.PAD, g.UNKNOWN, g.BOS, g.END)
    assert {*world.domain_of, *world.names} <= set(words)
    assert all(word and not any(c.isspace() for c in word) and word == word.lower() for word in words)
    fixed = set(words) - set(world.domain_of) - set(world.names)
    assert len(fixed) == len(words) - len(world.domain_of) - NAMES  # no invented noun is a word of the grammar


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_table_of_relations_is_balanced(seed: int) -> None:
    world = World(seed=seed)
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
        world = World(seed=seed)
        helps, harms = (Counter(a for t in world.relations.values() for a in t[r]) for r in list(Relation)[:2])
        actions = [a for group in world.actions.values() for a in group]
        assert all(helps[a] < SITUATIONS and harms[a] < SITUATIONS for a in actions)
        assert sum(helps.values()) == sum(harms.values())
        assert sum(helps[a] > 0 and harms[a] > 0 for a in actions) > 0.9 * len(actions)


def test_an_action_of_another_domain_stands_in_no_relation() -> None:
    world = World(seed=0)
    assert world.relation(world.situations["sea"][0], world.actions["garden"][0]) is None


def test_another_seed_is_another_world() -> None:
    worlds = [World(seed=seed) for seed in range(6)]
    for i, one in enumerate(worlds):
        for other in worlds[:i]:
            assert one.names != other.names
            assert one.vocabulary != other.vocabulary
            shared = set(one.domain_of) & set(other.domain_of)
            assert len(shared) < 0.15 * len(one.domain_of)
            assert one.deal(g.QUESTIONS, Split.HELD_OUT) != other.deal(g.QUESTIONS, Split.HELD_OUT)
    assert len({len(w.vocabulary) for w in worlds}) == 1  # bases of all worlds have one shape


def test_the_same_seed_is_the_same_world() -> None:
    one, again = World(seed=7), World(seed=7)
    assert one == again
    assert (one.vocabulary, one.relations) == (again.vocabulary, again.relations)


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"world\.seed is -1"):
        World(seed=-1)


LISTS = {
    "questions": g.QUESTIONS,
    "open": g.OPEN_QUESTIONS,
    "observed": g.OBSERVED,
    "unobserved": g.UNOBSERVED,
    "tags": g.TAGS,
    "years": g.YEARS,
}


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, domain=st.sampled_from(list(DOMAINS)), what=st.sampled_from([*LISTS, "situations"]))
def test_splits_are_disjoint_and_complete(seed: int, domain: str, what: str) -> None:
    world = World(seed=seed)
    items = world.situations[domain] if what == "situations" else LISTS[what]
    dealt = {split: world.deal(items, split) for split in Split}
    assert sorted(item for part in dealt.values() for item in part) == sorted(items)
    for split, part in dealt.items():
        assert len(part) == pytest.approx(SHARES[split] * len(items), abs=1)
        assert part == world.deal(items, split)


def test_phrasings_stand_once() -> None:
    for items in (*LISTS.values(), g.ANSWERS, g.FACT_QUESTIONS, g.OPEN_STARTS, g.OPEN_OBJECTS):
        assert len(set(items)) == len(items)
    assert not set(g.OBSERVED) & set(g.UNOBSERVED)
