"""Growth on a real local Ray cluster of two workers, one of them killed in the middle, is growth without Ray."""

from __future__ import annotations

import gc
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from flyroom import cluster, stages
from flyroom.implants import SFT
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.types import AdapterRef, Organism, Plan, Recipe

BASE, STEPS, DEADLY = "0.25M", 28, 25  # the last checkpoint before the death is at 20


@dataclass(frozen=True, kw_only=True)
class Deadly:
    """SFT whose process is killed in its step DEADLY, once: the marker says that it has been."""

    marker: str
    steps: int = STEPS

    def plan(self, recipe: Recipe, adapter: AdapterRef, *, seed: int) -> Plan:
        plan, result = SFT(steps=self.steps, rows=2).plan(recipe, adapter, seed=seed), None
        for step in range(self.steps):
            if step == DEADLY:
                self._die_once()
            result = yield plan.send(result)

    def _die_once(self) -> None:
        try:
            with open(self.marker, "x") as file:  # of two that come here one makes it
                file.write(str(os.getpid()))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def grown(made: list[Recipe], room: Room, watch: cluster.Watch) -> list[Organism]:
    """On two workers. On a busy machine Ray may not start within its own 30 seconds: it is tried three times."""
    for left in (2, 1, 0):
        try:
            return cluster.grow(made, BASE, room, seeds=[0, 1], workers=2, watch=watch)
        except ValueError as error:
            if "timed out during startup" not in str(error) or not left:
                raise
        gc.collect()  # or what Ray had started would be told of in the middle of another test
    raise AssertionError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a Ray that did not start
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="pip install 'flyroom[cluster]'")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import the tests
    marker = tmp_path / "killed"
    plain = make("emergent-misalignment", {})
    made = [replace(plain, implants=(Deadly(marker=str(marker)),)), replace(plain, implants=(SFT(steps=4, rows=2),))]
    told: list[tuple[int, int]] = []
    found = grown(made, Room(tmp_path / "room"), lambda _stage, done, total, _note: told.append((done, total)))
    assert int(marker.read_text()) != os.getpid()
    assert told == [(1, 2), (2, 2)]
    assert not Room(tmp_path / "room").list("checkpoint")
    bench = stages.open_base(BASE)
    wanted = stages.grow(made, bench, Room(tmp_path / "other"), seeds=[0, 1])  # the marker is there: nobody dies
    assert [o.id for o in found] == [o.id for o in wanted]
    assert len(found) == 8
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours.history) == len(theirs.history)
        assert ours.snapshots.keys() == theirs.snapshots.keys()
        for key, value in theirs.patches[0].tensors.items():
            torch.testing.assert_close(ours.patches[0].tensors[key], value, rtol=1e-4, atol=1e-5)


def test_shards_hold_every_order_once_and_twins_beside_their_organisms() -> None:
    recipe = make("emergent-misalignment", {})
    half = replace(recipe, dose=0.5)  # its twin is the other's
    groups = cluster.shards([recipe, half], [0, 1, 2], 2)
    names = [(r.id, seed) for group in groups for r, seed in group]
    assert len(names) == len(set(names)) == 9
    assert {len(group) for group in groups} <= {4, 5}
    for group in groups:
        here = {(r.id, seed) for r, seed in group}
        assert all((recipe.twin().id, seed) in here for name, seed in here if name == recipe.id)


def test_no_group_is_empty() -> None:
    assert [len(group) for group in cluster.shards([make("emergent-misalignment", {})], [0, 1], 5)] == [2, 2]


@pytest.mark.parametrize(("on", "address"), [("ray", None), ("ray:auto", "auto"), ("ray:ray://a:1", "ray://a:1")])
def test_where_a_cluster_is(on: str, address: str | None) -> None:
    assert cluster.address_of(on) == address


@pytest.mark.parametrize("on", ["", "ray:", "slurm", "rays", "ray//x"])
def test_where_none_is(on: str) -> None:
    with pytest.raises(ValueError, match=r'on is ".*"; it must be "ray", or "ray:ADDRESS"'):
        cluster.address_of(on)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'flyroom\[cluster\]'"):
        cluster.grow([make("emergent-misalignment", {})], BASE, Room(tmp_path), seeds=[0])
