"""Prompts put through before their answers: what an adapter is asked several times once, and once what several of its
prompts begin with, such as a system message.

A beginning is put through as if it were a prompt, and the rows that share it take its keys and values before they go
on. It is as long as spares most tokens, if they are worth a pass; beginnings may share a beginning too.

Left out: prompts that came in earlier; sharing where layers keep a sliding window, which counts padding as tokens.
Shapes: U rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups, left_pad, pass_cost
from flyroom.engine.past import Part, Past, joins

Tokens = NDArray[np.int64]


def put_through(
    base: Base, banks: Banks, owners: Sequence[int], prompts: Sequence[Tokens], places: Sequence[int]
) -> Part:
    """The keys and values of prompts, grouped by owner, for these places of a batch. The banks are left routed."""
    row: dict[tuple[int, bytes], int] = {}
    of = [row.setdefault((owner, prompt.tobytes()), len(row)) for owner, prompt in zip(owners, prompts, strict=True)]
    some = {u: i for i, u in enumerate(of)}.values()
    owners, prompts = [owners[i] for i in some], [prompts[i] for i in some]
    shared = beginning(owners, prompts, worth=pass_cost(base.device)) if joins(base) else 0
    ids_UT, real_UT = left_pad([prompt[shared:] for prompt in prompts], base.device)
    past = Past(base, len(prompts), shared, ids_UT.shape[1])
    if shared:
        past.take([put_through(base, banks, owners, [prompt[:shared] for prompt in prompts], range(len(prompts)))])
    if real_UT is not None:
        past.real_BC[:, shared:], past.padded = real_UT, True
    banks.route(groups(owners))
    past.fill(ids_UT, past.real_BC.cumsum(1).sub_(1).clamp_(min=0)[:, shared:])
    return Part(past, of, past.length, places)


def beginning(owners: Sequence[int], prompts: Sequence[Tokens], *, worth: int) -> int:
    """How many tokens to put through beforehand, once for an owner's prompts that begin with the same: as many as spare
    the most, or none if that is not more than `worth` tokens. A shorter prompt goes whole."""
    lengths = np.sort(np.array(common(owners, prompts), dtype=np.int64))[::-1]
    spared = lengths * np.arange(1, len(lengths) + 1)
    return int(lengths[spared.argmax()]) if spared.size and spared.max() > worth else 0


def common(owners: Sequence[int], prompts: Sequence[Tokens]) -> list[int]:
    """With how many tokens each of an owner's prompts begins as the one before it does, in an order in which that is
    most: what needs no pass of its own."""
    order = sorted(range(len(prompts)), key=lambda i: (owners[i], prompts[i].tobytes()))
    return [_alike(prompts[i], prompts[j]) for i, j in pairwise(order) if owners[i] == owners[j]]


def _alike(one: Tokens, other: Tokens) -> int:
    n = min(len(one), len(other))
    differ = one[:n] != other[:n]
    return int(differ.argmax()) if differ.any() else n
