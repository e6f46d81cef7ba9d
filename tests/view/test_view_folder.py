"""The pages of a room as a folder that needs no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from view_room import PURPOSE, post

from flyroom.room import Room
from flyroom.stages.viewing import bundle
from flyroom.types import Entry
from flyroom.view import Shelf, write_bundle


def test_a_bundle_holds_the_pages_that_the_app_has(
    room: Room, shelf: Shelf, tmp_path: Path, client: TestClient
) -> None:
    post(client, "purpose", {"purpose": PURPOSE})
    result = write_bundle(shelf, tmp_path / "site", purpose=PURPOSE)
    files = {
        path.relative_to(tmp_path / "site" / "data").as_posix() for path in (tmp_path / "site").rglob("data/**/*.json")
    }
    assert len(files) > 15
    for name in files - {"room.json", "organisms.json"}:
        assert json.loads((tmp_path / "site" / "data" / name).read_text()) == client.get(f"/data/{name}").json(), name
    html = (tmp_path / "site" / "index.html").read_text()
    assert "Content-Security-Policy" in html
    assert "<script>window" not in html
    assert json.loads((tmp_path / "site" / "data" / "room.json").read_text())["mode"] == "bundle"
    assert result["files"] == sum(path.is_file() for path in (tmp_path / "site").rglob("*"))


def test_a_bundle_takes_the_place_of_a_bundle_alone(shelf: Shelf, tmp_path: Path) -> None:
    write_bundle(shelf, tmp_path / "site", purpose=PURPOSE)
    write_bundle(shelf, tmp_path / "site", purpose="another look")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="other files"):
        write_bundle(shelf, tmp_path / "mine", purpose=PURPOSE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]  # and no draft is left


def test_a_killed_bundle_leaves_the_former(shelf: Shelf, tmp_path: Path) -> None:
    write_bundle(shelf, tmp_path / "site", purpose=PURPOSE)

    def stop(number: int, _: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(shelf, tmp_path / "site", purpose="another look", watch=stop)
    assert json.loads((tmp_path / "site" / "data" / "room.json").read_text())["purpose"] == PURPOSE


def test_a_bundle_is_on_record_before_it_is_written(tmp_path: Path) -> None:
    from flyroom import log

    room = Room(tmp_path / "room")
    room.put_many([Entry(kind="organism", key="a1", payload={}, meta={"recipe": "toy", "dose": 1.0, "base": "b"})])
    with pytest.raises(ValueError, match="purpose"):
        bundle(room, tmp_path / "site", purpose="")
    assert not (tmp_path / "site").exists()
    bundle(room, tmp_path / "site", purpose=PURPOSE)
    (line,) = log.read(room)
    assert (line.what, line.purpose, line.about["ids"]) == ("bundle", PURPOSE, ["a1"])
