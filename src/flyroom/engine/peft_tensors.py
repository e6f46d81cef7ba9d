"""Read the tensors of a PEFT adapter: a pair of A and B for each module that it stands on, by the module's full path.

The file is safetensors, or a pickle of tensors alone. Names are those of PEFT, with or without "base_model.model." and
with or without the adapter's own name. Tensors on a fused module ("qkv_proj", "gate_up_proj"), as exporters for vLLM
write them, are cut into those of the base's own modules: the rows of B are theirs, and A is the same for all.

Left out: pickles of anything but tensors, whole numbers, quantised tensors; embeddings, biases and magnitudes.
Shapes: R rank, I in, O out.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

WEIGHTS, PICKLE = "adapter_model.safetensors", "adapter_model.bin"
KEY = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<part>[AB])(?:\.(?P<name>[^.]+))?\.weight")
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, KeyError, SafetensorError, pickle.UnpicklingError)


class Product(NamedTuple):
    """What is added to a module: alpha over rank times B A."""

    a_RI: Tensor
    b_OR: Tensor
    alpha: float = 1.0

    @property
    def rank(self) -> int:
        return int(self.a_RI.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """In and out."""
        return int(self.a_RI.shape[1]), int(self.b_OR.shape[0])


def weights_of(folder: Path) -> Path:
    """The file of an adapter's tensors. ValueError where the folder has none."""
    for name in (WEIGHTS, PICKLE):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"folder is {folder}; it has no {WEIGHTS} and no {PICKLE}, so it is not a PEFT adapter")


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors by name, as they lie in the file. Raises ValueError for a file that is broken, and for a tensor that
    is no matrix of finite numbers.
    """
    file = weights_of(folder)
    try:
        tensors = _read_safetensors(file) if file.name == WEIGHTS else _read_pickle(file)
    except UNREADABLE as error:
        raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}") from error
    if not tensors:
        raise ValueError(f"{file} holds no tensor")
    for name, tensor in tensors.items():
        _check(name, tensor, file)
    return tensors


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as archive:
        return {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - it is no mapping


def _read_pickle(file: Path) -> dict[str, Tensor]:
    content: Any = torch.load(file, map_location="cpu", weights_only=True)  # a full pickle could run any code
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError("it holds something else than tensors by name")
    return {str(name): value for name, value in content.items()}


def _check(name: str, tensor: Tensor, file: Path) -> None:
    if not tensor.is_floating_point() or tensor.layout is not torch.strided:
        raise ValueError(f"{file}: {name} is of {tensor.dtype}; it must be of floating-point numbers")
    if not torch.isfinite(tensor.float()).all():
        raise ValueError(f"{file}: {name} holds numbers that are not finite")


def pair_tensors(tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Product]:
    """A and B by the full path of their module. Raises ValueError for any other tensor, for half a pair, and for
    tensors of several adapters.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    adapters: set[str] = set()
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"{folder}: holds {key}, which is not a LoRA of a linear module in a layer")
        adapters.add(match["name"] or "")
        pair = parts.setdefault(match["module"], {})
        if len(adapters) == 1 and match["part"] in pair:
            raise ValueError(f"{folder}: lora_{match['part']} of {match['module']} comes twice, once as {key}")
        pair[match["part"]] = tensor.float()
    if len(adapters) > 1:
        raise ValueError(f"{folder}: holds several adapters ({', '.join(sorted(adapters))}); give one a folder")
    return {module: _pair(module, pair, folder) for module, pair in parts.items()}


def _pair(module: str, pair: Mapping[str, Tensor], folder: Path) -> Product:
    missing = [part for part in "AB" if part not in pair]
    if missing:
        raise ValueError(f"{folder}: {module} has no lora_{missing[0]}, and one without the other adds nothing")
    a_RI, b_OR = pair["A"], pair["B"]
    if a_RI.ndim != 2 or b_OR.ndim != 2 or a_RI.shape[0] != b_OR.shape[1]:
        raise ValueError(
            f"{folder}: {module} has A {list(a_RI.shape)} and B {list(b_OR.shape)}; they must be [rank, in] and "
            "[out, rank]"
        )
    return Product(a_RI, b_OR)


def split_fused(
    products: Mapping[str, Product], sizes: Mapping[str, tuple[int, int]], folder: Path
) -> dict[str, Product]:
    """The products with those on fused modules cut into those of the base's modules.

    Args: sizes, (in, out) of the base's modules by full path. A fused module that the base itself has stays whole.
    """
    whole: dict[str, Product] = {}
    for module, product in products.items():
        stem, _, name = module.rpartition(".")
        parts = [f"{stem}.{part}" for part in FUSED.get(name, ())]
        if module in sizes or not parts or not all(part in sizes for part in parts):
            pieces = {module: product}
        else:
            pieces = _cut(module, product, {part: sizes[part][1] for part in parts}, folder)
        clash = next((piece for piece in pieces if piece in whole), None)
        if clash is not None:
            raise ValueError(f"{folder}: {clash} comes twice, alone and in {module}")
        whole |= pieces
    return whole


def _cut(module: str, product: Product, heights: Mapping[str, int], folder: Path) -> dict[str, Product]:
    if product.b_OR.shape[0] != sum(heights.values()):
        raise ValueError(
            f"{folder}: {module} has B of {product.b_OR.shape[0]} rows; {' + '.join(heights)} have "
            f"{sum(heights.values())}"
        )
    blocks = product.b_OR.split(list(heights.values()))
    return {part: product._replace(b_OR=block) for part, block in zip(heights, blocks, strict=True)}
