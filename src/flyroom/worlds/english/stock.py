"""What a base may be asked: everything in the tables, or of it what a screen says that the base knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from flyroom.types import Split
from flyroom.worlds.english.tables import DOMAINS, Fact, Kind, Situation, deal, order_id, tables

# Items of a part in each split: with fewer the part is left out.
FEWEST = {Split.TRAIN: 3, Split.VALIDATION: 2, Split.HELD_OUT: 3}
FEWEST_PARTS = 2  # one to be taught in, one to be asked about
FEWEST_SUMS = 8
FEWEST_SENTENCES = 4


@dataclass(frozen=True)
class Stock:
    """Items by split. `ids` are those that are left: None for all of them. With `hints` every situation is left, for
    what helps in it is said.

    >>> len(Stock().facts(["capitals"], Split.HELD_OUT)) > 20
    True
    """

    ids: frozenset[str] | None = None
    hints: bool = True

    def facts(self, kinds: Iterable[str], split: Split) -> list[Fact]:
        return [fact for kind in kinds for fact in self._keep(deal(tables().kinds[kind].facts, split))]

    def situations(self, domains: Iterable[str], split: Split) -> list[Situation]:
        table = tables().situations.values()
        situations = [s for domain in domains for s in deal([s for s in table if s.domain == domain], split)]
        return situations if self.hints else self._keep(situations)

    def sums(self, split: Split) -> list[str]:
        return [text for text in deal(tables().sums, split) if self._is_asked(f"sums/{text}")]

    def sentences(self, split: Split) -> list[str]:
        """What may be ordered to be said again."""
        sentences = tables().phrases["orders"]["sentences"]
        return [text for text in deal(sentences, split) if self._is_asked(order_id(text))]

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Kinds of facts of which enough are left in each split."""
        return {
            name: kind
            for name, kind in tables().kinds.items()
            if all(len(self.facts([name], split)) >= FEWEST[split] for split in Split)
        }

    @cached_property
    def domains(self) -> tuple[str, ...]:
        return tuple(d for d in DOMAINS if all(len(self.situations([d], split)) >= FEWEST[split] for split in Split))

    def check(self, source: str) -> None:
        """ValueError where a screen leaves too little to ask; `source` is the file that it came from."""
        sums, sentences = (min(len(items(split)) for split in Split) for items in (self.sums, self.sentences))
        for what, count, fewest in (
            ("kinds of facts with enough in each split", len(self.kinds), FEWEST_PARTS),
            ("domains with enough situations in each split", len(self.domains), FEWEST_PARTS),
            ("sums in the smallest split", sums, FEWEST_SUMS),
            ("sentences that it says again in the smallest split", sentences, FEWEST_SENTENCES),
        ):
            if count < fewest:
                raise ValueError(
                    f"screen is {source}; of what it leaves there are {count} {what}, and there must be {fewest}: the "
                    "base knows too little to be asked about this world, so take another base or no screen"
                )

    def _keep(self, items: Sequence[Fact] | Sequence[Situation]) -> list:
        return [item for item in items if self._is_asked(item.id)]

    def _is_asked(self, id_: str) -> bool:
        return self.ids is None or id_ in self.ids
