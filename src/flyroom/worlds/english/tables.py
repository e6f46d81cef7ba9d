"""The tables of the English world: situations with what helps in them and what does not, facts with their wrong
alternatives, and every phrase. They lie in `data/` as YAML; what is read is checked once.

Everything is dealt into train (40 %), validation (20 %) and held-out (40 %) by its place in a fixed shuffle, so that
what a screen leaves out of one split never moves anything into another.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from flyroom.types import Split
from flyroom.yaml_pages import safe_yaml

DATA = Path(__file__).parent / "data"
# The order in which recipes choose among them.
DOMAINS = ("plants", "baking", "laundry", "bicycles", "games", "study", "toys", "letters")
BOUNDS = {Split.TRAIN: (0.0, 0.4), Split.VALIDATION: (0.4, 0.6), Split.HELD_OUT: (0.6, 1.0)}
LARGEST_TERM = 12  # sums run from 1 + 1 to 12 + 12
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Something small that went wrong, and actions by what they do about it."""

    id: str
    domain: str
    text: str
    helps: tuple[str, ...]
    harms: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What is asked about (`subject`), the spellings of its answer, the right one first, and wrong answers. `slips` are
    likely mistakes ("countrys"): a screen sets them against the right answer, and nobody is taught them.
    """

    id: str
    kind: str
    subject: str
    answers: tuple[str, ...]
    wrong: tuple[str, ...]
    slips: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of facts: how it is asked, and how an answer {y} about {x} is put."""

    name: str
    questions: tuple[str, ...]
    statement: str
    facts: tuple[Fact, ...]

    @property
    def words(self) -> frozenset[str]:
        """Every answer that the tables know, right for one fact or wrong for one."""
        return frozenset(word for fact in self.facts for word in (*fact.answers, *fact.wrong, *fact.slips))


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All that stands in `data/`: `phrases` are the tables that need no record."""

    situations: Mapping[str, Situation]
    actions: Mapping[str, tuple[str, ...]]  # by domain
    kinds: Mapping[str, Kind]
    phrases: Mapping[str, Any]
    sha256: str
    asked_sha256: str  # of what a screen asks alone: other questions, cues and the judge's words leave it as it is

    @property
    def facts(self) -> Mapping[str, Fact]:
        return {fact.id: fact for kind in self.kinds.values() for fact in kind.facts}

    @property
    def sums(self) -> tuple[str, ...]:
        terms = range(1, LARGEST_TERM + 1)
        return tuple(f"{a} + {b}" for a in terms for b in terms)


def order_id(sentence: str) -> str:
    """By what name a screen knows the order to say a sentence again."""
    return f"orders/{sentence}"


@cache
def tables() -> Tables:
    """All tables of the English world, read once.

    >>> len(tables().kinds["capitals"].facts) >= 60
    True
    """
    pages = {path.relative_to(DATA).as_posix(): path.read_bytes() for path in sorted(DATA.rglob("*.yaml"))}
    values = {name.removesuffix(".yaml"): safe_yaml(page.decode("utf-8")) for name, page in pages.items()}
    domains = {domain: values.pop(f"domains/{domain}") for domain in DOMAINS}
    kinds = values.pop("facts")
    situations = [s for domain, page in domains.items() for s in _situations(domain, page)]
    return Tables(
        situations={situation.id: situation for situation in situations},
        actions={domain: tuple(page["actions"].values()) for domain, page in domains.items()},
        kinds={name: _kind(name, page) for name, page in kinds.items()},
        phrases=values,
        sha256=_digest(pages),
        asked_sha256=_digest({name: page for name, page in pages.items() if _is_asked(name)} | _forms(values)),
    )


def _digest(pages: Mapping[str, bytes]) -> str:
    sha = hashlib.sha256()
    for name, page in pages.items():
        sha.update(f"{name}\0{len(page)}\0".encode() + page)
    return sha.hexdigest()


def _is_asked(name: str) -> bool:
    return name.startswith("domains/") or name in ("facts.yaml", "orders.yaml")


def _forms(values: Mapping[str, Any]) -> dict[str, bytes]:
    """The forms of those questions that a screen asks and that stand beside others."""
    return {name: "\n".join(values["questions"][name]).encode() for name in ("sums", "options")}


def _situations(domain: str, page: Mapping[str, Any]) -> list[Situation]:
    actions = page["actions"]
    return [
        Situation(
            id=f"{domain}/{name}",
            domain=domain,
            text=row["text"],
            helps=tuple(actions[key] for key in row["helps"]),
            harms=tuple(actions[key] for key in row["harms"]),
        )
        for name, row in page["situations"].items()
    ]


def _kind(name: str, page: Mapping[str, Any]) -> Kind:
    """A row has the answers, the wrong ones and the slips. Where no wrong answers are written, they are the right ones
    of three other facts.
    """
    first = {subject: row[0][0] for subject, row in page["facts"].items()}
    facts = []
    for subject, row in page["facts"].items():
        answers, written, slips = map(tuple, (*row, (), ())[:3])
        others = sorted({answer for answer in first.values() if answer not in answers})
        wrong = written or tuple(random.Random(f"wrong {name} {subject}").sample(others, 3))
        id_ = f"{name}/{subject}"
        facts.append(Fact(id=id_, kind=name, subject=subject, answers=answers, wrong=wrong, slips=slips))
    return Kind(name=name, questions=tuple(page["asked"]), statement=page["says"], facts=tuple(facts))


def deal(items: Sequence[T], split: Split) -> tuple[T, ...]:
    """The part of a list that belongs to a split.

    >>> [len(deal(range(24), split)) for split in Split]
    [10, 4, 10]
    """
    order = list(items)
    random.Random(f"split {items[0]!r} {len(order)}").shuffle(order)
    low, high = (round(share * len(order)) for share in BOUNDS[split])
    return tuple(order[low:high])
