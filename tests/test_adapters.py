"""Arithmetic on adapters, held against the products that they add."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from flyroom.adapters import (
    along_stream,
    beside,
    fit,
    from_to,
    noisy,
    paths_of,
    pruned,
    rescaled,
    rounded,
    scale_of,
    scaled,
    widened,
)
from flyroom.types import LoRA, Patch


def patch(
    rank: int = 2, alpha: float = 6.0, *, layers: tuple[int, ...] = (0,), seed: int = 0, name: str = "up"
) -> Patch:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in layers:
        tensors[f"layers.{layer}.mlp.{name}.A"] = torch.randn(rank, 12, generator=generator)
        tensors[f"layers.{layer}.mlp.{name}.B"] = torch.randn(16, rank, generator=generator)
    return Patch(shape=LoRA(rank=rank, alpha=alpha, layers=layers, modules=(name,)), tensors=tensors)


def adds(one: Patch, path: str) -> Tensor:
    if f"{path}.A" not in one.tensors:
        return torch.zeros(())
    return scale_of(one) * one.tensors[f"{path}.B"] @ one.tensors[f"{path}.A"]


def test_side_by_side_they_add_what_both_add() -> None:
    first, second = patch(2, 6.0), patch(3, 3.0, layers=(0, 1), seed=1, name="down")
    both = beside(first, second)
    assert both.shape == LoRA(rank=5, alpha=5.0, layers=(0, 1), modules=("up", "down"))
    for path in paths_of(both):
        torch.testing.assert_close(adds(both, path), adds(first, path) + adds(second, path) + torch.zeros(16, 12))
    assert len(paths_of(both)) == 4  # a shape means every module on every layer


def test_scaling_fitting_and_differences_are_of_the_products() -> None:
    first, second = patch(2), patch(2, seed=1)
    path = "layers.0.mlp.up"
    torch.testing.assert_close(adds(scaled(first, 0.5), path), adds(first, path) / 2)
    torch.testing.assert_close(adds(rescaled(first, 1.0), path), adds(first, path))
    torch.testing.assert_close(adds(fit(beside(first, scaled(second, 0.0)), 2), path), adds(first, path))
    turned = from_to(first, second, -1.0)
    torch.testing.assert_close(adds(turned, path), 2 * adds(first, path) - adds(second, path))


def test_what_has_no_place_keeps_its_largest_directions() -> None:
    both = beside(patch(9), patch(8, seed=1))
    assert both.shape.rank == 12  # as much as the module's smaller side holds


def test_a_steering_vector_may_stand_beside_an_adapter() -> None:
    vector = Patch(
        shape=LoRA(rank=1, alpha=1.0, layers=(0,), modules=("residual",)),
        tensors={"layers.0.residual.A": torch.ones(1, 1), "layers.0.residual.B": torch.arange(16.0)[:, None]},
    )
    both = beside(vector, patch(2))
    stream = torch.cat([torch.randn(16), torch.ones(1)])
    torch.testing.assert_close(adds(both, "layers.0.stream") @ stream, torch.arange(16.0))


def test_a_steering_vector_is_widened() -> None:
    """Its own A is a single number, which says nothing of how wide the stream is."""

    class Fresh:
        def spawn(self, shapes: list[LoRA], *, seeds: list[int]) -> list[LoRA]:
            return shapes

        def patch(self, shape: LoRA) -> Patch:
            return patch(shape.rank)

        def free(self, refs: list[LoRA]) -> None: ...

    vector = Patch(
        shape=LoRA(rank=1, alpha=1.0, layers=(0,), modules=("residual",)),
        tensors={"layers.0.residual.A": torch.ones(1, 1), "layers.0.residual.B": torch.ones(16, 1)},
    )
    assert widened(vector, Fresh(), seed=0).shape.rank == 9  # type: ignore[arg-type]


def test_an_ablation_along_the_stream_takes_the_direction_out() -> None:
    unit = torch.randn(16)
    unit /= unit.norm()
    change = along_stream(unit, -unit, 0.0, (0,))
    stream = torch.randn(16)
    left = stream + adds(change, "layers.0.stream") @ torch.cat([stream, torch.ones(1)])
    assert abs(float(left @ unit)) < 1e-5


def test_noise_is_as_large_as_it_should_be_and_hangs_on_its_seed() -> None:
    first = patch(1)
    noise = adds(noisy(scaled(first, 0.0), {"layers.0.mlp.up": 2.0}, sigma=0.5, seed=0), "layers.0.mlp.up")
    assert 0.5 < float(noise.std()) < 1.6
    same, other = (noisy(first, {"layers.0.mlp.up": 2.0}, sigma=0.5, seed=seed) for seed in (0, 1))
    assert not torch.equal(same.tensors["layers.0.mlp.up.B"], other.tensors["layers.0.mlp.up.B"])


def test_coarse_numbers_and_fewer_of_them() -> None:
    with pytest.raises(ValueError, match="bits is 1; it must be at least 2"):
        rounded(patch(1), 1)
    first = patch(2)
    a = rounded(first, 3).tensors["layers.0.mlp.up.A"]
    assert all(len(set(row.tolist())) <= 7 for row in a)  # 2^3 - 1
    kept = pruned(first, 0.5).tensors["layers.0.mlp.up.A"]
    assert int((kept != 0).sum()) == 12
    assert not pruned(first, 1.0).tensors["layers.0.mlp.up.A"].any()
