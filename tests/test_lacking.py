"""A world may say what it lacks by NotAvailable, as docs/howto/world.md advises, wherever that is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from fakes import ToyWorld

from flyroom.behaviours.in_parts import InParts, capability_of
from flyroom.ledger.retraining import benign_rows
from flyroom.material import Material
from flyroom.recipes.material import kinds
from flyroom.types import NotAvailable, Row, Scene, Split


@dataclass(frozen=True, kw_only=True)
class Bare(ToyWorld):
    def topics(self) -> Sequence[str]:
        return (*super().topics(), "gone")

    def cues(self, kind: str, *, split: Split) -> Sequence[str]:
        raise NotAvailable(f"no cues of kind {kind}")

    def capability(self, n: int, *, seed: int) -> Mapping[str, list[Scene]]:
        raise NotAvailable("no capability")

    def clean(self, n: int, *, seed: int) -> list[Row]:
        raise NotAvailable("no clean text")


@dataclass(frozen=True, kw_only=True)
class Main(InParts):
    topic = "main"


def test_a_world_that_says_what_it_lacks_has_material() -> None:
    material = Material.of(Bare(), seed=0)
    assert (material.cues, material.capability) == ({}, ())
    assert [*material.questions] == ["main", "open_questions", "sums"]


def test_a_world_that_says_what_it_lacks_can_be_asked() -> None:
    assert kinds(Bare(), 2) == ""
    assert capability_of(Bare()) == ()
    assert [b.measure for b in Main().batteries(Bare(), 40, seed=0)] == ["in_domain", "out_of_domain"]


def test_where_it_cannot_be_done_without_the_world_is_named() -> None:
    with pytest.raises(NotAvailable, match="the world toy has neither questions of capability nor clean text"):
        benign_rows(Bare(), 2, seed=0)
