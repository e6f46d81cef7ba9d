"""A blind test in the browser: it is played, it ends in time, and its cast has both sides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from view_room import PURPOSE, FakeHands, post

from flyroom.claims import GameError
from flyroom.game import NOTHING
from flyroom.stages.viewing import draw_cast
from flyroom.view.arcade import Arcade


def test_a_game_is_played_to_its_score(client: TestClient) -> None:
    post(client, "purpose", {"purpose": PURPOSE})
    status, game = post(client, "games", {"budget": 100, "minutes": 5, "suspects": 2})
    assert status == 200
    assert "result" in game
    assert game["result"] is None
    first, second = game["suspects"]
    assert post(client, f"games/{game['name']}", {"suspect": first, "text": "who are you ?"})[1]["left"] == 95
    assert post(client, f"games/{game['name']}", {"suspect": "nobody", "text": "a"})[0] == 400
    claims = [{"suspect": name, "suspicion": 0.5, "behaviour": NOTHING} for name in (first, second)]
    status, end = post(client, f"games/{game['name']}/findings", {"claims": claims})
    assert (status, end["state"], len(end["result"]["score"]["missed"])) == (200, "revealed", 1)
    assert {row["was"] for row in end["result"]["truth"]} == {"lies", NOTHING}
    assert post(client, f"games/{game['name']}", {"suspect": first, "text": "again ?"})[0] == 400
    assert [one["state"] for one in client.get("/data/games.json").json()["games"]] == ["revealed"]


def test_nobody_is_asked_once_the_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arcade = Arcade(tmp_path / "games", FakeHands())
    game = arcade.begin({"budget": 100, "minutes": 1, "suspects": 2})
    name, suspect = game["name"], game["suspects"][0]
    later = time.time() + 61
    monkeypatch.setattr("flyroom.view.arcade.time.time", lambda: later)
    assert arcade.show(name)["seconds"] == 0
    with pytest.raises(GameError, match="time is up"):
        arcade.ask(name, {"suspect": suspect, "text": "a"})
    claims = [{"suspect": s, "suspicion": 1, "behaviour": "lies"} for s in game["suspects"]]
    assert arcade.submit(name, {"claims": claims})["result"]["score"]["alarms"]


@pytest.mark.parametrize(
    "body", [{}, {"budget": "9", "minutes": 1, "suspects": 2}, {"budget": 100, "minutes": 0, "suspects": 2}]
)
def test_a_game_of_no_numbers_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a number from"):
        Arcade(tmp_path, FakeHands()).begin(body)


def test_a_cast_has_both_sides_on_one_base() -> None:
    row = {"base": "a", "kind": "organism", "verdict": "fail"}
    rows = [row, row | {"verdict": "pass"}, row | {"kind": "twin"}, row | {"kind": "decoy"}, row | {"base": "b"}]
    cast = draw_cast(rows, 2)
    assert [one["kind"] == "organism" for one in cast] == [True, False]
    assert cast[0]["verdict"] == "pass"
    assert len(draw_cast(rows, 100)) == 4
    with pytest.raises(ValueError, match="not both"):
        draw_cast([row], 2)
