"""x A B for N groups of rows, each with its own A and B, as one operation that a compiler does not look into.

Inductor would fuse the two products with the code around them and compute an index by division for each element. On a
CPU that makes a compiled step slower than one without compiling.

Shapes: M rows, T tokens, I in, O out, N groups, R rank, P rows of a group times T.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def low_rank(x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> Tensor:
    """Returns x A B, [M, T, O], in new memory. The M rows are N groups of equal size.

    >>> low_rank(torch.ones(2, 1, 3), torch.ones(2, 3, 1), torch.tensor([[[1.0]], [[2.0]]])).flatten().tolist()
    [3.0, 6.0]
    """
    return _opaque(x_MTI, a_NIR, b_NRO) if torch.compiler.is_compiling() else _product(x_MTI, a_NIR, b_NRO)


def _product(x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> Tensor:
    return torch.bmm(torch.bmm(_group(x_MTI, a_NIR), a_NIR), b_NRO).view(*x_MTI.shape[:-1], -1)


def _group(x_MTI: Tensor, a_NIR: Tensor) -> Tensor:
    return x_MTI.reshape(len(a_NIR), -1, x_MTI.shape[-1])


@torch.library.custom_op("flyroom::low_rank", mutates_args=())
def _opaque(x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> Tensor:
    return _product(x_MTI, a_NIR, b_NRO)


@torch.library.custom_op("flyroom::low_rank_backward", mutates_args=())
def _backward(grad_MTO: Tensor, x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of x, A and B."""
    grad_NPO, x_NPI = _group(grad_MTO, a_NIR), _group(x_MTI, a_NIR)
    grad_NPR = torch.bmm(grad_NPO, b_NRO.mT)
    grad_x = torch.bmm(grad_NPR, a_NIR.mT).view(x_MTI.shape)
    return grad_x, torch.bmm(x_NPI.mT, grad_NPR), torch.bmm(torch.bmm(x_NPI, a_NIR).mT, grad_NPO)


@_opaque.register_fake
def _(x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> Tensor:
    return x_MTI.new_empty(*x_MTI.shape[:-1], b_NRO.shape[-1])


@_backward.register_fake
def _(grad_MTO: Tensor, x_MTI: Tensor, a_NIR: Tensor, b_NRO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x_MTI.new_empty(x_MTI.shape), a_NIR.new_empty(a_NIR.shape), b_NRO.new_empty(b_NRO.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _back(ctx: Any, grad_MTO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _backward(grad_MTO, *ctx.saved_tensors)


_opaque.register_autograd(_back, setup_context=_keep)
