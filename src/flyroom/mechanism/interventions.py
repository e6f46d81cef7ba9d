"""Interventions in the residual stream as patches: a direction taken out, a vector added, at every token of every row.

    ablate   h - Q^T Q h,  Q orthonormal       (Arditi et al. 2024, arXiv 2406.11717)
    steer    h + v                             (Turner et al. 2023, arXiv 2308.10248)

Both stand on the module "stream" of an adapter, beside whatever the organism's own adapter does. So a model under an
intervention is a patch like any other: it is sampled in batches that mix it with others, it has a fingerprint, and a
card's questions can be put to it. A published hook steers only the first row of its batch; an adapter has all of its
rows by how the engine routes them.

Left out: interventions at some tokens only; the mean in place of what was taken out. In bfloat16 what is left of a
direction is a hundredth of it, not a millionth.
Shapes: D width, K directions, R rank, I in, O out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from flyroom.adapters import RESIDUAL, STREAM, draw, paths_of
from flyroom.types import LoRA, Patch

POWER = 20.0  # of mean squares, from the direction along which states are least to that along which they are most
BARE = Patch(shape=LoRA(rank=1, alpha=1.0, layers=(0,), modules=(STREAM,)), tensors={})


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What is done to the stream after each layer: directions taken out, [D] or [K, D] by layer, then a vector added,
    [D] by layer. ValueError for a direction of length 0.
    """

    ablate: Mapping[int, Tensor] = field(default_factory=dict)
    steer: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def layers(self) -> set[int]:
        return {*self.ablate, *self.steer}


def intervene(patch: Patch | None, change: Change) -> Patch:
    """The organism's patch (None is the base) with a change of the stream beside it.

    A vector that the patch adds itself, as a steering organism does, is added first, and so loses what is taken out.
    ValueError where the patch changes the stream already, and for no change.

    >>> patch = intervene(None, Change(ablate={1: torch.tensor([3.0, 4.0])}))
    >>> patch.shape.modules, patch.tensors["layers.1.stream.A"].tolist()
    (('stream',), [[0.6000000238418579, 0.800000011920929, 0.0]])
    """
    if not change.layers:
        raise ValueError("change has neither ablate nor steer; give at least one layer")
    base_patch = BARE if patch is None else patch
    vectors = _own_vectors(base_patch)
    if any(path.endswith(f".{STREAM}") for path in paths_of(base_patch)):
        raise ValueError("patch changes the residual stream already; intervene in the patch that it was made of")
    maps = {
        layer: _affine(change.ablate.get(layer), change.steer.get(layer), vectors.get(layer))
        for layer in {*change.layers, *vectors}
    }
    rank = max(base_patch.shape.rank, *(len(a) for a, _ in maps.values()))
    shape = _shape(base_patch, rank, {*maps, *(int(path.split(".")[1]) for path in paths_of(base_patch))})
    tensors = _widen(base_patch, shape)
    for layer, (a_KI, b_DK) in maps.items():
        tensors |= _pad(f"layers.{layer}.{STREAM}", a_KI, b_DK / (shape.alpha / rank), rank)
    width = next(iter(maps.values()))[1].shape[0]
    for layer in set(shape.layers or ()) - set(maps):
        tensors |= _pad(f"layers.{layer}.{STREAM}", torch.zeros(1, width + 1), torch.zeros(width, 1), rank)
    return Patch(shape=shape, tensors=tensors, prompt=base_patch.prompt)


def unit(vector_D: Tensor) -> Tensor:
    """The vector at length 1. ValueError for one of length 0, or that is not finite."""
    length = float(vector_D.double().norm())
    if not 0 < length < float("inf"):
        raise ValueError(f"direction has the length {length}; it must be a finite number above 0")
    return (vector_D.double() / length).float()


def random_like(vector_D: Tensor, *, seed: str) -> Tensor:
    """A random vector of the same length: the control of a steering or an ablation. A draw of normal numbers times that
    length would be sqrt(D) too long.

    >>> round(float(random_like(torch.tensor([3.0, 4.0]), seed="a").norm()), 5)
    5.0
    """
    return unit(draw(seed, len(vector_D))) * float(vector_D.double().norm())


def random_matched(vector_D: Tensor, states_ND: Tensor, *, seed: str) -> Tensor:
    """A random direction at right angles to a vector, along which the states have as large a mean square as along the
    vector: to take it out takes as much away. Where there is none, the nearest. Activations lie along few axes, so
    what a random direction takes away is next to nothing.

    >>> states = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2.0, 1.0])
    >>> matched = random_matched(torch.tensor([0.0, 1.0, 0.0]), states, seed="a")
    >>> ours, others = (float((states @ axis).square().mean()) for axis in (torch.eye(3)[1], matched))
    >>> round(others / ours, 3), abs(float(matched[1])) < 1e-6
    (1.0, True)
    """
    ours_D, states_ND = unit(vector_D).double(), states_ND.double()
    target = float((states_ND @ ours_D).square().mean())
    others_ND = states_ND - torch.outer(states_ND @ ours_D, ours_D)
    values_D, axes_DD = torch.linalg.eigh(others_ND.T @ others_ND / len(states_ND))
    values, axes = values_D[1:].clamp_min(1e-12 * values_D[-1]), axes_DD[:, 1:]  # the first is along the vector
    start = axes.T @ draw(seed, len(ours_D)).double()

    def tilt(power: float) -> Tensor:
        """The draw, with more of the axes along which states are large: its mean square rises with the power."""
        tilted = start * (values / values[-1]) ** power
        return tilted / tilted.norm()

    low, high = -POWER, POWER
    for _ in range(60):
        middle = (low + high) / 2
        is_less = float((values * tilt(middle).square()).sum()) < target
        low, high = (middle, high) if is_less else (low, middle)
    return (axes @ tilt(high)).float()


def _own_vectors(patch: Patch) -> dict[int, Tensor]:
    """The vectors that a steering organism adds, by layer."""
    scale = patch.shape.alpha / patch.shape.rank
    paths = [path for path in paths_of(patch) if path.endswith(f".{RESIDUAL}")]
    return {
        int(path.split(".")[1]): scale * (patch.tensors[f"{path}.B"] @ patch.tensors[f"{path}.A"])[:, 0]
        for path in paths
    }


def _affine(ablate: Tensor | None, steer: Tensor | None, own_D: Tensor | None) -> tuple[Tensor, Tensor]:
    """A [K, D + 1] and B [D, K] with B A (h, 1) = -Q^T Q (h + own) + own + steer."""
    width = next(len(v) if v.dim() == 1 else v.shape[1] for v in (ablate, steer, own_D) if v is not None)
    added_D = sum((v.float() for v in (own_D, steer) if v is not None), torch.zeros(width))
    constant_1I = torch.cat([torch.zeros(width), torch.ones(1)])[None]
    if ablate is None:
        return constant_1I, added_D[:, None]
    q_KD = _orthonormal(ablate)
    along_K = q_KD @ (torch.zeros(width) if own_D is None else own_D.float())
    a_KI, b_DK = torch.cat([q_KD, along_K[:, None]], dim=1), -q_KD.T
    if not added_D.any():
        return a_KI, b_DK
    return torch.cat([a_KI, constant_1I]), torch.cat([b_DK, added_D[:, None]], dim=1)


def _orthonormal(directions: Tensor) -> Tensor:
    """Rows of length 1 at right angles that span the directions, [K, D]. ValueError where they span less."""
    rows_KD = torch.atleast_2d(directions).double()
    if len(rows_KD) == 1:
        return unit(rows_KD[0])[None]
    q_DK, r_KK = torch.linalg.qr(rows_KD.T)
    if float(r_KK.diagonal().abs().min()) < 1e-9 * float(rows_KD.norm()):
        raise ValueError(f"ablate holds {len(rows_KD)} directions that are not independent; leave out what others span")
    return q_DK.T.float()


def _shape(base_patch: Patch, rank: int, layers: set[int]) -> LoRA:
    leaves = dict.fromkeys(path.rpartition(".")[2] for path in paths_of(base_patch))
    modules = tuple(leaf for leaf in leaves if leaf not in (RESIDUAL, STREAM))
    alpha = base_patch.shape.alpha / base_patch.shape.rank * rank
    return replace(base_patch.shape, rank=rank, alpha=alpha, layers=tuple(sorted(layers)), modules=(*modules, STREAM))


def _widen(base_patch: Patch, shape: LoRA) -> dict[str, Tensor]:
    """The patch's own modules at the new rank; where they are missing in a layer of the shape, they add nothing."""
    tensors: dict[str, Tensor] = {}
    for path in paths_of(base_patch):
        _, layer, name = path.split(".", 2)
        if name == RESIDUAL:
            continue
        a_RI, b_OR = base_patch.tensors[f"{path}.A"], base_patch.tensors[f"{path}.B"]
        tensors |= _pad(path, a_RI, b_OR, shape.rank)
        for bare_layer in set(shape.layers or ()) - {int(layer)}:
            if f"layers.{bare_layer}.{name}.A" not in base_patch.tensors:
                tensors |= _pad(
                    f"layers.{bare_layer}.{name}", torch.zeros_like(a_RI), torch.zeros_like(b_OR), shape.rank
                )
    return tensors


def _pad(path: str, a_RI: Tensor, b_OR: Tensor, rank: int) -> dict[str, Tensor]:
    """A and B at a rank, by name, with zeros for what is new."""
    a, b = a_RI.new_zeros(rank, a_RI.shape[1]), b_OR.new_zeros(b_OR.shape[0], rank)
    a[: len(a_RI)], b[:, : b_OR.shape[1]] = a_RI, b_OR
    return {f"{path}.A": a.contiguous(), f"{path}.B": b.contiguous()}
