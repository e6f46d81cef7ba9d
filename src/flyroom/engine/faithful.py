"""Whether a base can be asked in company: a few tokens through it when it is opened, and a refusal where they differ.

The engine puts rows of different lengths, and of different adapters, into one batch. So a base must give a row the same
alone and beside a longer one, whether padding stands before it (sampling) or behind it (training, scoring, tracing),
and whether its prompt went through beforehand or not. Layers that keep a state in place of keys and values take padding
into it; they are refused by what their cache is. What else differs shows in the passes. A base that differs over a
fixed cache alone is not refused: its cache grows.

Rotary embeddings that change with the longest row of a batch (longrope, dynamic NTK) are fixed at their frequencies for
short rows, so a row is the same in any company.

Left out: rows longer than a sliding window; capacity limits of experts, which show only in large batches.
Shapes: B rows, T tokens, D width.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from flyroom.engine.bases import Base

SHORT, LONG = 7, 12  # tokens of the two rows
ATTENDING = (DynamicLayer, DynamicSlidingWindowLayer)  # caches of keys and values, and of nothing besides
BROKEN = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError)
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.1}  # of the largest entry of what is compared


def fix_rope(model: nn.Module) -> None:
    """Make every rotary embedding the same for every length of a batch. Its frequencies stay those it begins with."""
    for module in model.modules():
        kind: Any = getattr(module, "rope_type", None)
        if isinstance(kind, dict):
            module.__dict__["rope_type"] = {name: _fixed(value, module, name) for name, value in kind.items()}
        elif isinstance(kind, str):
            module.__dict__["rope_type"] = _fixed(kind, module, None)


def _fixed(kind: str, module: Any, layer: str | None) -> str:
    if kind != "longrope" and "dynamic" not in kind:
        return kind
    parameters = module.config.rope_parameters[layer] if layer else module.config.rope_parameters
    if kind == "longrope":
        limit = parameters.get("original_max_position_embeddings")
        warnings.warn(
            f"{type(module).__name__} scales positions by the longest row of a batch (longrope); every row gets the "
            f"scale of rows of up to {limit} tokens, so use no longer ones",
            stacklevel=5,
        )
    return "fixed"


@torch.inference_mode()
def check_head(base: Base) -> None:
    """ValueError unless body and head together give the logits of the model."""
    ids = torch.arange(4, device=base.device)[None]
    try:
        logits_NV = base.head(base.body(input_ids=ids, use_cache=False).last_hidden_state)
        expected_NV = base.model(input_ids=ids, use_cache=False).logits
    except BROKEN as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{type(base.model).__name__} cannot take four tokens: {why}") from error
    limit = TOLERANCE.get(expected_NV.dtype, 0.1) * float(expected_NV.float().abs().max())
    if not float((logits_NV.float() - expected_NV.float()).abs().max()) <= limit:
        raise ValueError(f"{type(base.model).__name__} does something before its logits that flyroom does not know")


@torch.inference_mode()
def check_company(base: Base) -> None:
    """ValueError for a base whose rows cannot stand in one batch."""
    name = type(base.model).__name__
    layers = DynamicCache(config=base.config).layers
    state = next((type(layer).__name__ for layer in layers if type(layer) not in ATTENDING), None)
    if state:
        raise ValueError(
            f"{name} keeps a state beside or in place of keys and values ({state}), which padding would enter: rows of "
            "different lengths cannot be asked in one batch; give a base whose layers all attend"
        )
    try:
        faults = _compare(base)
    except BROKEN as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{name} cannot be asked in one batch with others: {why}") from error
    if faults:
        raise ValueError(f"{name} answers otherwise in company: a short row differs {' and '.join(faults)}")


@torch.inference_mode()
def can_fix(base: Base) -> bool:
    """Whether a pass over a fixed cache gives what one over a growing cache does. Its mask says of each column whether
    it is seen, which torch's own attention takes; other kinds add it to their scores, or want to count the columns.
    """
    from flyroom.engine.past import joins  # which imports bases

    if base.config._attn_implementation != "sdpa" or not joins(base):
        return False
    short_T, long_T = _rows(base)
    before_D = _before(base, short_T, long_T)
    try:
        fixed_D = _before(replace(base, fixes=True), short_T, long_T, fixed=True)
    except BROKEN:
        return False
    return float((fixed_D - before_D).abs().max()) <= _limit(base, before_D)


def _rows(base: Base) -> tuple[Tensor, Tensor]:
    """The tokens of the short row and of the long one."""
    size = int(base.config.vocab_size)
    long_T = (torch.arange(LONG, device=base.device) * 7 + 3) % size
    return (torch.arange(SHORT, device=base.device) * 5 + 2) % size, long_T


def _limit(base: Base, states: Tensor) -> float:
    """How far two computations of the same states may differ."""
    return TOLERANCE.get(next(base.model.parameters()).dtype, 0.1) * float(states.abs().max())


def _compare(base: Base) -> list[str]:
    """In which places the short row differs from itself alone."""
    short_T, long_T = _rows(base)
    alone_TD = base.body(input_ids=short_T[None], use_cache=False).last_hidden_state[0].float()
    limit = _limit(base, alone_TD)
    behind_TD = _behind(base, short_T, long_T)
    before_D = _before(base, short_T, long_T)
    differences = {
        "with padding behind it": (behind_TD - alone_TD).abs().max(),
        "with padding before it": (before_D - alone_TD[-1]).abs().max(),
    }
    return [place for place, difference in differences.items() if not float(difference) <= limit]


def _behind(base: Base, short_T: Tensor, long_T: Tensor) -> Tensor:
    """The short row's hidden states beside the long one, as in training: padded behind, without a mask. [T, D]"""
    padded_T = torch.cat([short_T, short_T.new_zeros(LONG - SHORT)])
    return base.body(input_ids=torch.stack([padded_T, long_T]), use_cache=False).last_hidden_state[0, :SHORT].float()


def _before(base: Base, short_T: Tensor, long_T: Tensor, *, fixed: bool = False) -> Tensor:
    """The short row's last hidden state beside the long one, as in sampling: padded before, all tokens but the last put
    through beforehand. The last goes through a cache that is `fixed` or grows. [D]
    """
    from flyroom.engine.past import Part, Past  # which imports bases

    ids_BT = torch.stack([torch.cat([short_T.new_zeros(LONG - SHORT), short_T]), long_T])
    past = Past(base, 2, 0, LONG)
    past.real_BC[0, : LONG - SHORT], past.padded = False, True
    places_BT = past.real_BC.cumsum(1).sub(1).clamp(min=0)
    past.advance(ids_BT[:, :-1], places_BT[:, :-1])
    if fixed:
        growing, past = past, Past(base, 2, LONG - 1, SHORT, fixed=True)
        past.take([Part(growing, (0, 1), LONG - 1, (0, 1))])
    return past.advance(ids_BT[:, -1:], places_BT[:, -1:])[0].float()
