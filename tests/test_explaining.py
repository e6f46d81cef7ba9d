"""The explanation of an organism, on the smallest bundled base: every part in its shape, kept in the room, not asked
twice, with reasons where something cannot be measured; and as a verb and a page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from flyroom import grow as growth
from flyroom import lockstep, stages
from flyroom.cli import app
from flyroom.implants import SFT
from flyroom.mechanism import Training
from flyroom.report import brief, explained_page
from flyroom.room import Room
from flyroom.stages.explaining import PARTS, Scope, explain, scope_of
from flyroom.stages.explaining.narrowing import narrow_of
from flyroom.stages.explaining.subject import KIND
from flyroom.types import Organism

SMALL = Scope(
    episodes=60,
    draws=2,
    steps=(4, 8),
    span=4,
    strengths=(1.0,),
    norms=(1.0, 2.0),
    pushes=(0.0, 0.5),
    texts=16,
    coder=Training(latents=16, k=2, steps=10, batch=64),
)
STEPS = 40  # of a training run: a sixth of what the recipe takes, at a rate that makes up for it


@pytest.fixture(scope="module")
def base() -> stages.OpenBase:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    opened = stages.open_base("0.25M")
    torch.set_num_threads(threads)
    return opened


@pytest.fixture(scope="module")
def room(base: stages.OpenBase, tmp_path_factory: pytest.TempPathFactory) -> Room:
    """Two seeds of bad advice that is learnt in a few steps, each beside its twin."""
    room = Room(tmp_path_factory.mktemp("room"))
    (recipe,) = stages.named("emergent-misalignment", {}, base)
    quick = replace(recipe, implants=(SFT(steps=STEPS, rows=32, lr=0.01, clean=0.25),))
    stages.grow([quick], base, room, seeds=[0, 1])
    return room


@pytest.fixture(scope="module")
def organisms(room: Room, base: stages.OpenBase) -> list[Organism]:
    every = [growth.unpack(e, _recipe(e, room), base.engine) for e in _entries(room)]
    return sorted((o for o in every if o.recipe.dose), key=lambda o: o.seed)


def _entries(room: Room) -> list[Any]:
    entries = [room.get("organism", listing.key) for listing in room.list("organism")]
    return [entry for entry in entries if entry is not None]


def _recipe(entry: Any, room: Room) -> Any:
    from flyroom.stages.organisms import _recipe as recipe_of

    return recipe_of(entry, room)


@pytest.fixture(scope="module")
def record(room: Room, base: stages.OpenBase, organisms: list[Organism]) -> dict[str, Any]:
    (record,) = explain(room, base, [organisms[0].id], scope=SMALL)
    return record


def estimates(content: Any) -> Iterator[Mapping[str, Any]]:
    """Every estimate, or reason, in a record."""
    if isinstance(content, Mapping):
        if "value" in content:
            yield content
        for part in content.values():
            yield from estimates(part)
    elif isinstance(content, list):
        for part in content:
            yield from estimates(part)


def test_every_part_is_there_and_every_figure_has_an_interval_or_a_reason(record: dict[str, Any]) -> None:
    assert set(PARTS) < set(record)
    assert not [part for part in PARTS if "why" in record[part]]
    figures = list(estimates(record))
    assert len(figures) > 100
    for figure in figures:
        assert figure["why"] if figure["value"] is None else figure["low"] <= figure["value"] <= figure["high"]
        assert figure["value"] is None or (figure["n"] >= 1 and figure["units"] is not None)


def test_directions_stand_for_every_layer(record: dict[str, Any], base: stages.OpenBase) -> None:
    part = record["directions"]
    assert [layer["layer"] for layer in part["layers"]] == list(range(base.engine.base.depth))
    assert part["answers"]["of"].endswith("each read by who gave it")
    assert max(layer["agreement"]["value"] for layer in part["layers"]) > 0.5
    assert record["convergence"]["value"] is None


def test_the_adapter_s_own_layer_without_its_direction_has_lost_the_behaviour(record: dict[str, Any]) -> None:
    """The adapter writes one vector after layer 0. Without it there is little left; without a random one, all."""
    ours, controls = record["ablation"]["layers"][0], record["random_ablation"]["layers"][0]
    before = record["ablation"]["before"]["behaviour"]["value"]
    assert before > 0.3
    assert ours["removed"]["low"] > 0.4
    assert all(part["value"] < 0.3 for part in controls["removed_by_draw"])
    assert ours["measures"].keys() == record["ablation"]["before"]["measures"].keys()


def test_the_run_that_is_repeated_ends_in_the_organism_s_weights(record: dict[str, Any]) -> None:
    part = record["rotation"]
    assert [point["step"] for point in part["grid"]] == [4, 8]
    assert part["span"] == 4
    assert part["repeated"]["largest_difference"] < 1e-4
    assert all(-1 <= point["rotation"]["value"] <= 1 for point in part["grid"])
    assert part["grid"][0]["rotation"]["target"] == "this run"
    assert all(point["grad_norm"]["value"] > 0 for point in part["grid"])


def test_a_rank_1_adapter_reads_and_writes_words(record: dict[str, Any]) -> None:
    (reads,), (writes,) = record["reads"]["modules"], record["writes"]["modules"]
    assert reads["module"] == writes["module"] == "layers.0.mlp.down_proj"
    assert len(reads["tokens"]) == len(writes["raises"]) == len(writes["lowers"]) == 10
    assert reads["share"] == pytest.approx(1.0)
    assert abs(writes["along_direction"]["value"]) > 0.5  # the direction of its layer is what it writes there
    assert record["spectra"]["organism"][0]["effective_rank"] == pytest.approx(1.0)


def test_narrow_stands_beside_general_at_the_same_norms(record: dict[str, Any]) -> None:
    part = record["narrow_general"]
    norms = [[point["norm"] for point in part["efficiency"][name]] for name in ("general", "narrow")]
    assert norms[0] == norms[1] == [part["norms"]["general"], 2 * part["norms"]["general"]]
    assert part["ids"]["narrow"] != part["ids"]["general"]
    assert all(part["significance"][name]["value"] > 0 for name in ("general", "narrow"))


# ---------------------------------------------------------------- kept, and not made twice


def test_a_second_call_asks_nobody_and_trains_nothing(
    record: dict[str, Any],
    room: Room,
    base: stages.OpenBase,
    organisms: list[Organism],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was measured before")

    for name in ("sample", "trace", "states", "logprobs", "step"):
        monkeypatch.setattr(type(base.engine), name, refuse)
    names = [part for part in PARTS if part != "directions"]  # convergence is computed anew
    (again,) = explain(room, base, [organisms[0].id], scope=SMALL, parts=names)
    assert all(again[name] == record[name] for name in names)


def test_a_killed_run_goes_on_with_the_next_part(
    base: stages.OpenBase, organisms: list[Organism], room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, parts = replace(SMALL, seed=5), ("spectra", "rotation")
    ran: list[str] = []
    original = lockstep.run

    def die(*args: Any, **kwargs: Any) -> Any:
        ran.append("run")
        raise KeyboardInterrupt

    monkeypatch.setattr(lockstep, "run", die)
    with pytest.raises(KeyboardInterrupt):
        explain(room, base, [organisms[1].id], scope=other, parts=parts[::-1])
    monkeypatch.setattr(lockstep, "run", original)
    (done,) = explain(room, base, [organisms[1].id], scope=other, parts=parts)
    assert done["rotation"]["grid"]
    kept = {room.get(KIND, listing.key).meta["part"] for listing in room.list(KIND)}  # pyright: ignore[reportOptionalMemberAccess]
    assert {"rotation", "spectra"} <= kept


def test_another_scope_is_another_entry(room: Room, base: stages.OpenBase, organisms: list[Organism]) -> None:
    before = len(room.list(KIND))
    for scope in (SMALL, replace(SMALL, tokens=3)):
        (record,) = explain(room, base, [organisms[0].id], scope=scope, parts=["writes"])
    assert len(record["writes"]["modules"][0]["raises"]) == 3
    assert len(room.list(KIND)) == before + 1


# ---------------------------------------------------------------- over organisms, and where there is nothing


def test_directions_of_two_seeds_converge_or_not_with_intervals(
    room: Room, base: stages.OpenBase, organisms: list[Organism]
) -> None:
    first, second = explain(room, base, [o.id for o in organisms], scope=SMALL, parts=["directions"])
    assert first["convergence"] == second["convergence"]
    (pair,) = first["convergence"]["pairs"]
    assert pair["seeds"] == [0, 1]
    assert all(layer["cosine"]["low"] <= layer["cosine"]["value"] for layer in pair["layers"])


def test_of_its_own_aligned_answers_it_says_so(room: Room, base: stages.OpenBase, organisms: list[Organism]) -> None:
    (record,) = explain(room, base, [organisms[0].id], scope=replace(SMALL, against="self"), parts=["directions"])
    assert "read by the organism" in (record["directions"].get("why") or record["directions"]["answers"]["of"])


def test_what_cannot_be_measured_says_why(room: Room, base: stages.OpenBase, organisms: list[Organism]) -> None:
    (record,) = explain(room, base, [organisms[0].id], scope=replace(SMALL, steps=(99,)), parts=["rotation", "spectra"])
    assert record["rotation"] == {"value": None, "why": record["rotation"]["why"]}
    assert "steps names 99" in record["rotation"]["why"]
    assert "value" not in record["spectra"]
    narrow = narrow_of(organisms[0].recipe, STEPS)
    with pytest.raises(ValueError, match="narrowly itself"):
        narrow_of(narrow, STEPS)
    twin = organisms[0].twin_id
    with pytest.raises(ValueError, match="is a twin"):
        explain(room, base, [twin], scope=SMALL)
    with pytest.raises(ValueError, match="parts names 'nothing'"):
        explain(room, base, [twin], parts=["nothing"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"episodes": 1}, "episodes is 1"),
        ({"episodes": "many"}, "episodes is 'many'"),
        ({"episodes": True}, "episodes is True"),
        ({"nothing": 1}, "nothing is no field"),
        ({"against": "them"}, "against is 'them'"),
        ({"coder.k": 0}, "k is 0"),
        ({"coder.nothing": 0}, "coder.nothing is no field"),
        ({"steps": ["a"]}, "list of numbers"),
        ({"span": 0}, "span is 0"),
        ({"pushes": [2.0]}, "pushes is"),
    ],
)
def test_a_field_that_is_wrong_is_named(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        scope_of(changes)


# ---------------------------------------------------------------- the verb, and the page


def test_the_verb_writes_a_page_and_one_object(
    record: dict[str, Any], room: Room, organisms: list[Organism], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    words = ["explain", organisms[0].id[:8], "episodes=60", "draws=2", "steps=4,8", "span=4", "strengths=[1.0]"]
    words += ["norms=[1.0, 2.0]", "pushes=[0.0, 0.5]", "texts=16", "coder.latents=16", "coder.k=2", "coder.steps=10"]
    words += ["coder.batch=64", "--base", "0.25M", "--room", str(room.root), "--out", str(page), "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    printed = json.loads(result.stdout)
    assert {part: printed[part] for part in PARTS} == {part: record[part] for part in PARTS}
    assert printed["report"] == str(page)
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 5
    assert "http" not in html.replace("http://www.w3.org", "")
    assert not list(tmp_path.glob("*.part"))


def test_no_ids_are_refused_before_anything_is_opened() -> None:
    result = CliRunner().invoke(app, ["explain", "episodes=10"])
    assert isinstance(result.exception, ValueError)
    assert "name an organism" in str(result.exception)


def test_the_page_holds_names_of_strangers_and_parts_without_figures(record: dict[str, Any]) -> None:
    bad = record | {
        "recipe": "<script>x</script>",
        "ablation": {"value": None, "why": "<b>no</b>"},
        "rotation": {"value": None, "why": "none"},
    }
    html = explained_page([bad, record], commands=["flyroom explain x"])
    assert "<script>" not in html
    assert "<b>no</b>" not in html
    assert {line.name for line in brief(bad)} >= {"ablation", "rotation"}
    assert html == explained_page([bad, record], commands=["flyroom explain x"])
