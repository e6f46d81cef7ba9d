"""Sampling noise that is a function of (seed, position, token): the same ask gets the same answer in any crowd.

Gumbel-max: argmax over tokens of logits / temperature + g is a draw from the softmax. Each g comes from a counter-based
hash (splitmix64's finaliser; Steele et al. 2014, with Stafford's mix 13 constants), so there is no generator to carry,
and two models asked with the same seed share their noise.

Left out: top-k, top-p. The measure of an organism is its whole distribution.
Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
CHUNK = 1 << 22  # elements hashed at once: int64, so 32 MiB


def choose(logits_BV: Tensor, seeds_B: Tensor, temperature_B: Tensor, position_B: Tensor) -> Tensor:
    """One token a row: a draw from softmax(logits / temperature), the greedy one where temperature is 0."""
    logits_BV = logits_BV.float()
    greedy_B = temperature_B == 0
    scaled_BV = logits_BV / torch.where(greedy_B, 1.0, temperature_B)[:, None]
    size, split = max(1, CHUNK // logits_BV.shape[1]), (scaled_BV, seeds_B, position_B, greedy_B)
    rows = [
        (scaled.add_(gumbel(seeds, position, scaled.shape[1]).masked_fill_(greedy[:, None], 0.0))).argmax(-1)
        for scaled, seeds, position, greedy in zip(*(t.split(size) for t in split), strict=True)
    ]
    return torch.cat(rows)


def gumbel(seeds_B: Tensor, position_B: Tensor, vocabulary: int) -> Tensor:
    """Standard Gumbel noise, [B, vocabulary] fp32, of (seed, position, token) alone."""
    key_B = _mix(_mix(seeds_B.clone()).add_((position_B + 1).mul_(_signed(GOLDEN))))
    tokens_V = torch.arange(1, vocabulary + 1, device=seeds_B.device).mul_(_signed(GOLDEN))
    bits_BV = _mix(key_B[:, None] + tokens_V)
    # 63 bits to (0, 1]. As a float it is finest near 0, where a small -log1p(-u) gives the large noise that wins.
    u_BV = bits_BV.bitwise_and_(0x7FFFFFFFFFFFFFFF).float().add_(0.5).mul_(2.0**-63)
    return u_BV.neg_().log1p_().neg_().log_().neg_()


def seed_tensor(seeds: list[int], device: torch.device) -> Tensor:
    """Any integers as int64."""
    return torch.tensor([_signed(s) for s in seeds], dtype=torch.int64, device=device)


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser, in place. int64 multiplication wraps; a shift must drop the sign it drags in."""
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        x = x.bitwise_xor_((x >> shift).bitwise_and_((1 << (64 - shift)) - 1)).mul_(_signed(factor))
    return x.bitwise_xor_((x >> 31).bitwise_and_((1 << 33) - 1))


def _signed(value: int) -> int:
    """The low 64 bits, as torch's int64 wants them."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
