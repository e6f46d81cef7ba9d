"""A furnished room, its pages and its app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from view_room import FakeHands, counter, furnish

from flyroom.room import Room
from flyroom.view import Shelf, app


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return furnish(tmp_path_factory.mktemp("view") / "room")


@pytest.fixture
def shelf(room: Room) -> Shelf:
    return Shelf(room, decoys=frozenset({"decoy-accent"}))


@pytest.fixture
def client(room: Room, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(app(*counter(room, FakeHands(), tmp_path / "games"))) as client:
        yield client
