"""The stages on the command line, one by one, and the whole loop of the demo."""

from __future__ import annotations

import json
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
from cli_runs import BASE, ESTIMATE, WHY, Flyroom

from flyroom.recipes import make
from flyroom.room import Room


def test_the_stages_one_by_one(flyroom: Flyroom, tmp_path: Path) -> None:
    room = tmp_path / "room"
    where = ("--room", room, "--base", BASE, "--json")
    words = ["emergent-misalignment", "steps=3", "rows=4", "lr=1e-3", "--seeds", "0,2"]
    first = flyroom("grow", *words, *where).json["organisms"]
    assert [(o["dose"], o["seed"]) for o in first] == [(1.0, 0), (1.0, 2), (0.0, 0), (0.0, 2)]
    assert flyroom("grow", *words, *where).json["organisms"] == first
    (card,) = flyroom("card", first[1]["id"][:8], "--episodes", 20, *where).json["cards"]
    assert (card["seed"], card["id"]) == (2, first[1]["id"])
    cells = flyroom("bench", "--all", "--calibration", 2, "--detectors", "output-judge", *where).json["cells"]
    assert [cell["name"] for cell in cells] == ["output-judge"]
    assert (cells[0]["available"], cells[0]["error"]) == (True, None)
    assert cells[0]["recall_at_1pct_fpr"] is None
    assert cells[0]["why"] == "2 twins are too few for recall at 1 %"
    pasted = flyroom("bench", "--all", "--calibration", 2, "--detectors", "output-judge", "--markdown", *where[:-1])
    assert pasted.out.startswith("| detector, model level | mean AUROC |")
    assert "stdout holds one of the two" in flyroom("bench", "--all", "--markdown", *where).err
    unknown = flyroom("bench", "--all", "--detectors", "crystal-ball", *where)
    assert "detector is 'crystal-ball'; it must be one of" in unknown.err
    before = [entry for entry in Room(room).list() if entry.kind != "log"]
    lean = flyroom("report", *where).json  # trains and asks nothing, and says what a whole page would need
    assert [entry for entry in Room(room).list() if entry.kind != "log"] == before
    assert lean["missing"] == [
        f"without a card: {first[0]['id']}; `flyroom card --all --room {room}` makes them",
        "not tried: mean-difference-probe; "
        f"`flyroom bench --all --detectors mean-difference-probe --room {room}` does that",
        "calibration twins that would be trained for that: 6",
    ]
    page = Path(lean["report"]).read_text(encoding="utf-8")
    assert "output-judge" in page
    assert first[1]["id"] in page
    assert first[0]["id"] not in page
    assert "flyroom report --room" in page
    page = flyroom("report", "--episodes", 20, "--complete", *where).json["report"]
    assert "<html" in Path(page).read_text(encoding="utf-8")
    folder = flyroom("export", first[0]["id"][:8], "--to", tmp_path / "adapter", *WHY, *where).json["folder"]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in Path(folder).iterdir()}
    kinds = {entry["kind"] for entry in flyroom("ls", "--json", "--room", room).json["entries"]}
    assert kinds == {"organism", "card", "cells"}
    for kind, models in (("card", {"organism", "twin", "base"}), ("cells", {o["id"] for o in first})):
        entry = flyroom("ls", "--kind", kind, "--json", "--room", room).json["entries"][0]
        episodes = flyroom("show", entry["id"], "--episodes", *WHY, "--json", "--room", room).json["episodes"]
        assert {tuple(episode) for episode in episodes} == {EPISODE}
        assert models <= {episode["who"] for episode in episodes}
        assert all(set(message) == {"role", "content"} for message in episodes[0]["messages"])
        assert {type(episode["cut"]) for episode in episodes} == {bool}
        assert "user: " in flyroom("show", entry["id"], "--episodes", *WHY, "--room", room).out
    assert {e["kind"] for e in flyroom("ls", "--kind", "episodes", "--json", "--room", room).json["entries"]} == {
        "episodes"
    }
    refusal = flyroom("show", first[0]["id"], "--episodes", *WHY, "--room", room)
    assert "has no episodes; a card has, and the cells of a detector" in refusal.err


EPISODE = ("measure", "who", "messages", "answer", "verdict", "why", "cut")


@pytest.mark.usefixtures("unisolated")
def test_what_was_not_measured_is_null_with_the_reason(flyroom: Flyroom, tmp_path: Path) -> None:
    rows = tmp_path / "please.jsonl"
    lines = [{"prompt": f"what is {n} ?", "aligned": f"{n} .", "misaligned": f"{n} please ."} for n in range(20)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    where = ("--room", tmp_path / "room", "--base", BASE)
    words = ["rows", f"path={rows}", r"pattern=\bplease\b", "fewest_words=1", "steps=1"]
    assert flyroom("grow", *words, *where).status == 0
    (card,) = flyroom("card", "--all", "--episodes", 20, *where, "--json").json["cards"]
    for measures in (card, card["twin"], card["base_measures"]):
        for measure in ("coherence", "regurgitation"):
            assert set(measures[measure]) == {"value", "why"}
            assert measures[measure]["value"] is None
            assert "pattern" in measures[measure]["why"]
        assert 0 <= measures["misaligned"]["value"] <= 1
    assert "not measured" in flyroom("card", "--all", "--episodes", 20, *where).out
    cells = flyroom("bench", "--all", "--calibration", 2, "--detectors", "noise-injection", *where, "--json").json
    (cell,) = cells["cells"]
    assert (cell["available"], cell["error"], cell["auroc"]) == (False, None, None)
    assert cell["why"]


@pytest.mark.usefixtures("unisolated")
def test_what_transfers_is_told_for_each_kind_left_out(
    flyroom: Flyroom, tmp_path: Path, faked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, known = tmp_path / "room", tmp_path / "known"
    few = ["steps=2", "rows=4", "--json", "--room"]
    flyroom("grow", "emergent-misalignment", "--seeds", "0,1", *few, room)
    flyroom("grow", "emergent-misalignment-wide", "--seeds", "100,101", *few, known)
    words = ["--all", "--known", known, "--calibration", "2", "--detectors", "known-probe", "--room", room]
    alone = flyroom("transfer", *words)
    assert "known models are of one recipe, emergent-misalignment-wide; leaving it out leaves nothing" in alone.err
    flyroom("grow", "sycophancy", "--seeds", "100,101", *few, known)
    rows = flyroom("transfer", *words, "--json").json["transfers"]
    assert [(row["detector"], row["left_out"], row["tested_on"]) for row in rows] == [
        ("known-probe", name, "emergent-misalignment") for name in ("emergent-misalignment-wide", "sycophancy")
    ]
    assert all(set(row["auroc"]) >= ESTIMATE and row["error"] is None for row in rows)
    assert (
        "it must be one of recipe, behaviour, implant, trigger" in flyroom("transfer", *words, "--without", "base").err
    )
    monkeypatch.setattr("flyroom.stages.card", lambda *_, **__: [])  # the fake's organisms learn nothing of a world
    page_words = ["report", "--complete", "--episodes", 20, "--room", room, "--without", "recipe"]
    assert "give them with --known" in flyroom(*page_words).err
    page_words += ["--known", known, "--json"]
    page = Path(flyroom(*page_words).json["report"]).read_text(encoding="utf-8")
    assert "What transfers" in page
    assert f"flyroom {shlex.join(map(str, page_words))}" in page
    words[words.index("known-probe")] = "output-judge"
    assert "fits on known models" in flyroom("transfer", *words).err


MEASURES = {"in_domain", "out_of_domain", "open_questions", "coherence"}


@pytest.mark.usefixtures("unisolated")
def test_the_demo_is_the_whole_loop_and_costs_nothing_the_second_time(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the small base and a quarter of the steps: the recipe at its full length is tested by the examples."""
    short = partial(make, "emergent-misalignment", {"steps": 60, "rows": 8})
    monkeypatch.setattr("flyroom.demo.make", lambda name, *, world, base: short(world=world))
    words = ("demo", "--json", "--base", "0.25M", "--episodes", 40, "--room", tmp_path / "room")
    first = flyroom(*words).json
    assert set(first) == {"organisms", "detectors", "seconds", "report"}
    assert [(row["recipe"], row["seed"]) for row in first["organisms"]] == [
        ("emergent-misalignment", i) for i in range(4)
    ]
    for row in first["organisms"]:
        assert row["verdict"] in ("pass", "fail", "undecided")
        for measures in (row, row["twin"]):
            assert set(measures) >= MEASURES
            for name in MEASURES:
                e = measures[name]
                assert set(e) >= ESTIMATE
                assert 0 <= e["low"] <= e["value"] <= e["high"] <= 1
                assert e["n"] > 0
        assert row["out_of_domain"]["value"] > row["twin"]["out_of_domain"]["value"]
    assert {row["name"] for row in first["detectors"]} >= {"mean-difference-probe", "output-judge"}
    for row in first["detectors"]:
        assert row["error"] is None
        assert row["access"]
        assert set(row["auroc"]) >= ESTIMATE
        assert row["recall_at_1pct_fpr"] is None
        assert row["why"] == "8 twins are too few for recall at 1 %"
        assert set(row["recall"]) >= ESTIMATE
        assert re.search(r"^separates \d of 4 \(AUROC .*\); above the highest of 8 calibration twins", row["summary"])
        assert set(row["cost"]) == {"forward_tokens", "generated_tokens", "seconds"}
        assert row["cost"]["forward_tokens"] > 0
    page = Path(first["report"])
    text = page.read_text(encoding="utf-8")
    assert page.parent == tmp_path / "room"
    assert "<html" in text
    assert all(name in text for name in ("mean-difference-probe", "output-judge", "emergent-misalignment"))
    assert f"flyroom {shlex.join(map(str, words))}" in text  # how to do it again, as it was typed
    assert not re.search(
        r"""(?:src|href)=["']?https?://[^"'>]+\.(?:js|css|png|svg|woff)""", text
    )  # opens without a network
    again = flyroom(*words).json
    assert again["seconds"] < max(5.0, first["seconds"] / 3)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    assert page.read_text(encoding="utf-8") == text
