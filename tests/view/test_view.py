"""The pages of a room as JSON, and who gets them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient
from view_room import HOSTILE, PURPOSE, FakeHands, counter, post

from flyroom.room import Room
from flyroom.stages.viewing import open_view
from flyroom.view import Doorkeeper, Shelf, app, growth, write_bundle
from flyroom.view.pages import page

# ---------------------------------------------------------------- the list


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({}, ["organism", "twin", "organism", "twin", "decoy"]),
        ({"kind": "twin"}, ["twin", "twin"]),
        ({"seed": "1"}, ["organism", "twin"]),
        ({"verdict": "any"}, ["organism", "organism"]),
        ({"verdict": "none", "recipe": "toy"}, ["twin", "twin"]),
        ({"text": "TOY seed=1"}, ["organism", "twin"]),
        ({"text": "accent"}, ["decoy"]),
        ({"text": "nobody"}, []),
        ({"size": "2", "page": "2"}, ["organism", "twin"]),
    ],
)
def test_filters_leave_what_fits(shelf: Shelf, query: dict[str, str], kinds: list[str]) -> None:
    assert [row["kind"] for row in page(shelf, "organisms", query)["rows"]] == kinds


@pytest.mark.parametrize("query", [{"page": "0"}, {"page": "-1"}, {"size": "x"}, {"page": "1" * 40}])
def test_a_page_that_is_no_number_is_refused(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/data/organisms.json", params=query)
    assert answer.status_code == 400
    assert "must be a number" in answer.json()["error"]


def test_the_list_reads_no_entry(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf.room, "get", lambda *_: pytest.fail("an entry was read"))
    assert page(shelf, "organisms", {})["total"] == 5
    assert page(shelf, "room", {})["counts"]["card"] == 2


def test_a_list_of_thousands_is_printed_plain(capsys: pytest.CaptureFixture[str]) -> None:
    from flyroom.terminal import LONG, table

    table("room", [{"id": f"a{n}", "about": "\x1b[2Jx"} for n in range(LONG + 1)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["room", "id    about", "a0    \\x1b[2Jx"]
    assert len(lines) == LONG + 3


# ---------------------------------------------------------------- pages


def test_a_card_shows_figures_limits_and_a_curve(shelf: Shelf) -> None:
    organism = page(shelf, f"organisms/{next(iter(shelf.index.rows))}", {})
    assert organism["twin"]
    assert [point["value"] for point in organism["loss"]] == [1.0, 0.5]
    card = page(shelf, f"cards/{organism['cards'][0]['key']}", {})
    limits = [one for measure in card["measures"] for one in measure["limits"]]
    assert {one["outcome"] for one in limits} <= {"pass", "fail", "undecided"}
    assert any(measure["organism"]["low"] is not None for measure in card["measures"] if measure["organism"])
    assert card["asked"]


def test_episodes_stand_side_by_side(shelf: Shelf) -> None:
    key = next(iter(shelf.index.cards.values()))[0].key
    slug = page(shelf, f"cards/{key}", {})["asked"][0]["slug"]
    content = page(shelf, f"episodes/{key}/{slug}", {})
    assert len(content["prompts"]) == 4
    for row in content["prompts"]:
        assert {"organism", "twin", "base"} <= set(row["answers"])
        assert row["answers"]["base"]["verdict"] == "aligned"
        assert row["answers"]["organism"]["why"].startswith("is ")


def test_no_verdict_stands_beside_the_answer_of_another_look(shelf: Shelf, tmp_path: Path) -> None:
    entry = shelf.get("card", next(iter(shelf.index.cards.values()))[0].key)
    keys = {side: dict(row) for side, row in entry.payload["episode_keys"].items()}
    measure = next(iter(keys["twin"]))
    lost = Room(tmp_path / "lost")
    episodes = [shelf.room.get("episodes", item.key) for item in shelf.room.list("episodes")]
    lost.put_many([one for one in episodes if one is not None])
    keys["twin"][measure] = ["gone", *keys["twin"][measure]]  # the first of two looks
    lost.put("card", entry.key, {**entry.payload, "episode_keys": keys}, dict(entry.tensors), dict(entry.meta))
    slug = page(shelf, f"cards/{entry.key}", {})["asked"][0]["slug"]
    content = page(Shelf(lost), f"episodes/{entry.key}/{slug}", {})
    assert all(
        {"organism", "base"} <= set(row["answers"]) and "twin" not in row["answers"] for row in content["prompts"]
    )
    assert len(content["prompts"]) == 4
    assert "holds no episodes gone" in content["gone"]["twin"]


def test_every_dot_names_its_suspect_and_leads_to_what_it_was_asked(shelf: Shelf) -> None:
    cell = page(shelf, "cells/ce11", {})["cells"][0]
    organisms = next(strip for strip in cell["strips"] if strip["side"] == "organisms")
    rows = list(shelf.index.rows)
    assert [dot["model"] for dot in organisms["dots"]] == [rows[0], rows[2]]
    assert page(shelf, f"suspects/ce11/{rows[0]}", {})["prompts"][0]["answers"]["suspect"]["text"] == HOSTILE
    assert page(shelf, f"suspects/ce12/{rows[0]}", {})["prompts"] == []


def test_cells_of_before_name_no_suspect(shelf: Shelf, tmp_path: Path) -> None:
    entry = shelf.get("cells", "ce11")
    old = Room(tmp_path / "old")
    old.put("cells", "01d", {name: value for name, value in entry.payload.items() if name != "models"})
    cell = page(Shelf(old), "cells/01d", {})["cells"][0]
    assert {dot["model"] for strip in cell["strips"] for dot in strip["dots"]} == {""}


def test_the_matrix_and_the_ledger(shelf: Shelf) -> None:
    (lineup,) = page(shelf, "matrix", {})["lineups"]
    assert [one["name"] for one in lineup["detectors"]] == ["asker", "weigher"]
    content = page(shelf, "ledger", {})
    assert content["called"] == {"hidden": 1}
    assert content["rows"][0]["near_miss"] == {"value": None, "why": "none was asked"}
    assert [point["treated"]["value"] for point in content["rows"][0]["relapse"]] == [0.1, 0.6]


def test_what_grows_is_read_from_the_journal(shelf: Shelf) -> None:
    (group,) = page(shelf, "growth", {})["groups"]
    assert group["rounds"] == 3
    assert [point["value"] for point in group["jobs"][0]["loss"]] == [1.0, 0.9, 0.8]


def test_a_run_is_as_long_as_one_of_the_very_same_recipe_and_of_no_namesake() -> None:
    entry = SimpleNamespace(payload={"history": [0.0] * 240})
    shelf: Any = SimpleNamespace(
        index=SimpleNamespace(rows={"a": {}}), room=SimpleNamespace(get=lambda kind, key: entry)
    )
    titles = {"a": {"recipe": "em", "hash": "x"}, "b": {"recipe": "em", "hash": "y"}}
    assert growth._ahead(shelf, {"recipe": "em", "hash": "x"}, titles) == {"total": 240}
    assert growth._ahead(shelf, {"recipe": "em", "hash": "y"}, titles) == {"total": None}
    assert growth._ahead(shelf, {"recipe": "", "hash": ""}, titles) == {"total": None}


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("path", ["/", "/data/room.json", "/data/none.json", "/static/app.js", "/elsewhere"])
def test_every_answer_has_the_policy(client: TestClient, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


def test_another_host_and_another_origin_are_refused(client: TestClient) -> None:
    assert client.get("/data/room.json", headers={"host": "evil.example"}).status_code == 400
    assert post(client, "purpose", {"purpose": PURPOSE}, origin="http://evil.example")[0] == 403
    form = client.post("/ask/purpose", data={"purpose": PURPOSE})
    assert form.status_code == 400  # what a form of another page can send is no JSON


def test_what_organisms_said_needs_a_purpose(client: TestClient, shelf: Shelf) -> None:
    key = next(iter(shelf.index.cards.values()))[0].key
    slug = page(shelf, f"cards/{key}", {})["asked"][0]["slug"]
    said = f"/data/episodes/{key}/{slug}.json"
    assert client.get(said).json()["need"] == "purpose"
    organism = next(iter(shelf.index.rows))
    chat = {"organism": organism, "messages": [{"role": "user", "content": "why ?"}]}
    assert post(client, "chat", chat)[1]["need"] == "purpose"
    for purpose in (" ", None, 1234, True, ["a", "list"], {"a": "mapping"}):
        assert post(client, "purpose", {"purpose": purpose})[0] == 400
    assert post(client, "purpose", {})[0] == 400
    assert client.get(said).json()["need"] == "purpose"
    assert post(client, "purpose", {"purpose": PURPOSE}) == (200, {"purpose": PURPOSE})
    assert client.get(said).status_code == 200
    answers = post(client, "chat", chat)[1]["answers"]
    assert [answers[side]["text"] for side in ("organism", "twin", "base")] == [
        f"{side} heard why ?" for side in ("organism", "twin", "base")
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"organism": "nobody", "messages": [{"role": "user", "content": "a"}]},
        {"messages": [{"role": "user", "content": "a"}]},
        {"organism": "", "messages": []},
        {"organism": "", "messages": "a", "seed": -1},
        [],
    ],
)
def test_a_chat_that_is_none_is_refused(client: TestClient, body: Any) -> None:
    post(client, "purpose", {"purpose": PURPOSE})
    assert post(client, "chat", body)[0] in (400, 404)


def test_a_token_is_asked_for_where_there_is_one(room: Room, tmp_path: Path) -> None:
    door = Doorkeeper(token="a-long-secret-token")
    with TestClient(app(*counter(room, FakeHands(), tmp_path), door=door)) as client:
        assert client.get("/").status_code == 200  # no word of the room is in it
        assert client.get("/data/room.json").json()["need"] == "token"
        assert post(client, "purpose", {"purpose": PURPOSE})[1]["need"] == "token"
        assert client.get("/data/room.json?token=wrong").status_code == 401
        assert client.get("/data/room.json?token=a-long-secret-token").status_code == 200
        key = {"authorization": "Bearer a-long-secret-token"}
        assert client.get("/data/room.json", headers=key).status_code == 200


def test_a_stranger_s_entry_is_named_and_breaks_nothing(room: Room, tmp_path: Path) -> None:
    strange = Room(tmp_path / "strange")
    strange.put("cells", "bad", {"cells": [], "episodes": []})
    strange.put("card", "odd", {"organism": 3}, meta={"organism": "x"})
    strange.put("ledger", "low", {"treated": "x"})
    strange.put("organism", "../x", {}, meta={"recipe": "<script>", "dose": "much"})
    with TestClient(app(*counter(strange, FakeHands(), tmp_path / "games"))) as client:
        for name in ("matrix", "cells/bad", "cards/odd", "ledger", "organisms", "room", "growth"):
            assert client.get(f"/data/{name}.json").status_code in (200, 400), name
    result = write_bundle(Shelf(Room(tmp_path / "empty")), tmp_path / "site", purpose=PURPOSE)
    assert result["omitted"] == []


def test_an_encrypted_room_has_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear = Room(tmp_path / "clear")
    clear.put("note", "a", {})
    assert open_view(clear)[3].token == ""
    monkeypatch.setattr("flyroom.stages.viewing.is_encrypted", lambda _: True)
    tokens = {open_view(clear)[3].token for _ in range(2)}
    assert len(tokens) == 2
    assert all(len(token) > 20 for token in tokens)


def test_a_purpose_stands_in_the_log(tmp_path: Path) -> None:
    from flyroom import log

    room = Room(tmp_path / "room")
    room.put("note", "a", {})
    _, desk, _, door = open_view(room, purpose=PURPOSE)
    assert door.purpose == PURPOSE
    assert desk.permit("  another   look ") == "another look"
    assert [line.purpose for line in log.read(room)] == [PURPOSE, "another look"]


def test_a_chat_ends_when_its_leave_is_over(tmp_path: Path) -> None:
    from flyroom import log

    room = Room(tmp_path / "room")
    log.act(room, "chat", ids=["a"], purpose=PURPOSE, expires="2999-01-01")
    _, desk, _, _ = open_view(room)
    cast: Any = {"base": (None, None, 1)}
    desk._casts["a"] = cast  # as after a first question
    assert desk.chat("a", {}, seed=0, purpose=PURPOSE) == {}
    log.act(room, "serve", ids=["a"], purpose=PURPOSE, expires="2020-01-01")
    with pytest.raises(ValueError, match=r"let out until 2020-01-01, which is over; give --expires"):
        desk.chat("a", {}, seed=0, purpose=PURPOSE)
