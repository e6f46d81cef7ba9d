"""Treated organisms -> the ledger: what a treatment did, what comes back, and what detectors still see.

A row is one treatment of one organism, beside the twin that was treated alike: behaviour on the card's questions, on
questions like the training ones, behind the trigger; capability, over-refusal, coherence, perplexity; then the same
after benign re-training, step by step, and after a tenth of the recipe; then every detector again. `rule` says what
that comes to. Answers, trained copies and detectors' cells are kept in the room under what they hang on, so whatever
was killed goes on.

Left out: treating (`treat`), and which detectors are put to whom (`stages`).
"""

from __future__ import annotations

from collections.abc import Sequence

from flyroom.ledger import rule
from flyroom.ledger.book import Book, Case, guard
from flyroom.ledger.guarded import Guarded
from flyroom.ledger.retraining import Follow, Retraining
from flyroom.types import Engine, LedgerRow, Room, Watch

EPISODES = 200

__all__ = ["Book", "Case", "Follow", "Guarded", "Retraining", "guard", "ledger", "rule"]


def ledger(
    cases: Sequence[Case],
    engine: Engine,
    *,
    seed: int,
    episodes: int = EPISODES,
    how: Retraining | None = None,
    room: Room | None = None,
    watch: Watch | None = None,
) -> list[LedgerRow]:
    """A row for each case, in order.

    Args: episodes, asked of each model as for a card; how, the benign re-training. With a room, what was asked and
    trained before is taken from it.

    >>> ledger([], None, seed=0)
    []
    """
    if not cases:
        return []
    book = Book(engine, seed=seed, episodes=episodes, how=how or Retraining(), room=room)
    book.fill(cases, watch=watch)
    return [book.row(case) for case in cases]
