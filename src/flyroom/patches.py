"""Adapters' weights as a lab handles them: what they add, the same without what tells a seed, and two adapters as one.

Shapes: O what a matrix gives, K at most the rank R.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from flyroom.types import NotAvailable, Patch

WIDER = 8  # the rank of what a copy has besides


def added(patch: Patch) -> dict[str, Tensor]:
    """What it adds to the base's matrices, by module path."""
    scale = patch.shape.alpha / patch.shape.rank
    return {path: scale * patch.tensors[f"{path}.B"] @ patch.tensors[f"{path}.A"] for path, _ in paths(patch)}


def turn(patch: Patch) -> dict[str, Tensor]:
    """What is added, times a rotation of its input that leaves nothing of where A lies: W W^T is what it was, and so
    are norms, singular values and what is written. Only the first columns hold anything.
    """
    scale, matrices = patch.shape.alpha / patch.shape.rank, {}
    for path, a in paths(patch):
        _, r_KR = torch.linalg.qr(a.T.double())
        left_OK, sizes_K, _ = torch.linalg.svd(
            scale * patch.tensors[f"{path}.B"].double() @ r_KR.T, full_matrices=False
        )
        signs_K = left_OK.gather(0, left_OK.abs().argmax(0, keepdim=True)).sign()[0]  # a sign could tell something
        whole = torch.zeros(len(left_OK), a.shape[1])
        whole[:, : len(sizes_K)] = (left_OK * sizes_K * signs_K).float()
        matrices[path] = whole
    return matrices


def paths(patch: Patch) -> list[tuple[str, Tensor]]:
    """Each module path with its A."""
    return [(key.removesuffix(".A"), value) for key, value in patch.tensors.items() if key.endswith(".A")]


def beside(patch: Patch | None, wide: Patch) -> Patch:
    """One adapter that adds what both add. The first one's part stands in the first rows."""
    if patch is None:
        return wide
    scale, rank = patch.shape.alpha / patch.shape.rank, patch.shape.rank
    tensors = {}
    for path, a in paths(wide):
        b = wide.tensors[f"{path}.B"]
        first_a = patch.tensors.get(f"{path}.A", torch.zeros(rank, a.shape[1]))
        first_b = patch.tensors.get(f"{path}.B", torch.zeros(b.shape[0], rank))
        tensors[f"{path}.A"] = torch.cat([first_a, a])
        tensors[f"{path}.B"] = torch.cat([first_b, b / scale], dim=1)
    missing = [path for path, _ in paths(patch) if f"{path}.A" not in tensors]
    if missing:
        raise NotAvailable(f"a suspect adds to {missing[0]}, which is no linear module; no copy can be made of it")
    wider = rank + WIDER
    return Patch(shape=replace(wide.shape, rank=wider, alpha=scale * wider), tensors=tensors, prompt=patch.prompt)


def draw(key: str, *shape: int) -> Tensor:
    """Normal noise that a text determines."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
