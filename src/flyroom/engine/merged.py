"""Read a merged checkpoint as what it adds to a base: the difference of every linear module, as a low-rank product.

The rank is read off the singular values: those that rounding to the checkpoint's own type cannot make. A matrix of
rounding errors of standard deviation s has none above s (sqrt(out) + sqrt(in)) but by chance; what lies below twice
that is taken for rounding. A checkpoint that changes anything else, such as norms or embeddings, is refused by name.

Source of the bound: Bai and Yin 1988, Ann. Probab. 16:1729.
Left out: a difference whose rank is above the smaller side of the narrowest module that it stands on.
Shapes: R rank, I in, O out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from flyroom.engine.bases import Base, load_base
from flyroom.engine.configs import differing_field
from flyroom.engine.peft import list_sizes
from flyroom.engine.peft_tensors import Product
from flyroom.engine.uniform import make_uniform
from flyroom.engine.wording import difference_of
from flyroom.types import Patch

WORTH_SAYING = 0.01  # of the difference: a rounded checkpoint always leaves out some


def read_merged(folder: Path, base: Base) -> tuple[Patch, list[str]]:
    """What a merged checkpoint adds to a base, and what must be said of it. Raises ValueError, naming the folder, where
    it is another model, where it changes more than linear modules of layers, and for a rank that one patch cannot hold.
    """
    dtype = _stored_type(folder)
    eps = torch.finfo(dtype).eps
    merged = load_base(folder, device="cpu", dtype="float32", tokenizer=base.renderer.tokenizer)
    origin = (
        base
        if next(base.model.parameters()).dtype == torch.float32
        else load_base(base.ref.path, device="cpu", dtype="float32")
    )
    changed, weights = merged.model.state_dict(), origin.model.state_dict()
    strange = next((name for name in {**weights, **changed} if _size(changed, name) != _size(weights, name)), None)
    if strange is not None:
        raise ValueError(
            f"{folder}: its {strange} is {_size(changed, strange)}, and that of {base.ref.name} is "
            f"{_size(weights, strange)}; it was merged into another base, or its vocabulary was changed"
        )
    _require_alike(folder, merged, base)
    full = {f"{path.replace('layers', base.prefix, 1)}.weight": path for path in list_sizes(base)}
    products: dict[str, Product] = {}
    losses: list[Loss] = []
    for name, weight in weights.items():
        merged_OI, weight_OI = changed[name].float().cpu(), weight.float().cpu()
        if merged_OI.equal(weight_OI.to(dtype).float()):
            continue  # the base's own, in the checkpoint's type
        if name in full:
            product, loss = _factorise(merged_OI, weight_OI, eps)
            losses += [loss]
            products |= {full[name]: product} if product else {}
        elif ((merged_OI - weight_OI).abs() > eps * torch.maximum(merged_OI.abs(), weight_OI.abs())).any():
            raise ValueError(
                f"{folder}: it changes {name}, which no low-rank change of linear modules can; understood is a "
                "checkpoint in which linear modules of layers alone were changed"
            )
    if not products:
        raise ValueError(f"{folder}: it is {base.ref.name} itself, up to rounding; nothing is added to the base")
    patch = make_uniform(products, list_sizes(base), depth=base.ref.depth, where=str(folder))
    notes = _note(losses, folder)
    if merged.temperature != base.temperature:
        notes += [
            f"{folder}: its makers have it answer at temperature {merged.temperature:g}; it is asked at "
            f"{base.temperature:g}, as the base is"
        ]
    return patch, notes


def _size(tensors: Mapping[str, Tensor], name: str) -> str:
    return " x ".join(map(str, tensors[name].shape)) if name in tensors else "not there"


def _require_alike(folder: Path, merged: Base, base: Base) -> None:
    """The same config, words, turns and ends: else the checkpoint differs in more than its weights."""
    name, model, own = base.ref.name, merged.model, base.model
    if field := differing_field(model.config, own.config):
        raise ValueError(f"{folder}: its config.json has {field} as in {name}; a patch changes weights alone")
    if words := difference_of(merged.renderer.tokenizer, base.renderer):
        raise ValueError(f"{folder}: its tokenizer has {words}; a patch changes weights alone")
    if merged.renderer.stops != base.renderer.stops:
        raise ValueError(
            f"{folder}: its tokens that end an answer are not those of {name}; a patch changes weights alone"
        )


def _stored_type(folder: Path) -> torch.dtype:
    """The type in which the checkpoint was rounded: the coarsest of its tensors. ValueError for numbers that are not
    finite, of which a model could not even be tried.
    """
    types = {torch.float32}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as archive:
            for name in archive.keys():  # noqa: SIM118 - it is no mapping
                tensor = archive.get_tensor(name)
                if tensor.is_floating_point():
                    types.add(tensor.dtype)
                if not torch.isfinite(tensor.float()).all():
                    raise ValueError(f"{folder}: {name} holds numbers that are not finite")
    return max(types, key=lambda dtype: torch.finfo(dtype).eps)


class Loss(NamedTuple):
    """Squares of a module's difference: of all of it, and of what is left out."""

    all: float
    left_out: float

    @property
    def is_whole(self) -> bool:
        return self.left_out == self.all


def _note(losses: Sequence[Loss], folder: Path) -> list[str]:
    """What cannot be told from rounding is left out, so a small change that was rounded away is not read."""
    share = sum(loss.left_out for loss in losses) / sum(loss.all for loss in losses)
    dropped = sum(loss.is_whole for loss in losses)
    if share < WORTH_SAYING and not dropped:
        return []
    return [
        f"{folder}: {100 * share:.2g} % of its difference to the base (of the sum of squares) lies within what "
        f"rounding can make and is left out, with it {dropped} of {len(losses)} modules whole; adopt the adapter "
        "itself to have all of it"
    ]


def _factorise(merged_OI: Tensor, weight_OI: Tensor, eps: float) -> tuple[Product | None, Loss]:
    """The difference as A and B of the lowest rank that is exact up to rounding, None where there is none; and what is
    left out.
    """
    difference_OI = merged_OI.double() - weight_OI.double()
    u_OR, values_R, v_RI = torch.linalg.svd(difference_OI, full_matrices=False)
    rank = int((values_R > _rounding(merged_OI, eps)).sum())
    squares_R = values_R.square()
    loss = Loss(float(squares_R.sum()), float(squares_R[rank:].sum()) if rank else float(squares_R.sum()))
    if rank == 0:
        return None, loss
    root_R = values_R[:rank].sqrt()
    a_RI, b_OR = root_R[:, None] * v_RI[:rank], u_OR[:, :rank] * root_R
    return Product(a_RI.float(), b_OR.float(), float(rank)), loss


def _rounding(merged_OI: Tensor, eps: float) -> float:
    """The largest singular value that rounding makes. An error is even over one step of the type, whose length is at
    most eps times the number.
    """
    deviation = eps * float(merged_OI.double().square().mean().sqrt()) / math.sqrt(12)
    return 2 * deviation * sum(math.sqrt(side) for side in merged_OI.shape)
