"""What lies inside a pass: the stream after a layer, what enters a module, which tokens a vector in the stream makes
likelier, and how far two models' next tokens part.

The logit lens reads a vector as if the base ended there: final norm, then head (nostalgebraist 2020). The final norm is
reached through the body, whose last layer is made to give the vectors, so that no family need be known by name.

Left out: attention patterns; a lens that is trained (Belrose et al. 2023, arXiv 2303.08112).
Shapes: B rows, T tokens, D width, N vectors or answer tokens, V words, I what a module takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flyroom.engine.bases import Base
from flyroom.engine.batches import Collated
from flyroom.engine.beginnings import WHOLE, Behind
from flyroom.engine.past import Enough
from flyroom.engine.training import LOGITS, answer_states
from flyroom.types import Place

LENS = 32  # vectors in one pass of the lens


def layer_of(at: str, depth: int) -> tuple[int, str]:
    """The layer and, below it, the module that a place names: "layers.3" is the stream after layer 3,
    "layers.3.mlp.down_proj" what enters that module. ValueError for a layer that there is not.

    >>> layer_of("layers.3.mlp.down_proj", 4)
    (3, 'mlp.down_proj')
    """
    word, _, rest = at.partition(".")
    number, _, module = rest.partition(".")
    if word != "layers" or not number.isdecimal() or int(number) >= depth:
        raise ValueError(f"at is {at!r}; it must be layers.L or layers.L.MODULE, with L from 0 to {depth - 1}")
    return int(number), module


def states(base: Base, batch: Collated, layer: int, module: str) -> list[Tensor]:
    """What lies at a place for every token of each row of a batch, each [tokens, D or I], fp32. The pass ends there."""
    values: list[Tensor] = []

    def take(value: Any) -> None:
        values.append(value[0] if isinstance(value, tuple) else value)
        raise Enough

    where = base.layers[layer]
    if module:
        hook = where.get_submodule(module).register_forward_pre_hook(lambda _m, args: take(args))
    else:
        hook = where.register_forward_hook(lambda _m, _a, out: take(out))
    try:
        base.body(input_ids=batch.ids_BT, use_cache=False)
    except Enough:
        pass
    finally:
        hook.remove()
    return [value[: len(row.ids)].float() for value, row in zip(values[0], batch.rows, strict=True)]


def residuals(base: Base, batch: Collated, layers: set[int], at: Place, behind: Behind = WHOLE) -> dict[int, Tensor]:
    """Returns, by layer, the mean residual over answer tokens, or that at the token before them: [B, D] fp32."""
    means: dict[int, Tensor] = {}
    share_BT = batch.answer_BT / batch.answer_BT.sum(1, keepdim=True)
    if at == "prompt":
        before_B = batch.answer_BT.int().argmax(1, keepdim=True) - 1
        share_BT = torch.zeros_like(share_BT).scatter_(1, before_B, 1.0)

    def keep(layer: int, output: Any) -> None:
        hidden_BTD = output[0] if isinstance(output, tuple) else output
        means[layer] = torch.einsum("bt,btd->bd", share_BT[:, behind.tokens :], hidden_BTD.float())
        if layer == max(layers):
            raise Enough

    hooks = [base.layers[l].register_forward_hook(lambda _m, _a, out, l=l: keep(l, out)) for l in layers]
    try:
        ids_BT, cache = batch.ids_BT[:, behind.tokens :], behind.cache
        base.body(input_ids=ids_BT, past_key_values=cache, use_cache=cache is not None)
    except Enough:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return means


def lens(base: Base, vectors_ND: Tensor) -> Tensor:
    """The logits that vectors in the stream come to, less their mean over all words: [N, V] fp32, CPU."""
    pieces = [_lens(base, piece_ND) for piece_ND in vectors_ND.split(LENS)]
    return torch.cat(pieces) if pieces else torch.zeros(0, int(base.config.vocab_size))


def _lens(base: Base, vectors_ND: Tensor) -> Tensor:
    dtype = next(base.model.parameters()).dtype

    def give(_module: object, _args: object, out: Any) -> Any:
        entry_1ND = vectors_ND[None].to(base.device, dtype)
        return (entry_1ND, *out[1:]) if isinstance(out, tuple) else entry_1ND

    hook = base.layers[-1].register_forward_hook(give)
    try:
        ids_1N = torch.zeros(1, len(vectors_ND), dtype=torch.int64, device=base.device)
        hidden_1ND = base.body(input_ids=ids_1N, use_cache=False).last_hidden_state
    finally:
        hook.remove()
    logits_NV = base.head(hidden_1ND[0]).float().cpu()
    return logits_NV - logits_NV.mean(-1, keepdim=True)


def divergence(base: Base, batch: Collated, reroute: Callable[[], None]) -> list[Tensor]:
    """KL(first || second) at each answer token of each row of a batch, in nats, each [answer tokens] fp32. The first
    model is the one that is routed; `reroute` routes the second.
    """
    first_ND, _ = answer_states(base, batch)
    reroute()
    second_ND, _ = answer_states(base, batch)
    size = max(1, LOGITS // int(base.config.vocab_size))
    pieces = [_kl(base.head(p), base.head(q)) for p, q in zip(first_ND.split(size), second_ND.split(size), strict=True)]
    return list(torch.cat(pieces).cpu().split(batch.counts))


def _kl(p_NV: Tensor, q_NV: Tensor) -> Tensor:
    log_p, log_q = p_NV.float().log_softmax(-1), q_NV.float().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).clamp_min(0)


def likeliest(logits_NV: Tensor, k: int, write: Callable[[int], str]) -> list[list[tuple[str, float]]]:
    """The k words of each vector that it raises most, each with by how much."""
    tops = logits_NV.topk(min(k, logits_NV.shape[-1]), dim=-1)
    pairs = zip(tops.indices.tolist(), tops.values.tolist(), strict=True)
    return [[(write(token), value) for token, value in zip(*pair, strict=True)] for pair in pairs]


def write_tokens(rows: Sequence[Any], write: Callable[[int], str]) -> list[list[str]]:
    """The text of each token of rendered rows."""
    return [[write(int(token)) for token in row.ids] for row in rows]


def by_text(top_2K: Tensor, write: Callable[[int], str]) -> dict[str, float]:
    """Returns log-probabilities by the text of their tokens; tokens of the same text are added up."""
    logprobs: dict[str, float] = {}
    for logprob, token in top_2K.T.tolist():
        text = write(int(token))
        logprobs[text] = float(np.logaddexp(logprobs.get(text, -math.inf), logprob))
    return logprobs


def spread(base: Base) -> dict[str, float]:
    """The standard deviation of the base's weights, by the path of each linear module."""
    return {
        f"layers.{l}.{name}": float(module.weight.float().std())
        for l, layer in enumerate(base.layers)
        for name, module in layer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
