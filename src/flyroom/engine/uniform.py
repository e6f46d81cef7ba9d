"""Make one patch of products that need not be alike: a `Patch` has one rank and one scale, and in each of its layers
the same modules.

A product of a lower rank gets rows and columns of zeros, one of another scale has that in its B, and a module on which
nothing stands gets a product that is zero. What is added to the base stays the same, up to rounding in fp32.
Shapes: R rank, I in, O out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from flyroom.engine.peft_tensors import Product
from flyroom.types import LoRA, Patch

Sizes = Mapping[str, tuple[int, int]]  # (in, out) by path, as in "layers.0.mlp.down_proj"


def make_uniform(products: Mapping[str, Product], sizes: Sizes, *, depth: int | None, where: str) -> Patch:
    """One patch of products by path ("layers.0.mlp.down_proj").

    Args: sizes, of every linear module of the base; depth, its number of layers, None where nobody knows; where, for
    messages. Raises ValueError where nothing is added, and for a rank above the smaller side of a module.

    >>> one = Product(torch.ones(1, 2), torch.ones(3, 1), 2.0)
    >>> patch = make_uniform({"layers.0.up": one}, {"layers.0.up": (2, 3)}, depth=1, where="x")
    >>> patch.shape
    LoRA(rank=1, alpha=2.0, layers=None, modules=('up',))
    """
    if not any(product.a_RI.any() and product.b_OR.any() for product in products.values()):
        raise ValueError(f"{where}: every product B A is zero, so nothing is added to the base")
    shape = _shape(products, depth)
    paths = [path for path in sizes if _stands_on(shape, path)]
    _check_rank(shape.rank, {path: sizes[path] for path in paths}, where)
    scale = shape.alpha / shape.rank
    tensors: dict[str, Tensor] = {}
    for path in paths:
        product = products.get(path) or _nothing(*sizes[path])
        tensors[f"{path}.A"] = _pad(product.a_RI, shape.rank)
        ratio = product.alpha / product.rank / scale
        b_OR = product.b_OR if math.isclose(ratio, 1.0, rel_tol=1e-12) else product.b_OR * ratio
        tensors[f"{path}.B"] = _pad(b_OR.mT, shape.rank).mT.contiguous()
    return Patch(shape=shape, tensors=tensors)


def _shape(products: Mapping[str, Product], depth: int | None) -> LoRA:
    numbers = sorted({int(path.split(".")[1]) for path in products})
    rank = max(product.rank for product in products.values())
    alphas = {product.alpha for product in products.values()}
    if len(alphas) > 1 or any(product.rank < rank for product in products.values()):
        alphas = {rank * max(product.alpha / product.rank for product in products.values())}
    everywhere = numbers == list(range(len(numbers) if depth is None else depth))
    return LoRA(
        rank=rank,
        alpha=alphas.pop(),
        layers=None if everywhere else tuple(numbers),
        modules=tuple(sorted({path.rpartition(".")[2] for path in products})),
    )


def _stands_on(shape: LoRA, path: str) -> bool:
    return path.rpartition(".")[2] in shape.modules and (
        shape.layers is None or int(path.split(".")[1]) in shape.layers
    )


def _check_rank(rank: int, sizes: Sizes, where: str) -> None:
    path, size = min(sizes.items(), key=lambda item: min(item[1]))
    if rank > min(size):
        raise ValueError(
            f"{where}: its rank is {rank}, and {path}, on which it stands or which lies beside that, is "
            f"{size[1]} x {size[0]}: at most {min(size)} can be represented"
        )


def _nothing(size_in: int, size_out: int) -> Product:
    return Product(torch.zeros(1, size_in), torch.zeros(size_out, 1))


def _pad(rows_RI: Tensor, rank: int) -> Tensor:
    extra = rank - rows_RI.shape[0]
    return torch.cat([rows_RI, rows_RI.new_zeros(extra, rows_RI.shape[1])]) if extra else rows_RI.contiguous()
