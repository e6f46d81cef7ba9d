"""Growth on a real local Ray cluster of two workers, one of them killed in the middle, is growth without Ray."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import pytest
import torch

from flyroom import cluster, stages
from flyroom.detectors import CONTROLS, OF_MODELS, OF_REPLIES
from flyroom.implants import SFT
from flyroom.judges import Graded, LocalModel, local
from flyroom.ledger import Retraining
from flyroom.lineup import Terms
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import ledgers
from flyroom.stages.exams import Exam
from flyroom.terminal import cluster_of
from flyroom.types import AdapterRef, NotAvailable, Organism, Plan, Recipe

NAMES = ("weight-norm", "confession", "spectrum")
HERE = Terms(isolated=False)  # the ledger's detector has a process of its own, as it has by itself
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


@contextmanager
def two_workers() -> Iterator[Any]:
    """A cluster. On a busy machine Ray may not start within its own 30 seconds: it is tried three times."""
    for left in (2, 1, 0):
        with ExitStack() as stack:
            try:
                ray = stack.enter_context(cluster.connected(workers=2))
            except ValueError as error:
                if "timed out during startup" not in str(error) or not left:
                    raise
            else:
                ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import the tests
                yield ray
                return
        gc.collect()  # or what Ray had started would be told of in the middle of another test


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a Ray that did not start
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_on_ray_is_without_ray_and_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'flyroom[cluster]'")
    marker, room = tmp_path / "killed", Room(tmp_path / "room")
    plain = make("emergent-misalignment", {})
    made = [replace(plain, implants=(Deadly(marker=str(marker)),)), replace(plain, implants=(SFT(steps=4, rows=2),))]
    told: list[tuple[str, int, int]] = []

    def watch(stage: str, done: int, total: int, _note: str) -> None:
        told.append((stage, done, total))

    bench = stages.open_base(BASE)
    with two_workers() as ray:
        cluster.grow(ray, made, BASE, room, seeds=[0, 1], watch=watch)
        assert int(marker.read_text()) != os.getpid()
        assert told == [("grow", 1, 2), ("grow", 2, 2)]
        assert not room.list("checkpoint")
        found = grown(made, bench, room)
        suspects = [o for o in found if not isinstance(o.recipe.implants[0], Deadly)]  # a worker does not know that one
        stages.calibration_twins(suspects, bench, room, n=2)
        cluster.bench(ray, [o.id for o in suspects], BASE, room, NAMES, seed=0, calibration=2, terms=HERE, watch=watch)
        assert told[2:] == [("bench", i, 3) for i in (1, 2, 3)]
        treat_on_ray(ray, [o for o in suspects if o.recipe.dose], bench, room)
    assert {entry.meta["detector"] for entry in room.list("cells")} == set(NAMES)
    cells = len(room.list("cells"))
    on_ray = stages.bench(suspects, bench, room, seed=0, names=NAMES, calibration=2, terms=HERE)
    assert len(room.list("cells")) == cells  # nothing was left to do
    wanted = grown(made, bench, Room(tmp_path / "other"))  # the marker is there: nobody dies
    assert [o.id for o in found] == [o.id for o in wanted]
    assert len(found) == 8
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours.history) == len(theirs.history)
        assert ours.snapshots.keys() == theirs.snapshots.keys()
        for key, value in theirs.patch.tensors.items():
            torch.testing.assert_close(ours.patch.tensors[key], value, rtol=1e-4, atol=1e-5)
    elsewhere = Room(tmp_path / "other")
    alone = stages.bench(suspects, bench, elsewhere, seed=0, names=NAMES, calibration=2, terms=HERE)
    assert [cell.auroc for cell in on_ray.cells] == [cell.auroc for cell in alone.cells]


def treat_on_ray(ray: Any, targets: list[Organism], bench: stages.OpenBase, room: Room) -> None:
    """Treatments and their ledger cell by cell: when the tasks have ended, nothing is left to compute."""
    names, ids, calls = ["average", "quantise"], [o.id for o in targets], list[tuple[str, int, int]]()

    def watch(stage: str, count: int, total: int, _note: str) -> None:
        calls.append((stage, count, total))

    how = Retraining(steps=(0, 2), rows=2)
    exam = Exam(episodes=20, how=how, detectors=("weight-norm",), calibration=2)
    cluster.treat(ray, ids, BASE, room, names, watch=watch)
    cases = ledgers.cases_in(room, bench, names, ids)
    assert {(c.course.name, c.organism.id) for c in cases} == {(name, i) for name in names for i in ids}
    cluster.ledger(ray, ids, BASE, room, names, exam, watch=watch)
    assert [calls.count((stage, n, n)) for stage, n in (("treat", 4), ("ledger", 2), ("detectors again", 1))] == [1] * 3
    assert not room.list("ledger")  # whoever gathers writes the rows
    keys = {(entry.kind, entry.key) for entry in room.list()}
    rows = ledgers.write_ledger(cases, bench, room, exam)
    fresh = {(entry.kind, entry.key) for entry in room.list()} - keys
    assert {kind for kind, _ in fresh} <= {"ledger", "log"}  # nothing was trained, asked or detected again
    assert len(rows) == len(room.list("ledger")) == 4
    assert all(row.detectors["weight-norm"].keys() >= {"before", "after"} for row in rows)


def grown(made: list[Recipe], bench: stages.OpenBase, room: Room) -> list[Organism]:
    return stages.grow(made, bench, room, seeds=[0, 1])


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


def test_growth_on_a_worker_has_its_local_graders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ENGINES", WeakValueDictionary())  # a worker begins without any
    grader, replies = LocalModel(digest=stages.open_base(BASE).engine.base.digest, path=BASE), list[Any]()
    recipe: Any = SimpleNamespace(judge=Graded(grader=grader))
    monkeypatch.setattr(cluster, "grow_orders", lambda *_, **__: replies.append(grader.ask([])))
    with pytest.raises(NotAvailable):
        grader.ask([])
    cluster._grow(BASE, tmp_path / "room", False, [(recipe, 0)])
    assert [answers for answers, _ in replies] == [[]]


def test_no_group_is_empty() -> None:
    assert [len(group) for group in cluster.shards([make("emergent-misalignment", {})], [0, 1], 5)] == [2, 2]


def test_detectors_of_replies_stay_together_and_the_others_are_dealt() -> None:
    names = [*OF_MODELS, *OF_REPLIES, *CONTROLS]
    together, *dealt = stages.dealt(names, 8)
    assert together == [*OF_REPLIES, *CONTROLS]
    assert len(dealt) == 8
    assert sorted(name for group in dealt for name in group) == sorted(OF_MODELS)
    assert stages.dealt(["spectrum"], 16) == [["spectrum"]]


@pytest.mark.parametrize(("on", "address"), [("ray", None), ("ray:auto", "auto"), ("ray:ray://a:1", "ray://a:1")])
def test_where_a_cluster_is(on: str, address: str | None) -> None:
    assert cluster_of(on) == address


@pytest.mark.parametrize("on", ["", "ray:", "slurm", "rays", "ray//x"])
def test_where_none_is(on: str) -> None:
    with pytest.raises(ValueError, match=r"on is '.*'; it must be ray, or ray:ADDRESS"):
        cluster_of(on)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'flyroom\[cluster\]'"):
        cluster.connected().__enter__()
