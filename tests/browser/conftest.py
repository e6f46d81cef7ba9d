"""A browser for each file of tests of pages, and one server for all; skipped where there is no Chromium."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers of the other tests

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")  # while it is open a loop runs, in which no other test can start one
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip("no chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A room with everything in it, and where its bundle lies."""
    from view_room import furnish

    from flyroom.view import Shelf, write_bundle

    root = tmp_path_factory.mktemp("pages")
    room = furnish(root / "room")
    shelf = Shelf(room, decoys=frozenset({"decoy-accent"}))
    write_bundle(shelf, root / "site", purpose="show the pages")
    ids = list(shelf.index.rows)
    return {"root": root, "room": room, "ids": ids, "card": shelf.index.cards[ids[0]][0].key}


@pytest.fixture(scope="session")
def address(place: dict[str, Any]) -> Iterator[str]:
    from view_room import FakeHands, counter

    from flyroom.serve import serving
    from flyroom.view import app

    endpoint = app(*counter(place["room"], FakeHands(), place["root"] / "games"))
    with serving(endpoint, port=0) as url:
        yield url.removesuffix("v1")
