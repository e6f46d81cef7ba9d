"""Put prompts through the model before their answers: a prompt that an adapter gets several times goes through once,
and so does a beginning that several of its prompts share, such as a system message. Below the lowest adapter a prompt
that several adapters get goes through once (`trunk`).

A beginning goes through as if it were a prompt, and the rows that share it copy its keys and values before they go on.
Its length is the one that spares the most tokens, if these are worth another pass. Beginnings may share a beginning in
turn.

Left out: prompts of earlier batches; sharing where layers keep a sliding window, which counts padding as tokens.
Shapes: U rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flyroom.engine import trunk
from flyroom.engine.bank import Banks
from flyroom.engine.bases import Base
from flyroom.engine.batches import groups, left_pad, pass_cost
from flyroom.engine.past import Part, Past, joins

Tokens = NDArray[np.int64]


def put_through(
    base: Base, banks: Banks, owners: Sequence[int], prompts: Sequence[Tokens], places: Sequence[int]
) -> Part:
    """Returns the keys and values of prompts, grouped by owner, for these places of a batch. The banks stay routed."""
    place: dict[tuple[int, bytes], int] = {}
    rows = [
        place.setdefault((owner, prompt.tobytes()), len(place)) for owner, prompt in zip(owners, prompts, strict=True)
    ]
    firsts = {u: i for i, u in enumerate(rows)}.values()
    owners, prompts = [owners[i] for i in firsts], [prompts[i] for i in firsts]
    shared = beginning(owners, prompts, worth=pass_cost(base.device)) if joins(base) else 0
    ids_UT, real_UT = left_pad([prompt[shared:] for prompt in prompts], base.device)
    past = Past(base, len(prompts), shared, ids_UT.shape[1])
    if shared:
        past.take([put_through(base, banks, owners, [prompt[:shared] for prompt in prompts], range(len(prompts)))])
    if real_UT is not None:
        past.real_BC[:, shared:], past.padded = real_UT, True
    banks.route(groups(owners))
    position_UT = past.real_BC.cumsum(1).sub_(1).clamp_(min=0)[:, shared:]
    trunk.fill(base, banks.lowest, past, prompts, ids_UT, position_UT)
    return Part(past, rows, past.length, places)


def beginning(owners: Sequence[int], prompts: Sequence[Tokens], *, worth: int) -> int:
    """Returns how many tokens to put through beforehand, once for all prompts of an owner that share them.

    It is the number that spares the most tokens, or 0 if that spares at most `worth` tokens. A shorter prompt goes
    through whole.
    """
    lengths = np.sort(np.array(common(owners, prompts), dtype=np.int64))[::-1]
    spared = lengths * np.arange(1, len(lengths) + 1)
    return int(lengths[spared.argmax()]) if spared.size and spared.max() > worth else 0


def common(owners: Sequence[int], prompts: Sequence[Tokens]) -> list[int]:
    """Returns, for each of an owner's prompts after the first, how many tokens it shares with the one before it. The
    prompts are sorted so that these are as many as possible.
    """
    order = sorted(range(len(prompts)), key=lambda i: (owners[i], prompts[i].tobytes()))
    return [count_shared(prompts[i], prompts[j]) for i, j in pairwise(order) if owners[i] == owners[j]]


def count_shared(a: Tokens, b: Tokens) -> int:
    """Returns with how many tokens both begin."""
    n = min(len(a), len(b))
    differ = a[:n] != b[:n]
    return int(differ.argmax()) if differ.any() else n
