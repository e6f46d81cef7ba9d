"""Put a beginning that rows share through the model once for each adapter, in training as in sampling.

Rows of a chat model mostly begin with the same system message, which is a third of a short row. An adapter computes the
same keys and values there in each of its rows. So the beginning goes through first, as one row an adapter. Each batch
copies its keys and values and goes on behind it, and collects gradients at them. At the end these go back through the
beginning. The gradient is that of whole rows, up to rounding.

Left out: beginnings that differ within their first `ALIKE` tokens; layers that keep a sliding window.
Shapes: K adapters, T tokens, B rows, N answer tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from flyroom.engine.bank import Banks, Group, Leaf
from flyroom.engine.bases import Base
from flyroom.engine.batches import collate, pass_cost
from flyroom.engine.past import is_filled, joins, states_of
from flyroom.engine.prefix import Prefix
from flyroom.engine.prompts import count_shared
from flyroom.engine.render import Rendered

ALIKE = 16  # rows with these first tokens in common are looked at together
PASSES = 2  # that are more: the beginning's, and one for rows that stand apart
WORTH = 1 / 8  # the share of the rows' tokens that must be spared: smaller passes run slower


def split(base: Base, owners: Sequence[int], rows: Sequence[Rendered]) -> Iterator[tuple[list[int], int]]:
    """Yields row numbers that go through the model together, and how many first tokens these rows share: at most up to
    the last token before an answer. It is 0 for rows of which the beginning would spare too little.
    """
    alike, rest = dict[bytes, list[int]](), list[int]()
    for i, row in enumerate(rows):
        alike.setdefault(row.ids[:ALIKE].tobytes(), []).append(i)
    for which in alike.values():
        shared = _shared_by_all([rows[i] for i in which])
        spared = shared * (len(which) - len({owners[i] for i in which}))
        tokens = sum(len(rows[i].ids) for i in which)
        if joins(base) and spared > max(WORTH * tokens, PASSES * pass_cost(base.device)):
            yield which, shared
        else:
            rest += which
    if rest:
        yield sorted(rest), 0


def _shared_by_all(rows: Sequence[Rendered]) -> int:
    last = min(row.start for row in rows) - 1
    return min(count_shared(rows[0].ids[:last], row.ids[:last]) for row in rows)


class Behind(NamedTuple):
    """How many first tokens of a batch's rows went through before, and their keys and values from layer `start` on."""

    tokens: int = 0
    cache: DynamicCache | None = None
    start: int = 0


WHOLE = Behind()  # rows that go through from their first token on


class Beginning:
    """The keys and values of a beginning, [K, heads, T, head width] in each layer from the lowest adapter's on, or from
    `start`: a row for each adapter, by slot. The `prefix` has what lies below. Without `leaves` the banks' weights are
    used.
    """

    def __init__(
        self,
        base: Base,
        banks: Banks,
        prefix: Prefix,
        leaves: Sequence[Leaf] | None,
        ids_T: NDArray[np.int64],
        owners: Sequence[int],
        *,
        start: int | None = None,
    ) -> None:
        self.base, self.tokens = base, len(ids_T)
        self._place = {slot: k for k, slot in enumerate(dict.fromkeys(owners))}
        banks.route([Group(slot, k, 1) for slot, k in self._place.items()], leaves)
        cache = DynamicCache(config=base.config)
        batch = collate([Rendered(ids_T, self.tokens)] * len(self._place), base.device)
        with prefix.below(banks.lowest if start is None else min(start, banks.lowest), batch):
            base.body(input_ids=batch.ids_BT, past_key_values=cache, use_cache=True)
        self._states = {l: states_of(layer) for l, layer in enumerate(cache.layers) if is_filled(layer)}
        self._leaves = {
            l: [states.detach().requires_grad_(states.requires_grad) for states in pair]
            for l, pair in self._states.items()
        }

    def behind(self, owners: Sequence[int]) -> Behind:
        """Returns what rows of these owners go on behind. The layers below the lowest adapter are the prefix's."""
        rows_B = torch.tensor([self._place[slot] for slot in owners], device=self.base.device)
        cache = DynamicCache(config=self.base.config)
        for l, pair in self._leaves.items():
            keys, values = (states.index_select(0, rows_B) for states in pair)
            cache.update(keys, values, l)
            if not is_filled(cache.layers[0]):  # there the body reads where the rows go on; nobody attends to it
                cache.update(keys.detach(), values.detach(), 0)
        return Behind(self.tokens, cache, min(self._leaves))

    def backward(self) -> None:
        """Send the gradients that the batches left at the keys and values back through the beginning."""
        pairs = zip(chain(*self._states.values()), chain(*self._leaves.values()), strict=True)
        learnt = [(states, leaf.grad) for states, leaf in pairs if leaf.grad is not None]
        torch.autograd.backward([states for states, _ in learnt], [grad for _, grad in learnt])
