"""Top-p sampling beside `noise`, and the log-probabilities of what was drawn.

A nucleus is the fewest likeliest tokens whose probabilities sum to at least p, at the row's temperature. Tokens outside
of it get a logit of minus infinity before `noise.choose` draws; so the draw is that of the whole distribution wherever
that one lies inside, and a row without a limit is drawn bit for bit as before.

Log-probabilities are those of the model, at temperature 1 and over the whole vocabulary, as `Engine.logprobs` has them.

Source: Holtzman et al. 2020, arXiv 1904.09751.
Left out: top-k, min-p, penalties. An organism is measured on its whole distribution; top-p is for clients that send it.
Shapes: B rows, V vocabulary, K likeliest.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Chances(NamedTuple):
    """The log-probability of each row's token, [B], and those of its K likeliest tokens with their ids, [B, K]."""

    token_B: Tensor
    top_BK: Tensor
    ids_BK: Tensor


def keep_nucleus(logits_BV: Tensor, temperature_B: Tensor, top_p_B: Tensor) -> Tensor:
    """Returns the logits in fp32, minus infinity outside of each row's nucleus. The likeliest token always stays.

    >>> keep_nucleus(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1.0]), torch.tensor([0.7])).tolist()
    [[2.0, 1.0, -inf]]
    """
    logits_BV = logits_BV.float()
    limited_B = top_p_B < 1
    if not bool(limited_B.any()):
        return logits_BV
    temperature_B = torch.where(temperature_B == 0, 1.0, temperature_B)
    share_BV, order_BV = torch.sort((logits_BV / temperature_B[:, None]).softmax(-1), descending=True, stable=True)
    before_BV = share_BV.cumsum(-1) - share_BV
    outside_BV = before_BV >= top_p_B[:, None]
    outside_BV[:, 0] = False
    outside_BV &= limited_B[:, None]
    return logits_BV.masked_fill(torch.zeros_like(outside_BV).scatter_(1, order_BV, outside_BV), -torch.inf)


def chances(logits_BV: Tensor, token_B: Tensor, k: int) -> Chances:
    """Returns the log-probabilities of tokens, and of the `k` likeliest beside each."""
    logprobs_BV = logits_BV.float().log_softmax(-1)
    top = logprobs_BV.topk(min(k, logprobs_BV.shape[1]))
    return Chances(logprobs_BV.gather(1, token_B[:, None])[:, 0], top.values, top.indices)
