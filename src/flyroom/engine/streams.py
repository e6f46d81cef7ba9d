"""How the linear modules of a base see a batch: row by row, with the tokens of all rows in one list, or as a choice.

An adapter is added to the rows that are its own, so a module must see them as rows. Some families put the tokens of all
rows into one list first (OPT's feed-forward, gates of experts): the list is cut into rows again. Others give an expert
those tokens that a gate chose for it: whose they are cannot be told, so no adapter stands there.

It is read off one batch. Left out: modules that are called for some inputs alone, which count as chosen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ROWS, TOKENS = 2, 5


class Streams(NamedTuple):
    """The paths of modules ("layers.0.fc1") that see one list of tokens, and of those that see a choice of them."""

    lists: frozenset[str] = frozenset()
    choices: frozenset[str] = frozenset()


AS_ROWS = Streams()


@torch.inference_mode()
def find_streams(body: Any, layers: nn.ModuleList, *, vocabulary: int, device: torch.device) -> Streams:
    """What every linear module of the layers sees. Raises what the model raises for two rows of five tokens."""
    shapes: dict[str, set[tuple[int, ...]]] = {}
    hooks = []
    for l, layer in enumerate(layers):
        for name, module in layer.named_modules():
            if isinstance(module, nn.Linear):
                shapes[f"layers.{l}.{name}"] = sizes = set()
                hooks.append(module.register_forward_pre_hook(_note(sizes)))
    ids_BT = (torch.arange(ROWS * TOKENS, device=device) * 7 + 3).view(ROWS, TOKENS) % vocabulary
    try:
        body(input_ids=ids_BT, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    kinds = {path: _kind(path, sizes) for path, sizes in shapes.items()}
    lists, choices = (frozenset(path for path, kind in kinds.items() if kind == which) for which in ("list", "choice"))
    return Streams(lists, choices)


def _note(sizes: set[tuple[int, ...]]) -> Any:
    def hook(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        sizes.update(tuple(x.shape[:-1]) for x in args[:1])

    return hook


def _kind(path: str, sizes: set[tuple[int, ...]]) -> str:
    if len(sizes) == 1:
        (shape,) = sizes
        if len(shape) == 2 and shape[0] == ROWS:
            return "rows"
        if shape == (ROWS * TOKENS,) and "experts" not in path.split("."):  # all ten may be one expert's by chance
            return "list"
    return "choice"
