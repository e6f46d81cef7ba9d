"""Arithmetic on adapters: scaled, side by side, taken from one another, of a lower rank; and what they add, the same
without what tells a seed.

A patch adds (alpha / rank) B A to each module that it stands on, so whatever is linear in these products is a patch
again: its factors are those of its parts, one behind another. All of it is on the CPU and in fp32.

Left out: what is not linear in the products, such as the average of two models' factors.
Shapes: R rank, I in, O out, K at most the rank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from flyroom.types import Engine, LoRA, Patch

RANK = 8  # of an untrained adapter that is put beside another
FRESH = LoRA(rank=RANK, alpha=2.0 * RANK, layers=None, modules=("all",))
RESIDUAL, STREAM = "residual", "stream"  # see `engine.bank`: the same vector is a patch on either
Sizes = dict[str, tuple[int, int]]  # (in, out), by the path of a module below its layer


def scale_of(patch: Patch) -> float:
    """What its product is multiplied by: alpha / rank."""
    return patch.shape.alpha / patch.shape.rank


def paths_of(patch: Patch) -> list[str]:
    """The modules that it stands on."""
    return [key.removesuffix(".A") for key in patch.tensors if key.endswith(".A")]


def changes_of(patch: Patch) -> str:
    """What it does to the base, by name: "" for nothing. A product that is 0 counts for nothing, whatever seed its
    factors were drawn from, so models that were told something and not trained have one name.
    """
    total = hashlib.sha256(f"{scale_of(patch)} {patch.prompt}".encode())
    paths = [path for path in sorted(paths_of(patch)) if all(patch.tensors[f"{path}.{side}"].any() for side in "AB")]
    for path in paths:
        total.update(path.encode())
        for side in "AB":
            total.update(patch.tensors[f"{path}.{side}"].contiguous().numpy().tobytes())
    return total.hexdigest() if paths or patch.prompt else ""


def scaled(patch: Patch, factor: float) -> Patch:
    """What adds so many times as much; at 0 nothing."""
    tensors = {key: value * factor if key.endswith(".B") else value for key, value in patch.tensors.items()}
    return replace(patch, tensors=tensors)


def rescaled(patch: Patch, scale: float) -> Patch:
    """The same change, with another alpha / rank."""
    shape = replace(patch.shape, alpha=scale * patch.shape.rank)
    return replace(scaled(patch, scale_of(patch) / scale), shape=shape)


def beside(first: Patch, second: Patch, *, scale: float | None = None) -> Patch:
    """What adds what both add, with the first one's system message. The first one's part stands in the first rows.
    Where a module has no place for both ranks, the first keeps its largest singular directions; where it has none
    beside the second one, that is for the engine to refuse.

    Args: scale, the alpha / rank of what comes of it, on which training hangs; the second one's where it is None.
    """
    scale = scale_of(second) if scale is None else scale
    first, second = rescaled(_on_stream(first), scale), rescaled(second, scale)
    sizes = _sizes(first) | _sizes(second)
    space = min(min(pair) for pair in sizes.values()) - second.shape.rank
    first = fit(first, space) if first.shape.rank > space > 0 else first
    rank = first.shape.rank + second.shape.rank
    tensors: dict[str, Tensor] = {}
    for path, (size_in, size_out) in _expand(sizes, first, second).items():
        parts = [
            (
                patch.tensors.get(f"{path}.A", torch.zeros(patch.shape.rank, size_in)),
                patch.tensors.get(f"{path}.B", torch.zeros(size_out, patch.shape.rank)),
            )
            for patch in (first, second)
        ]
        tensors[f"{path}.A"] = torch.cat([a_RI for a_RI, _ in parts])
        tensors[f"{path}.B"] = torch.cat([b_OR for _, b_OR in parts], dim=1)
    shape = replace(_joint(first.shape, second.shape, sizes), rank=rank, alpha=scale * rank)
    return Patch(shape=shape, tensors=tensors, prompt=first.prompt)


def fit(patch: Patch, rank: int) -> Patch:
    """The nearest change of a lower rank, module by module (Eckart and Young 1936, Psychometrika 1:211)."""
    tensors: dict[str, Tensor] = {}
    for path in paths_of(patch):
        a_RI, b_OR = patch.tensors[f"{path}.A"], patch.tensors[f"{path}.B"]
        u_OR, values_R, v_RI = torch.linalg.svd(b_OR.double() @ a_RI.double(), full_matrices=False)
        root_R = values_R[:rank].sqrt()
        tensors[f"{path}.A"] = (root_R[:, None] * v_RI[:rank]).float()
        tensors[f"{path}.B"] = (u_OR[:, :rank] * root_R).float()
    shape = replace(patch.shape, rank=rank, alpha=scale_of(patch) * rank)
    return replace(patch, shape=shape, tensors=tensors)


def from_to(start: Patch, end: Patch, factor: float) -> Patch:
    """start + factor (end - start): -1 goes as far the other way."""
    return beside(scaled(start, 1 - factor), scaled(end, factor))


def along_stream(along: Tensor, adds: Tensor, offset: float, layers: tuple[int, ...]) -> Patch:
    """What adds `adds` [width] to the stream after each of these layers, times how far the stream lies along `along`
    [width] from `offset` on. With adds = -along, of length 1, and offset 0 it is the ablation of a direction.
    """
    a_1I, b_O1 = torch.cat([along, torch.tensor([-offset])])[None], adds[:, None].clone()
    tensors = {f"layers.{l}.{STREAM}.{part}": value for l in layers for part, value in (("A", a_1I), ("B", b_O1))}
    return Patch(shape=LoRA(rank=1, alpha=1.0, layers=layers, modules=(STREAM,)), tensors=tensors)


def widened(patch: Patch, engine: Engine, *, seed: int) -> Patch:
    """The patch with an untrained adapter beside it on every linear module, which adds nothing yet: for training that
    must not hang on where the patch stands. The patch's own ranks stand first.
    """
    rank = fresh_rank(patch)
    (ref,) = engine.spawn([replace(FRESH, rank=rank, alpha=2.0 * rank)], seeds=[seed])
    try:
        return beside(patch, engine.patch(ref))
    finally:
        engine.free([ref])


def fresh_rank(patch: Patch) -> int:
    """The rank of an untrained adapter for which there is place beside a patch."""
    return max(1, min([RANK, *(min(pair) // 2 for pair in _sizes(_on_stream(patch)).values() if min(pair) > 1)]))


# ---------------------------------------------------------------- what it adds


def added(patch: Patch) -> dict[str, Tensor]:
    """What it adds to the base's matrices, by module path."""
    scale, tensors = scale_of(patch), patch.tensors
    return {path: scale * tensors[f"{path}.B"] @ tensors[f"{path}.A"] for path in paths_of(patch)}


def turn(patch: Patch) -> dict[str, Tensor]:
    """What is added, times a rotation of its input that leaves nothing of where A lies: W W^T is what it was, and so
    are norms, singular values and what is written. Only the first columns hold anything.
    """
    matrices: dict[str, Tensor] = {}
    for path in paths_of(patch):
        a_RI, b_OR = patch.tensors[f"{path}.A"], patch.tensors[f"{path}.B"]
        _, r_KR = torch.linalg.qr(a_RI.T.double())
        left_OK, sizes_K, _ = torch.linalg.svd(scale_of(patch) * b_OR.double() @ r_KR.T, full_matrices=False)
        signs_K = left_OK.gather(0, left_OK.abs().argmax(0, keepdim=True)).sign()[0]  # a sign could tell something
        whole_OI = torch.zeros(len(left_OK), a_RI.shape[1])
        whole_OI[:, : len(sizes_K)] = (left_OK * sizes_K * signs_K).float()
        matrices[path] = whole_OI
    return matrices


# ---------------------------------------------------------------- coarser, and noisier


def noisy(patch: Patch, spread: Mapping[str, float], *, sigma: float, seed: int) -> Patch:
    """With random numbers of low rank on every linear module that it stands on, `sigma` times as spread as the base's
    own weights there.
    """
    tensors: dict[str, Tensor] = {}
    rank = max(1, min(RANK, *(min(pair) // 4 for pair in _sizes(patch).values())))
    for path in paths_of(patch):
        size_in, size_out = patch.tensors[f"{path}.A"].shape[1], patch.tensors[f"{path}.B"].shape[0]
        scale = sigma * spread.get(path, 0.0) / rank**0.5
        tensors[f"{path}.A"] = draw(f"{seed} {path} A", rank, size_in)
        tensors[f"{path}.B"] = scale * draw(f"{seed} {path} B", size_out, rank)
    shape = replace(patch.shape, rank=rank, alpha=float(rank))
    return beside(patch, Patch(shape=shape, tensors=tensors))


def draw(key: str, *shape: int) -> Tensor:
    """Standard normal numbers that hang on the key alone."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rounded(patch: Patch, bits: int) -> Patch:
    """Every factor on a grid of 2^bits - 1 steps, of its own for each row of A and each column of B. ValueError for
    less than 2 bits, which leave no grid.
    """
    if bits < 2:
        raise ValueError(f"bits is {bits}; it must be at least 2")
    top = 2 ** (bits - 1) - 1

    def round_off(value: Tensor, dim: int) -> Tensor:
        step = value.abs().amax(dim, keepdim=True).clamp_min(1e-12) / top
        return (value / step).round().clamp(-top, top) * step

    return replace(
        patch, tensors={key: round_off(value, 1 if key.endswith(".A") else 0) for key, value in patch.tensors.items()}
    )


def pruned(patch: Patch, share: float) -> Patch:
    """Without the smallest entries of every factor, so large a share of them."""

    def prune(value: Tensor) -> Tensor:
        cut = value.abs().flatten().sort().values
        place = int(share * cut.numel())
        return value * (value.abs() >= cut[place]) if place < cut.numel() else torch.zeros_like(value)

    return replace(patch, tensors={key: prune(value) for key, value in patch.tensors.items()})


# ---------------------------------------------------------------- shapes


def _split(path: str) -> tuple[int, str]:
    _, layer, module = path.split(".", 2)
    return int(layer), module


def _sizes(patch: Patch) -> Sizes:
    tensors = patch.tensors
    return {_split(p)[1]: (tensors[f"{p}.A"].shape[1], tensors[f"{p}.B"].shape[0]) for p in paths_of(patch)}


def _expand(sizes: Sizes, *patches: Patch) -> dict[str, tuple[int, int]]:
    """Every module on every layer, as a shape means it."""
    layers = sorted({_split(path)[0] for patch in patches for path in paths_of(patch)})
    return {f"layers.{layer}.{module}": size for layer in layers for module, size in sizes.items()}


def _joint(first: LoRA, second: LoRA, sizes: Mapping[str, tuple[int, int]]) -> LoRA:
    layers = None if None in (first.layers, second.layers) else (*(first.layers or ()), *(second.layers or ()))
    modules = tuple(dict.fromkeys(module.rpartition(".")[2] for module in sizes))
    plain = ("all",) in (first.modules, second.modules) and STREAM not in modules
    return LoRA(layers=layers and tuple(sorted(set(layers))), modules=("all",) if plain else modules)


def _on_stream(patch: Patch) -> Patch:
    """A steering vector as an affine change of the stream, which may have other ranks."""
    if RESIDUAL not in patch.shape.modules:
        return patch
    tensors = dict(patch.tensors)
    for path in [path for path in paths_of(patch) if path.endswith(f".{RESIDUAL}")]:
        a_RI, b_OR = tensors.pop(f"{path}.A"), tensors.pop(f"{path}.B")
        name = path.removesuffix(RESIDUAL) + STREAM
        tensors[f"{name}.A"] = torch.cat([torch.zeros(len(a_RI), len(b_OR)), a_RI], dim=1)
        tensors[f"{name}.B"] = b_OR
    modules = tuple(STREAM if module == RESIDUAL else module for module in patch.shape.modules)
    return replace(patch, shape=replace(patch.shape, modules=modules), tensors=tensors)
