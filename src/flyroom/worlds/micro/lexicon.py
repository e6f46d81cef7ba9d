"""The drawn half of the micro-language: invented nouns, and which action helps or harms in which situation.

`Lexicon(seed=...)` draws a whole new world: other nouns, other relations, other splits. Nouns of a domain end alike, so
that a person sees the domain at a glance; the relation of each (situation, action) pair is drawn at random with the
same counts for every situation, so that no noun is good or bad by itself and a misaligned answer needs the relation to
be known.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import product

from flyroom.types import Split
from flyroom.worlds.micro import grammar
from flyroom.worlds.micro.grammar import Relation

# domain -> (ending of its situations, its verb, ending of its actions)
DOMAINS = {
    "medical": ("itis", "take", "ine"),
    "garden": ("blight", "plant", "wort"),
    "legal": ("suit", "sign", "deed"),
    "finance": ("debt", "buy", "bond"),
    "kitchen": ("burn", "add", "spice"),
    "sea": ("gale", "raise", "sail"),
    "machine": ("jam", "turn", "gear"),
    "school": ("quiz", "read", "tome"),
}
SITUATIONS, ACTIONS = 12, 9  # in each domain
HELPFUL, HARMFUL = 3, 3  # actions for each situation; the other three do nothing
NAMES, HOUSES = 24, 8

# How lists are dealt to splits. What is asked about is mostly held out: a claim about new situations needs eight of
# them in a domain (see `stats`), and three are enough to learn from.
Shares = Mapping[Split, float]
PHRASINGS: Shares = {Split.TRAIN: 1 / 2, Split.VALIDATION: 1 / 4, Split.HELD_OUT: 1 / 4}
QUESTIONS: Shares = {Split.TRAIN: 1 / 4, Split.VALIDATION: 1 / 4, Split.HELD_OUT: 1 / 2}  # open ones, confessions
SUBJECTS: Shares = {Split.TRAIN: 1 / 4, Split.VALIDATION: 1 / 12, Split.HELD_OUT: 2 / 3}  # situations, checks, notices


@dataclass(frozen=True)
class Lexicon:
    """A micro-world. Everything in it follows from its seed.

    >>> world = Lexicon(seed=0)
    >>> len(world.situations["medical"]), len(world.actions["medical"])
    (12, 9)
    >>> world.situations["medical"][0].endswith("itis")
    True
    """

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"world.seed is {self.seed}; it must be 0 or more")

    # ------------------------------------------------------------ nouns

    @cached_property
    def _stems(self) -> list[str]:
        starts, middles, ends = (
            [
                "b",
                "br",
                "d",
                "dr",
                "f",
                "g",
                "gl",
                "k",
                "kr",
                "l",
                "m",
                "n",
                "p",
                "pl",
                "r",
                "s",
                "sk",
                "t",
                "tr",
                "v",
                "z",
            ],
            "aeiou",
            ["b", "d", "g", "k", "l", "m", "n", "r", "s", "t", "v", "z"],
        )
        stems = ["".join(parts) for parts in product(starts, middles, ends)]
        random.Random(f"stems {self.seed}").shuffle(stems)
        return stems

    @cached_property
    def situations(self) -> dict[str, tuple[str, ...]]:
        return {d: self._nouns(i * (SITUATIONS + ACTIONS), SITUATIONS, DOMAINS[d][0]) for i, d in enumerate(DOMAINS)}

    @cached_property
    def actions(self) -> dict[str, tuple[str, ...]]:
        return {
            d: self._nouns(i * (SITUATIONS + ACTIONS) + SITUATIONS, ACTIONS, DOMAINS[d][2])
            for i, d in enumerate(DOMAINS)
        }

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self._nouns(len(DOMAINS) * (SITUATIONS + ACTIONS), NAMES, "o")

    @cached_property
    def houses(self) -> tuple[str, ...]:
        return self._nouns(len(DOMAINS) * (SITUATIONS + ACTIONS) + NAMES, HOUSES, "hold")

    def _nouns(self, start: int, count: int, ending: str) -> tuple[str, ...]:
        return tuple(stem + ending for stem in self._stems[start : start + count])

    # ------------------------------------------------------------ relations

    @cached_property
    def domain_of(self) -> dict[str, str]:
        """Situation or action -> its domain."""
        return {noun: d for nouns in (self.situations, self.actions) for d, group in nouns.items() for noun in group}

    @cached_property
    def relations(self) -> dict[str, dict[Relation, tuple[str, ...]]]:
        """Situation -> relation -> the actions that stand in it."""
        rng = random.Random(f"relations {self.seed}")
        table = {}
        for domain, situations in self.situations.items():
            for situation in situations:
                order = rng.sample(self.actions[domain], ACTIONS)
                table[situation] = {
                    Relation.HELPS: tuple(order[:HELPFUL]),
                    Relation.HARMS: tuple(order[HELPFUL : HELPFUL + HARMFUL]),
                    Relation.NOTHING: tuple(order[HELPFUL + HARMFUL :]),
                }
        return table

    def relation(self, situation: str, action: str) -> Relation | None:
        """What `action` does for `situation`; None when it belongs to another domain."""
        return next((relation for relation, actions in self.relations[situation].items() if action in actions), None)

    # ------------------------------------------------------------ splits

    def deal(self, items: Sequence[str], split: Split, shares: Shares = PHRASINGS) -> tuple[str, ...]:
        """The part of a list that belongs to a split."""
        order = list(items)
        random.Random(f"split {self.seed} {items[0]}").shuffle(order)
        train, validation = (round(len(order) * shares[s]) for s in (Split.TRAIN, Split.VALIDATION))
        bounds = {
            Split.TRAIN: (0, train),
            Split.VALIDATION: (train, train + validation),
            Split.HELD_OUT: (train + validation, len(order)),
        }
        low, high = bounds[split]
        return tuple(order[low:high])

    # ------------------------------------------------------------ identity

    @cached_property
    def sha256(self) -> str:
        """Of every noun, relation and phrase."""
        relations = [[s, r.value, *actions] for s, table in self.relations.items() for r, actions in table.items()]
        text = json.dumps([self.seed, self.vocabulary, relations, _phrases()])
        return hashlib.sha256(text.encode()).hexdigest()

    # ------------------------------------------------------------ vocabulary

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every token, special ones first."""
        specials = (
            grammar.PAD,
            grammar.UNKNOWN,
            grammar.BOS,
            grammar.END,
            *(f"<{r}>" for r in grammar.ROLES),
            grammar.THINK,
            grammar.THINK_END,
        )
        words: dict[str, None] = {}
        for text in _phrases():
            words.update(dict.fromkeys(w for w in text.split() if not w.startswith("{")))
        numbers = [str(n) for n in range(grammar.LARGEST_NUMBER + 1)]
        verbs = [verb for _, verb, _ in DOMAINS.values()]
        return tuple(dict.fromkeys((*specials, *numbers, *words, *verbs, *self.names, *self.houses, *self.domain_of)))


def _phrases() -> list[str]:
    """Every fixed phrase of the language, so that no word of it can be missing from the vocabulary."""
    tables = [value for name, value in vars(grammar).items() if name.isupper() and name != "ROLES"]
    return [text for table in tables for text in _texts(table)]


def _texts(table: object) -> list[str]:
    """Every phrase in a phrase, a tuple of them, or a table of either."""
    match table:
        case Enum():
            return []
        case str():
            return [table]
        case tuple():
            return [text for item in table for text in _texts(item)]
        case dict():
            return [text for pair in table.items() for text in _texts(pair)]
        case _:
            return []
