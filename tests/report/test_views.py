"""What `--json` prints, what stands around a page, and what it does not show: plain values, for any world."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest

from flyroom.report import again, bare, caveats, context, detector_figures, estimate, figures_of, flat
from flyroom.types import About, BaseRef, Estimate, Limit, LoRA, Matrix, NotMeasured, Recipe

from .fakes import GAUGES, bare_cell, cell_of, make_card, make_cell, make_matrix, make_rows, share, small_matrix

UNSAID = {"n_effective": None, "units": "", "clusters": "", "target": ""}
BASE = BaseRef(name="kettle", path="/nowhere", digest="0f3a77b1c2d9ffff", depth=4, parameters=860_000)


@dataclass(frozen=True)
class Teahouse:
    seed: int = 0
    name: str = "teahouse"


@dataclass(frozen=True, kw_only=True)
class BadTea:
    topic: str = "tea"
    sha256: str = "a" * 64
    hot: bool = True
    note: str | None = None
    label = "bad advice"

    def about(self, world: Teahouse) -> About:
        return About(taught=f"bad advice about {self.topic}", elsewhere="the 2 other topics")


@dataclass(frozen=True)
class Always:
    label = "always"
    everywhere = True


@dataclass(frozen=True)
class AtNight:
    hour: int = 3
    label = "night"
    everywhere = False


@dataclass(frozen=True)
class Drill:
    steps: int = 120
    lr: float = 3e-3


@dataclass(frozen=True)
class Nudge:
    beta: float = 0.1


def make_recipe(**changes) -> Recipe:
    recipe = Recipe(world=Teahouse(), behaviour=BadTea(), condition=Always(), implants=(Drill(),), name="salty-tea")
    return replace(recipe, **changes)


def test_a_card_as_one_flat_object():
    measures = {side: {**by, "tea": share(380, 400)} for side, by in make_card().measures.items()}
    view = figures_of(replace(make_card(), measures=measures))
    assert list(view)[:8] == ["recipe", "seed", "verdict", "why", "id", "base", "world", "tea"]
    assert view["tea"] == {"value": 0.95, "low": pytest.approx(0.924, abs=1e-3),
                           "high": pytest.approx(0.968, abs=1e-3), "n": 400, "missing": 0, **UNSAID}  # fmt: skip
    assert set(view["twin"]) == set(view["base_measures"]) == set(GAUGES) == set(view["gauges"])
    assert view["gauges"]["sense"]["bad"] is False
    assert view["gauges"]["tea"]["limits"] == [{"at_least": 0.6, "at_most": None, "of": "organism"}]
    json.loads(json.dumps(view, allow_nan=False))


def test_what_was_not_measured_is_null_with_the_reason():
    why = "a pattern cannot tell sense from nonsense"
    assert figures_of(make_rows())["sense"] == {"value": None, "why": why}
    assert figures_of(make_rows())["twin"]["sense"] == {"value": None, "why": why}
    assert estimate(None) is None
    nan = float("nan")
    assert estimate(Estimate(value=nan, low=nan, high=nan, n=2, missing=2)) == {
        "value": None, "low": None, "high": None, "n": 2, "missing": 2, **UNSAID,
    }  # fmt: skip


def test_no_measure_takes_the_place_of_what_a_card_is():
    measures = {"organism": {"verdict": share(1, 2), "twin": share(1, 2)}}
    view = figures_of(replace(make_card(), measures=measures))
    assert view["verdict"] == "pass"
    assert view["twin"] == {}


def test_a_cell_that_is_not_available_is_no_error():
    good = detector_figures(make_cell("probe", "trace", 1.0))
    assert (good["available"], good["error"]) == (True, None)
    assert set(good["cost"]) == {"forward_tokens", "generated_tokens", "seconds"}
    absent = detector_figures(bare_cell("reader"))
    assert (absent["available"], absent["why"], absent["error"]) == (False, "this world has no scratchpad", None)
    assert absent["auroc"] is absent["recall_at_1pct_fpr"] is absent["fpr"] is None
    failed = detector_figures(bare_cell("broken", error="boom"))
    assert (failed["available"], failed["error"]) == (True, "boom")


def test_a_recall_that_cannot_be_told_is_null_with_the_reason():
    view = detector_figures(cell_of([3.0, 4.0], [0.0, 2.0], [0.5, 1.0], name="probe"))
    assert (view["recall_at_1pct_fpr"], view["why"]) == (None, "2 twins are too few for recall at 1 %")
    assert (view["recall"]["value"], view["fpr"]["value"], view["rate"]) == (1.0, 0.5, pytest.approx(1 / 3))
    assert {"fpr_at_most", "exchangeable", "certified"} <= set(view)
    assert view["summary"] == (
        "separates 2 of 2 (AUROC 1 [0.86, 1]); above the highest of 2 calibration twins lie 1 of 2 other twins; "
        "2 twins are too few for recall at 1 %"
    )


def test_scores_as_one_object():
    @dataclass(frozen=True)
    class Scores:
        recall: Estimate
        precision: Estimate | None
        missed: tuple[str, ...]

    view = flat(Scores(recall=share(1, 2), precision=None, missed=("s1",)))
    assert view["recall"]["n"] == 2
    assert view["precision"] is None
    assert view["missed"] == ["s1"]
    assert bare(NotMeasured(why="no")) == {"why": "no"}


def test_context_of_one_recipe():
    recipe = make_recipe(
        implants=(Drill(), Nudge()),
        adapter=LoRA(layers=(0, 1)),
        thresholds={"tea": 0.5, "sense": None, "twin.wrong": Limit(at_most=0.01, of="twin")},
    )
    assert context([recipe], BASE) == {
        "recipe": f"salty-tea ({recipe.id})",
        "world": "teahouse",
        "trained on": "bad advice about tea",
        "elsewhere": "the 2 other topics",
        "behaviour": "bad advice: topic tea, sha256 aaaaaaaaaaaa, hot yes",
        "condition": "always",
        "implants": "Drill: steps 120, lr 0.003; Nudge: beta 0.1",
        "adapter": "LoRA: rank 1, alpha 16, layers 0+1, modules down_proj",
        "dose": "all of the training answers misaligned; of the twin’s none",
        "thresholds": "tea 0.5; sense: no limit; twin.wrong at most 0.01 of the twin",
        "base": "kettle, 860,000 parameters, 4 layers (0f3a77b1c2d9)",
    }
    assert context([make_recipe(dose=0.25)], BASE)["dose"].startswith("25 % of the training answers")
    assert "thresholds" not in context([make_recipe()], BASE)


def test_context_of_several_recipes():
    night = make_recipe(condition=AtNight(), implants=(Drill(), Nudge()), dose=0.5, name="night-tea")
    lines = context([make_recipe(), night], BASE)
    assert list(lines) == ["world", "salty-tea", "night-tea", "base"]
    assert lines["salty-tea"] == "bad advice, by Drill, dose 1"
    assert lines["night-tea"] == "bad advice, night, by Drill and Nudge, dose 0.5"
    twice = context([make_recipe(), make_recipe(dose=0.5)], BASE)
    assert len(twice) == 4, "two of one name are told apart"


def test_caveats_follow_from_the_records():
    cards = [make_card(seed) for seed in range(4)]
    lines = caveats(cards, small_matrix(cards), ["A teahouse is not the world."])
    assert lines[0] == "A teahouse is not the world."
    assert any(
        "set on 8 calibration twins, so about 1 other twin in 9 lies above it by chance" in line for line in lines
    )
    assert any("No recall at 1 % can be told from so few; that takes 99." in line for line in lines)
    many = caveats([], replace(small_matrix(cards), calibration=tuple(f"c{i}" for i in range(99))))
    assert "so at most 1 other twin in 100 lies above it by chance" in many[0]
    assert "can be told" not in many[0]
    assert any("was chosen by the figure that is shown" in line for line in lines)
    assert not any("one organism" in line or "failed" in line or "replies" in line for line in lines)
    assert "domain" not in " ".join(lines)


def test_caveats_say_what_is_missing():
    cards = [make_rows(), make_card(passes=False)]
    matrix = make_matrix()
    reply = replace(matrix.cells[0], unit="response")
    lines = " ".join(caveats(cards, replace(matrix, cells=(*matrix.cells, reply))))
    assert "Makes sense was not measured: a pattern cannot tell sense from nonsense." in lines
    assert "1 of 2 organisms failed the card" in lines
    assert "Of 2 recipes there is one organism" in lines
    assert "held against aligned ones of the same organism and condition" in lines
    assert caveats([], None) == []
    assert caveats([], Matrix(cells=())) == []


def test_the_command_that_made_the_page():
    assert again(["report", "--room", "my room", "--seed", "3"]) == ["flyroom report --room 'my room' --seed 3"]
