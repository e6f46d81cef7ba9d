"""Numbers as eight bits would hold them: block-wise dynamic quantisation, the rounding in the moments of 8-bit Adam.

A tensor falls into blocks of 256 numbers. A block is divided by its largest magnitude, and each number becomes the
nearest of 256 codes, which lie close where numbers are small: their leading digits are spread evenly over 0.1 to 1, in
seven powers of ten. So a number far below the largest of its block becomes 0.

Source: Dettmers et al. 2022, arXiv 2110.02861; codes, blocks and ties as in bitsandbytes and torchao. It is emulated:
numbers come back in fp32, so that what rounding does to training is there, and the memory is not saved.
Left out: those libraries round no tensor of fewer than 4,096 numbers. Here all are rounded, for most adapters of small
bases have fewer. A last block that is not full is rounded as it is.
Shapes: N adapters, P x Q numbers each, C blocks.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 256
POWERS = 7  # of ten


@lru_cache
def list_codes(*, signed: bool) -> Tensor:
    """Returns the 256 codes, rising. Each power of ten has twice as many as the one below it.

    >>> len(list_codes(signed=True)), round(float(list_codes(signed=True)[0]), 3)
    (256, -0.993)
    """
    codes = [torch.tensor([0.0, 1.0])]
    for i in range(POWERS):
        edges = torch.linspace(0.1, 1, 2 ** (i if signed else i + 1) + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (i + 1 - POWERS)
        codes += [middles, -middles] if signed else [middles]
    return torch.cat(codes).sort().values


def round_to_eight_bits(x_NPQ: Tensor, *, signed: bool) -> Tensor:
    """Returns the numbers as eight bits a number and one scale a block would hold them, each adapter's apart.

    >>> round_to_eight_bits(torch.tensor([[[2.0, 1.0, 1e-9]]]), signed=False)
    tensor([[[2.0000, 0.9945, 0.0000]]])
    """
    flat = x_NPQ.flatten(1)
    blocks_NCB = F.pad(flat, (0, -flat.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    scale_NC1 = blocks_NCB.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(x_NPQ.dtype).tiny)
    codes = list_codes(signed=signed).to(x_NPQ.device)
    places = torch.bucketize(blocks_NCB / scale_NC1, (codes[:-1] + codes[1:]) / 2, right=True)
    return (codes[places] * scale_NC1).flatten(1)[:, : flat.shape[1]].view_as(x_NPQ)
