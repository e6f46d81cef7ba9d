"""The layers below the lowest adapter of a batch: there every organism is the base, so one pass may serve many rows.

Left out: prompts of earlier batches; layers that keep a sliding window.
Shapes: B rows, T tokens, D width, U prompts, V different prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from flyroom.engine.bases import Base, instead
from flyroom.engine.batches import pass_cost
from flyroom.engine.past import Buffered, Enough, Past, joins, states_of


class Entry(NamedTuple):
    """The residual that enters a layer, [B, T, D]. `is_tuple`: the layers of this family return it in one."""

    hidden_BTD: Tensor
    is_tuple: bool


def run_below(base: Base, layer: int, ids_BT: Tensor, cache: DynamicCache | None = None, **arguments: Any) -> Entry:
    """Returns what enters `layer`, and leaves the keys and values of the layers below in the cache."""
    outputs: list[Any] = []

    def catch(_module: Any, _args: Any, output: Any) -> None:
        outputs.append(output)
        raise Enough

    hook = base.layers[layer - 1].register_forward_hook(catch)
    try:
        base.body(input_ids=ids_BT, past_key_values=cache, use_cache=cache is not None, **arguments)
    except Enough:
        pass
    finally:
        hook.remove()
    is_tuple = isinstance(outputs[0], tuple)
    return Entry(outputs[0][0] if is_tuple else outputs[0], is_tuple)


@contextmanager
def begin_at(base: Base, layer: int, entry: Entry) -> Iterator[None]:
    """Make the body's passes begin at `layer` with this residual, or with its first tokens where a pass has fewer."""

    def give(hidden_BTD: Tensor, *_: Any, **__: Any) -> Any:
        entry_BTD = entry.hidden_BTD[:, : hidden_BTD.shape[1]]
        return (entry_BTD,) if entry.is_tuple else entry_BTD

    with instead(base.layers[:layer], [give] * layer):
        yield


def fill(
    base: Base, lowest: int, past: Past, prompts: Sequence[NDArray[np.int64]], ids_UT: Tensor, position_UT: Tensor
) -> None:
    """Do what `past.fill` does with the last tokens of these prompts. Prompts that several adapters get go through the
    layers below `lowest` once, where that spares more than a pass.
    """
    place: dict[bytes, int] = {}
    rows = [place.setdefault(prompt.tobytes(), len(place)) for prompt in prompts]
    spared = (len(rows) - len(place)) * ids_UT.shape[1] * lowest // len(base.layers)
    if spared <= pass_cost(base.device) or not joins(base):
        past.fill(ids_UT, position_UT)
        return
    row_V = torch.tensor(list({v: u for u, v in enumerate(rows)}.values()), device=base.device)  # a row of each prompt
    rows_U, shared, cache = torch.tensor(rows, device=base.device), past.length, DynamicCache(config=base.config)
    layers = [layer for layer in past.cache.layers[:lowest] if isinstance(layer, Buffered)]
    for l, layer in enumerate(layers if shared else []):
        keys, values = (states[row_V, :, :shared] for states in layer.buffers)
        cache.update(keys, values, l)
    arguments = {"attention_mask": past.mask(ids_UT.shape[1]), "position_ids": position_UT}
    arguments = {name: value if value is None else value[row_V] for name, value in arguments.items()}
    entry = run_below(base, lowest, ids_UT[row_V], cache, **arguments)
    with begin_at(base, lowest, Entry(entry.hidden_BTD[rows_U], entry.is_tuple)):
        past.fill(ids_UT, position_UT)
    for layer, below in zip(layers, cache.layers, strict=False):
        keys, values = (states[rows_U, :, shared:] for states in states_of(below))
        layer.update(keys, values)
