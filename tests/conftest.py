"""One core for every test, and the bundled bases by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_room_of_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that the person who runs the tests has named is not theirs to lose."""
    monkeypatch.delenv("FLYROOM_ROOM", raising=False)
    monkeypatch.delenv("FLYROOM_IDENTITY", raising=False)


@pytest.fixture(autouse=True)
def _no_bases_of_mine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What that person has fetched is no part of the tests."""
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path_factory.getbasetemp() / "no-bases"))
