"""Sampling noise as a function of (seed, position, token): an ask gets the same answer in whatever batch it stands.

Gumbel-max: the argmax over tokens of logits / temperature + g is a draw from the softmax. Each g comes from a
counter-based hash (splitmix64's finaliser; Steele et al. 2014, with Stafford's mix 13 constants). So no generator needs
to be carried along, and two models that get the same seed share their noise.

Left out: top-k and top-p, because an organism is measured on its whole distribution.
Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
CHUNK = 1 << 22  # elements that are hashed at once: 32 MiB of int64


def choose(logits_BV: Tensor, seeds_B: Tensor, temperature_B: Tensor, position_B: Tensor) -> Tensor:
    """Returns one token a row: a draw from softmax(logits / temperature), or the likeliest where temperature is 0."""
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
    """Returns standard Gumbel noise, [B, vocabulary] fp32, which depends on (seed, position, token) alone."""
    key_B = _mix(_mix(seeds_B.clone()).add_((position_B + 1).mul_(_signed(GOLDEN))))
    tokens_V = torch.arange(1, vocabulary + 1, device=seeds_B.device).mul_(_signed(GOLDEN))
    bits_BV = _mix(key_B[:, None] + tokens_V)
    # 63 bits to (0, 1]. Floats are finest near 0, where a small -log1p(-u) gives the large noise that wins the argmax.
    u_BV = bits_BV.bitwise_and_(0x7FFFFFFFFFFFFFFF).float().add_(0.5).mul_(2.0**-63)
    return u_BV.neg_().log1p_().neg_().log_().neg_()


def seed_tensor(seeds: list[int], device: torch.device) -> Tensor:
    """Returns any integers as int64."""
    return torch.tensor([_signed(s) for s in seeds], dtype=torch.int64, device=device)


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser, in place. int64 multiplication wraps; a right shift copies the sign, so it is masked."""
    for shift, factor in ((30, MIX_1), (27, MIX_2)):
        x = x.bitwise_xor_((x >> shift).bitwise_and_((1 << (64 - shift)) - 1)).mul_(_signed(factor))
    return x.bitwise_xor_((x >> 31).bitwise_and_((1 << 33) - 1))


def _signed(value: int) -> int:
    """Returns the low 64 bits as a signed number, which is what torch's int64 takes."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
