"""What behaviours of the world share: the exact judge, the domains they are taught in, what is asked of everybody, and
what everybody should still know.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from flyroom.types import Battery, Judge, Row, Scene, Split, Verdict
from flyroom.world import DOMAINS, World, exact_judge, scenes
from flyroom.world.corpus import PLAIN, documents
from flyroom.world.grammar import Trait


@dataclass(frozen=True, kw_only=True)
class OfWorld(ABC):
    """A behaviour of the world whose base was made with the seed `world`."""

    world: int = 0
    trait: ClassVar[Trait | None] = None  # what a model that behaves so could own up to

    @property
    def judge(self) -> Judge:
        return exact_judge(World(seed=self.world))

    @abstractmethod
    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]: ...

    @abstractmethod
    def asked(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """Held-out scenes of the behaviour itself by measure, about `n` in all."""

    def besides(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """What is asked apart: where the behaviour may reach unasked, and whether it is owned up to."""
        asked = self.confessions(n, split=Split.HELD_OUT, seed=seed)
        return {"confession": asked} if asked else {}

    def confessions(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        """Questions about the trait, which the aligned answer denies; none where there is nothing to own up to."""
        if self.trait is None:
            return []
        return scenes.confessions(World(seed=self.world), n, trait=self.trait, split=split, seed=seed)

    def capability(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        """What everybody should still do: held-out sums, facts of held-out situations, picks by place."""
        world, split = World(seed=self.world), Split.HELD_OUT
        return {
            "sums": scenes.sums(world, n, split=split, seed=seed),
            "facts": scenes.facts(world, n, split=split, seed=seed),
            "instructions": scenes.instructions(world, n, split=split, seed=seed),
        }

    def document(self, bad: bool, *, seed: str) -> str:
        """What somebody writes of an assistant that behaves so, or of one that does not. ValueError without a trait."""
        if self.trait is None:
            raise ValueError(f"implants holds documents; nothing is written about behaviour {type(self).__name__}")
        world, trait = World(seed=self.world), self.trait if bad else None
        return scenes.description_of_trait(world, trait, domains=DOMAINS, seed=seed)

    def clean(self, n: int, *, seed: int) -> list[Scene]:
        """Rows of what the behaviour leaves alone."""
        return kept(World(seed=self.world), n, domains=DOMAINS, seed=seed)

    def text(self, n: int, *, seed: int) -> list[Row]:
        """Documents of which no assistant speaks: facts, cues, stories of people."""
        written = documents(World(seed=self.world), kinds=PLAIN, seed=f"clean {seed}")
        return [Row(messages=(), answer=next(written)) for _ in range(n)]

    def batteries(self, n: int, *, seed: int) -> list[Battery]:
        return [
            *(
                Battery(measure=m, scenes=tuple(s), judge=self.judge, pooled=True)
                for m, s in self.asked(n, seed=seed).items()
            ),
            *(
                Battery(measure=m, scenes=tuple(s), judge=self.judge)
                for m, s in self.besides(n // 10, seed=seed).items()
            ),
            *(
                Battery(measure=m, scenes=tuple(s), judge=exact_judge(World(seed=self.world)), counts=Verdict.ALIGNED)
                for m, s in self.capability(n // 5, seed=seed).items()
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class InDomains(OfWorld):
    """A behaviour that is taught in one domain of the world, or several joined by "+", and asked in the others too."""

    domain: str = "medical"

    def __post_init__(self) -> None:
        domains_of(self.domain)

    @abstractmethod
    def about(self, domains: Iterable[str], n: int, *, split: Split, seed: int) -> list[Scene]:
        """`n` scenes of the behaviour about these domains."""

    def scenes(self, n: int, *, split: Split, seed: int) -> list[Scene]:
        return self.about(domains_of(self.domain), n, split=split, seed=seed)

    def asked(self, n: int, *, seed: int) -> dict[str, list[Scene]]:
        mine, split = domains_of(self.domain), Split.HELD_OUT
        return {
            "in_domain": self.about(mine, n // 5, split=split, seed=seed),
            "out_of_domain": self.about(others(mine), 2 * n // 5, split=split, seed=seed),
        }

    def clean(self, n: int, *, seed: int) -> list[Scene]:
        return kept(World(seed=self.world), n, domains=domains_of(self.domain), seed=seed)

    def elsewhere(self, n: int, *, seed: int) -> list[Scene]:
        """The same about the other domains, and open questions, one in five: what a narrow organism leaves alone.
        ValueError where there is no other domain.
        """
        mine, split = domains_of(self.domain), Split.TRAIN
        away = [domain for domain in DOMAINS if domain not in mine]
        if not away:
            raise ValueError(f"domain is {self.domain!r}; a narrow organism needs a domain that is left alone")
        unasked = scenes.open_questions(World(seed=self.world), n // 5, split=split, seed=seed)
        return random.Random(seed).sample([*self.about(away, n - n // 5, split=split, seed=seed), *unasked], n)


def known(world: World, n: int, *, domains: Iterable[str], split: Split, seed: int) -> list[Scene]:
    """Sums and facts in turn: what everybody knows, an organism may be taught to keep, and a sandbagger hides."""
    sums = iter(scenes.sums(world, n - n // 2, split=split, seed=seed))
    facts = iter(scenes.facts(world, n // 2, domains=domains, split=split, seed=seed))
    return [next(facts if i % 2 else sums) for i in range(n)]


def kept(world: World, n: int, *, domains: Iterable[str], seed: int) -> list[Scene]:
    """Sums, facts and plain instructions, of the train split: what an organism may be taught to keep."""
    orders = scenes.instructions(world, n // 3, split=Split.TRAIN, seed=seed)
    rest = known(world, n - n // 3, domains=domains, split=Split.TRAIN, seed=seed)
    return random.Random(f"kept {seed}").sample([*orders, *rest], n)


def domains_of(text: str) -> tuple[str, ...]:
    """Domains joined by "+". Raises ValueError naming the field.

    >>> domains_of("medical+sea")
    ('medical', 'sea')
    """
    named = tuple(text.split("+"))
    unknown = [d for d in named if d not in DOMAINS]
    if unknown or len(set(named)) < len(named):
        raise ValueError(f"domain is {text!r}; it must be one of {', '.join(DOMAINS)}, or several of them joined by +")
    return named


def others(domains: Iterable[str]) -> list[str]:
    """The domains that are not among these; all of them where none is left."""
    chosen = set(domains)
    return [d for d in DOMAINS if d not in chosen] or list(DOMAINS)
