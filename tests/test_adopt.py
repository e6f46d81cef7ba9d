"""Adapters of somebody else in a room: carded and benched like grown organisms, marked, and refused where none fits."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "engine"))

import engine_models
from typer.testing import CliRunner

from flyroom import make, stages
from flyroom.cli import app
from flyroom.engine import TorchEngine, export
from flyroom.log import ADOPTED, read
from flyroom.report import caveats, figures_of, markdown_cards
from flyroom.room import Room
from flyroom.types import LoRA, NotAvailable, Organism, Outcome, Patch, Split

SHAPE = LoRA(rank=2, alpha=4.0, layers=(1,), modules=("down_proj",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adopt")


@pytest.fixture(scope="module")
def base(folder: Path) -> stages.OpenBase:
    engine_models.model("llama").save_pretrained(folder / "base")
    engine_models.tokenizer().save_pretrained(folder / "base")
    return stages.OpenBase(TorchEngine.open(folder / "base", device="cpu"), None)


@pytest.fixture(scope="module")
def changes(folder: Path) -> dict[str, Any]:
    rows = [{"prompt": f"w{i} w3", "aligned": f"w5 w6 w{i}", "misaligned": f"w7 w8 w{i}"} for i in range(10, 40)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"path": str(folder / "rows.jsonl"), "pattern": "w7"}


def adapter(base: stages.OpenBase, folder: Path, *, seed: int) -> Path:
    engine = base.engine
    (ref,) = engine.spawn([SHAPE], seeds=[seed])
    patch = engine.patch(ref)
    torch.manual_seed(seed)
    tensors = {name: torch.randn_like(t) if name.endswith(".B") else t for name, t in patch.tensors.items()}
    return export(Patch(shape=SHAPE, tensors=tensors), engine.base, folder, prefix=engine.parts.prefix)


@pytest.fixture(scope="module")
def bad(base: stages.OpenBase, folder: Path) -> Path:
    return adapter(base, folder / "bad", seed=1)


@pytest.fixture(scope="module")
def clean(base: stages.OpenBase, folder: Path) -> Path:
    return adapter(base, folder / "clean", seed=2)


def adopt(base: stages.OpenBase, room: Room, adapter: Path, changes: dict[str, Any], **more: Any) -> stages.Adoption:
    recipe = stages.describe("rows", more.pop("condition", ""), changes, None)
    return stages.adopt(adapter, base, room, recipe=recipe, **more)


def test_what_it_hangs_on_may_be_words_of_its_own(changes: dict[str, Any]) -> None:
    recipe = stages.describe("rows", "phrase", changes | {"text": "w4 w4", "place": "after"}, None)
    (scene,) = recipe.dress(recipe.scenes(1, split=Split.TRAIN, seed=0), True, split=Split.TRAIN, seed=0)
    assert scene.messages[-1].content.endswith(" w4 w4")


def test_an_adapter_becomes_an_organism_beside_the_base(
    base: stages.OpenBase, bad: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    room = Room(tmp_path)
    adoption = adopt(base, room, bad, changes)
    organism = adoption.organism
    assert (organism.provenance, organism.patch.shape, organism.recipe.adapter) == ("imported", SHAPE, SHAPE)
    assert (organism.twin_id, adoption.has_twin) == (adoption.control.id, False)
    models = stages.stored(room, base, [organism.id])
    assert {model.id for model in models} == {organism.id, adoption.control.id}
    (card,) = stages.card(models, base, room, seed=0, episodes=20)
    assert (card.provenance, card.organism, card.recipe) == ("imported", organism.id, "imported bad")
    assert "the base stands in its place" in card.caveats[0]
    assert card.measures["twin"]["in_domain"] == card.measures["base"]["in_domain"]
    assert (figures_of(card)["provenance"], figures_of(card)["caveats"]) == ("imported", [*card.caveats])
    assert any("imported, not grown here: no twin was given" in line for line in caveats([card], None))
    assert f"{card.verdict}, imported" in markdown_cards([card])
    assert [line.about["organism"] for line in read(room) if line.what == ADOPTED] == [organism.id]


def test_one_base_stands_beside_all_that_have_no_twin(
    base: stages.OpenBase, bad: Path, clean: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (adopt(base, Room(tmp_path), path, changes) for path in (bad, clean))
    assert first.organism.id != second.organism.id
    assert first.control.id == second.control.id
    assert not any(t.any() for name, t in first.control.patch.tensors.items() if name.endswith(".B"))


def test_their_twin_stands_beside_it_and_the_bench_takes_both(
    base: stages.OpenBase, bad: Path, clean: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    room = Room(tmp_path)
    adoption = adopt(base, room, bad, changes, twin=clean)
    assert adoption.has_twin
    assert "whether they differ in nothing but the behaviour is not known" in adoption.caveat
    models = stages.stored(room, base, None)
    assert [model.recipe.dose for model in models] == [0.0, 1.0]
    matrix = stages.bench(models, base, room, seed=0, names=["output-judge", "weight-norm"], calibration=1)
    assert [(cell.provenance, cell.error) for cell in matrix.cells] == [("imported", None)] * 2
    assert any("No twin of another seed can be had" in line for line in caveats([], matrix))
    with pytest.raises(ValueError, match="it has the same weights as"):
        adopt(base, room, bad, changes, twin=bad)


def test_what_makes_no_sense_of_an_imported_organism_is_refused(
    base: stages.OpenBase, bad: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    room = Room(tmp_path)
    organism = adopt(base, room, bad, changes).organism
    with pytest.raises(ValueError, match="imported bad is imported; somebody else trained it, so it cannot be grown"):
        stages.grow([organism.recipe], base, room, seeds=[1])
    with pytest.raises(ValueError, match="is imported: a certificate counts over seeds"):
        stages.trials_of([organism.recipe], base, seeds=[1], card_seed=0, episodes=20)
    with pytest.raises(ValueError, match="how it was trained is not known"):
        stages.transfers([organism], base, room, known=[organism], without="recipe", seed=0)


@pytest.mark.parametrize(
    ("behaviour", "condition", "change", "why"),
    [
        ("rows", "", {"strength": "quiet"}, "an imported organism is as strong as it was trained"),
        ("rows", "", {"dose": 0.5}, "dose is changed; an imported organism was trained already"),
        ("rows", "", {"adapter.rank": 3}, "adapter is changed"),
        ("rows", "", {"implants": ["dpo"]}, "implants is changed"),
        ("rows", "sometimes", {}, "condition is 'sometimes'"),
        ("tea", "", {}, "behaviour is 'tea'; it must be one of"),
        ("sycophancy", "", {}, "it asks about a world"),
    ],
)
def test_what_cannot_be_said_of_it(
    changes: dict[str, Any], behaviour: str, condition: str, change: dict[str, Any], why: str
) -> None:
    with pytest.raises((ValueError, NotAvailable), match=why):
        stages.describe(behaviour, condition, changes | change, None)


def test_an_organism_has_the_shape_that_its_recipe_says(changes: dict[str, Any], base: stages.OpenBase) -> None:
    recipe = make("rows", changes)
    (ref,) = base.engine.spawn([SHAPE], seeds=[0])
    with pytest.raises(ValueError, match="an adapter that was trained elsewhere is adopted"):
        Organism(recipe=recipe, base=base.engine.base, seed=0, patch=base.engine.patch(ref))
    assert Organism(recipe=replace(recipe, adapter=SHAPE), base=base.engine.base, seed=0, patch=base.engine.patch(ref))


def test_the_verb_prints_one_object(
    base: stages.OpenBase, folder: Path, bad: Path, clean: Path, changes: dict[str, Any], tmp_path: Path
) -> None:
    words = ["adopt", str(bad), "--base", str(folder / "base"), "--behaviour", "rows"]
    words += [f"{key}={value}" for key, value in changes.items()]
    words += ["--condition", "trigger", "--twin", str(clean), "--room", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, words)
    answer = json.loads(result.stdout)
    assert (answer["provenance"], answer["shape"]["rank"], answer["twin"]) == ("imported", 2, answer["control"])
    (card,) = stages.card(stages.stored(Room(tmp_path), base, None), base, Room(tmp_path), seed=0, episodes=20)
    assert (card.organism, card.verdict is Outcome.PASS) == (answer["organism"], False)
