"""A planted turn is seen at its step, a straight way has none; spectra; norms; pushes; readings."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from flyroom.mechanism import ends, gram, random_like, solutions, spectra, turns, unit
from flyroom.mechanism import rotation as maths
from flyroom.mechanism.diffing import shift
from flyroom.mechanism.readouts import readings, sign_of
from flyroom.types import LoRA, Patch

SHAPE = LoRA(rank=2, alpha=6.0, layers=(0, 1), modules=("down_proj",))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def patch(b: float = 1.0, *, seed: int = 0) -> Patch:
    tensors = {}
    for layer in (0, 1):
        tensors[f"layers.{layer}.mlp.down_proj.A"] = draw(2, 7, seed=seed + layer)
        tensors[f"layers.{layer}.mlp.down_proj.B"] = b * draw(5, 2, seed=seed + 10 + layer)
    return Patch(shape=SHAPE, tensors=tensors)


def added(one: Patch) -> Tensor:
    scale = one.shape.alpha / one.shape.rank
    parts = [scale * one.tensors[f"layers.{l}.mlp.down_proj.B"] @ one.tensors[f"layers.{l}.mlp.down_proj.A"]
             for l in (0, 1)]  # fmt: skip
    return torch.cat([part.flatten() for part in parts]).double()


def way(turn_at: int, count: int = 9) -> list[Patch]:
    """A rank-1 adapter whose B goes straight, and at a step turns by a right angle."""
    patches, place = [], torch.zeros(4)
    for step in range(count):
        patches.append(
            Patch(
                shape=LoRA(rank=1, alpha=1.0),
                tensors={"layers.0.x.A": torch.tensor([[1.0, 2.0]]), "layers.0.x.B": place.clone()[:, None]},
            )
        )
        place = place + torch.eye(4)[0 if step < turn_at else 1]
    return patches


def test_inner_products_are_those_of_what_is_added() -> None:
    patches = [patch(seed=s) for s in (0, 20, 40)]
    by_hand = torch.stack([added(p) for p in patches])
    assert torch.allclose(gram(patches, "update"), by_hand @ by_hand.T, rtol=1e-5)
    assert solutions.norm_of(patches[0]) == pytest.approx(float(by_hand[0].norm()), rel=1e-6)
    with pytest.raises(ValueError, match="several shapes"):
        gram([patch(), replace(patch(), shape=LoRA())], "A")


def test_a_planted_turn_is_seen_at_its_step_alone() -> None:
    steps, patches = list(range(9)), way(turn_at=4)
    every = turns(steps, gram(patches, "update"), 1)
    assert {turn.step: round(turn.rotation or 0, 6) for turn in every} == {
        s: 0.0 if s == 4 else -1.0 for s in range(1, 8)
    }
    assert maths.sharpest(every) == (4, pytest.approx(0.0))
    assert all(turn.rotation is None for turn in turns(steps, gram(patches, "A"), 1))  # A never moved
    assert maths.sharpest(turns(steps, gram(patches, "A"), 1)) is None


def test_a_straight_way_has_no_turn_and_one_component() -> None:
    patches = way(turn_at=99)
    assert all(turn.rotation == pytest.approx(-1.0) for turn in turns(range(9), gram(patches, "update"), 2))
    assert maths.explained(gram(patches, "update"))[0] == pytest.approx(1.0)
    bent = maths.explained(gram(way(turn_at=4), "update"))
    assert bent[0] < 0.95
    assert sum(bent[:2]) == pytest.approx(1.0)
    assert maths.explained(gram([patches[0]] * 4, "update")) == []


def test_noise_below_the_floor_has_no_rotation() -> None:
    line = torch.tensor([[0.0, 0.0], [1e-4, 0.0], [1e-4, 1e-4], [10.0, 0.0]])
    assert [t.rotation for t in turns([0, 1, 2, 3], line @ line.T, 1)] == [None, None]
    with pytest.raises(ValueError, match="span is 0"):
        turns([0], torch.zeros(1, 1), 0)


# ---------------------------------------------------------------- spectra and ends


def test_spectra_are_those_of_the_whole_matrix() -> None:
    one = patch()
    whole = 3.0 * one.tensors["layers.0.mlp.down_proj.B"] @ one.tensors["layers.0.mlp.down_proj.A"]
    left, values, right = torch.linalg.svd(whole.double())
    spectrum, end = spectra(one)[0], ends(one, "layers.0.mlp.down_proj")
    assert spectrum.values == pytest.approx(values[:2].tolist(), rel=1e-5)
    assert spectrum.norm == pytest.approx(float(whole.norm()), rel=1e-5)
    assert 1 < spectrum.stable_rank < spectrum.effective_rank < 2
    outer = torch.outer(end.writes, end.reads).double()
    assert torch.allclose(outer, torch.outer(left[:, 0], right[0]), atol=1e-5)
    assert end.share == pytest.approx(float(values[0] ** 2 / (values**2).sum()), rel=1e-5)


def test_what_adds_nothing_reads_and_writes_nothing() -> None:
    assert spectra(patch(b=0.0))[0].effective_rank == 0
    with pytest.raises(ValueError, match="adds nothing"):
        ends(patch(b=0.0), "layers.0.mlp.down_proj")
    with pytest.raises(ValueError, match="adds nothing"):
        solutions.rescale(patch(b=0.0), 1.0)


# ---------------------------------------------------------------- solutions


def test_a_patch_is_rescaled_and_pushed_as_defined() -> None:
    one = patch()
    assert solutions.norm_of(solutions.rescale(one, 2.5)) == pytest.approx(2.5, rel=1e-5)
    assert solutions.alike(one, solutions.rescale(one, 9.0)) == pytest.approx(1.0)
    flat = [torch.cat([p.tensors[k].flatten() for k in sorted(p.tensors)]).double()
            for p in (one, solutions.push(one, 0.6, seed="a"))]  # fmt: skip
    assert float(flat[0].norm()) == pytest.approx(float(flat[1].norm()), rel=1e-5)
    assert float(torch.cosine_similarity(*flat, dim=0)) == pytest.approx(math.sqrt(1 - 0.36), rel=1e-5)
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.tensors.values(), solutions.push(one, 0, seed="a").tensors.values(), strict=True)
    )
    with pytest.raises(ValueError, match=r"e is 1\.5"):
        solutions.push(one, 1.5, seed="a")


def test_random_controls_have_the_norm_of_what_they_control() -> None:
    vector = 7 * draw(300)
    controls = [random_like(vector, seed=str(i)) for i in range(20)]
    assert all(float(c.norm()) == pytest.approx(float(vector.norm()), rel=1e-5) for c in controls)
    assert max(abs(float(unit(c) @ unit(vector))) for c in controls) < 0.25
    assert all(not torch.equal(a, b) for a, b in pairwise(controls))
    assert torch.equal(controls[0], random_like(vector, seed="0"))


# ---------------------------------------------------------------- readings and shifts


def test_a_planted_token_is_read_and_a_rare_one_is_not() -> None:
    tokens = [["a", "b", "key", "c"] * 4, ["d", "rare", "b", "a"] * 1]
    values = [torch.tensor([0.1, 0.0, 5.0, -0.1] * 4), torch.tensor([0.0, 99.0, 0.1, 0.0])]
    assert readings(values, tokens)[0].token == "key"
    assert "rare" not in {reading.token for reading in readings(values, tokens)}
    assert readings([torch.zeros(4)], [["a"] * 4]) == []
    assert (sign_of(values), sign_of([-v for v in values])) == (1.0, -1.0)


def test_a_planted_shift_is_constant_and_noise_is_not() -> None:
    base = draw(60, 16)
    planted = shift(base + 2 * torch.eye(16)[3] + 0.1 * draw(60, 16, seed=1), base)
    assert unit(planted.mean)[3] > 0.99
    assert planted.constant.low > 0.9
    noise = shift(base + draw(60, 16, seed=2), base)
    assert noise.constant.value < 0.05
    assert noise.length.low == 0 < noise.length.high < 0.3 < planted.length.low
    with pytest.raises(ValueError, match="same activations"):
        shift(base, base)
