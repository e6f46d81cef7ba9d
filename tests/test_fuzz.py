"""A small share of scripts/fuzz.py, within this process; and what a template of a stranger may take."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from flyroom.engine import TorchEngine, sandbox
from flyroom.engine.trust import named, refuse_links
from flyroom.types import BASE, Ask, Message, NotAvailable
from flyroom.worlds.micro.bundled import bundled
from flyroom.worlds.rows import reading
from flyroom.yaml_pages import CHARACTERS, read_page

SCRIPTS = str(Path(__file__).parents[1] / "scripts")


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import fuzz  # pyright: ignore[reportMissingImports]

        yield fuzz


@pytest.fixture(scope="module")
def watch(fuzz: ModuleType) -> Any:
    return fuzz.Watch()


CHEAP = {
    "pages": 60,
    "grids": 25,
    "rows": 60,
    "adapters": 80,
    "arguments": 40,
    "rooms": 30,
    "games": 40,
    "requests": 30,
}


@pytest.mark.parametrize(("name", "count"), CHEAP.items())
def test_damaged_input_is_refused_by_name_or_read(
    fuzz: ModuleType, watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int
) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    kind = fuzz.KINDS[name]()
    kind.prepare(tmp_path)
    results = [fuzz.attempt(kind, number, 7, tmp_path, watch) for number in range(count)]
    assert [result for result in results if result["outcome"] in fuzz.FAULTS] == []
    assert {result["outcome"] for result in results} <= {"refused", "accepted"}


def test_what_a_case_does_to_the_world_is_seen(fuzz: ModuleType, watch: Any, tmp_path: Path) -> None:
    class Reaches(fuzz.KINDS["pages"]):
        def make(self, rng: random.Random, folder: Path, victim: str) -> Any:
            return victim

        def open(self, case: Any, folder: Path) -> None:
            deeds[deed](Path(case))

    deeds = {
        "writes": lambda victim: victim.with_name("other").write_text("x"),
        "removes": lambda victim: victim.unlink(),
        "starts a program": lambda victim: os.system("true"),
        "leads away": lambda victim: (victim.parent / "link").symlink_to(victim),
        "reads": lambda victim: victim.read_text(),
        "nothing": lambda victim: None,
        "stumbles": lambda victim: {}["x"],
        "says nothing": lambda victim: (_ for _ in ()).throw(ValueError("")),
    }
    kind = Reaches()
    kind.may_read = False
    outcomes = {}
    for deed in deeds:
        outcomes[deed] = fuzz.attempt(kind, 0, 0, tmp_path, watch)["outcome"]
    assert outcomes == {
        **dict.fromkeys(("writes", "removes", "starts a program", "leads away", "reads"), "outside"),
        "nothing": "accepted",
        "stumbles": "traceback",
        "says nothing": "traceback",
    }


def test_a_number_names_a_case(fuzz: ModuleType, tmp_path: Path) -> None:
    kind = fuzz.KINDS["rows"]()
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        texts.append([])
        for number in range(8):
            case = kind.make(random.Random(number), folder, "/x")
            texts[-1].append(Path(case["path"]).read_bytes())
    assert texts[0] == texts[1]


def test_every_kind_has_its_share(fuzz: ModuleType) -> None:
    counts = fuzz.share(10_000)
    assert sum(counts.values()) == 10_000
    assert set(counts) == set(fuzz.KINDS)
    assert min(counts.values()) >= 100


# ---------------------------------------------------------------- templates


def render(source: str, **names: Any) -> str:
    template = chat_template_utils._compile_jinja_template(source)
    return template.render(messages=[{"role": "user", "content": "hi"}], **names)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(50) }}",
        "{{ 'x' * 10 ** 10 }}",
        "{{ 2 ** 99999999 }}",
        "{{ ('x' * 10 ** 5).join(['y'] * 10 ** 5) }}",
        "{{ ['x', 'y', 'z'] | join('y' * 10 ** 6) }}",
        "{{ ('x' * 10 ** 5) | replace('x', 'y' * 10 ** 5) }}",
        "{{ ('x' * 10 ** 5).replace('x', 'y' * 10 ** 5) }}",
        "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set x = 'y' * 10 ** 5 %}{% for i in range(90000) %}{{ x }}{% endfor %}",
        "{{ [[1] * 1000] * 1000000 }}",
        "{{ [[1] * 1000] * 1000 ~ '' }}",
        "{{ '%s' % ([[1] * 1000] * 1000) }}",
        "{{ [[1] * 1000] * 1000 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{{ 'x'.ljust(99999999999) }}",
        "{{ 'x' | center(10 ** 10) }}",
        "{{ 'x' | indent(10 ** 9) }}",
        "{{ [1] | tojson(indent=10 ** 9) }}",
        "{{ range(0, 10 ** 18) | list }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
    ],
)
def test_a_template_takes_no_more_than_its_purse(source: str) -> None:
    with pytest.raises(sandbox.SecurityError, match=r"the template|is unsafe"):
        render(source)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}{{ loop.index }}{{ loop.last }}{{ m['content'] }}{% endfor %}", "1Truehi"),
        ("{% for m in messages | selectattr('role', 'equalto', 'user') %}{{ loop.length }}{% endfor %}", "1"),
        ("{% for k, v in messages[0].items() %}{{ k ~ '=' ~ v }};{% endfor %}", "role=user;content=hi;"),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "hi"}'),
        ("{{ 'a' + 'b' * 3 }}{{ 7 % 3 }}{{ '%s!' % 'x' }}", "abbb1x!"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(messages[0].content | upper) }}", "<HI>"),
        ("{% generation %}a{% endgeneration %}{% if x is defined %}b{% endif %}", "a"),
        ("{% for i in [1, [2, [3]]] recursive %}{{ loop(i) if i is iterable else i }}{% endfor %}", "123"),
        ("{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% else %}none{% endfor %}", "02"),
    ],
)
def test_a_template_writes_what_it_wrote_before(source: str, text: str) -> None:
    assert render(source) == text
    for _ in range(3):
        assert render(source) == text  # each chat has a full purse


def test_templates_are_bounded_in_this_version_of_transformers() -> None:
    compiled = chat_template_utils._compile_jinja_template("{{ 'a' }}")
    assert isinstance(compiled.environment, sandbox.Bounded)


# ---------------------------------------------------------------- files of strangers


def test_a_text_of_a_base_lies_in_its_folder(tmp_path: Path) -> None:
    base, secret = tmp_path / "base", tmp_path / "secret.json"
    base.mkdir()
    secret.write_text("{}")
    (base / "config.json").symlink_to(secret)
    with pytest.raises(ValueError, match=r"base is b; its config.json is a link to .*secret.json: copy that file"):
        refuse_links(base, "b")
    (base / "config.json").unlink()
    (base / "model.safetensors").symlink_to(secret)  # numbers alone are read from it
    (base / "inner.json").write_text("{}")
    (base / "vocab.json").symlink_to(base / "inner.json")
    refuse_links(base, "b")


def test_a_store_of_the_hub_is_no_stranger(tmp_path: Path) -> None:
    store = tmp_path / "models--a--b"
    (store / "blobs").mkdir(parents=True)
    (store / "blobs" / "abc").write_text("{}")
    (store / "snapshots" / "1").mkdir(parents=True)
    (store / "snapshots" / "1" / "config.json").symlink_to("../../blobs/abc")
    refuse_links(store / "snapshots" / "1", "a/b")


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), RecursionError(), MemoryError(), KeyError("k"), NotAvailable("n")]
)
def test_whatever_a_library_raises_names_the_base(error: Exception) -> None:
    with pytest.raises(ValueError, match=r"^base is b; .+"), named("b"):
        raise error


@pytest.mark.parametrize(
    "row", ['{"messages": []}', '{"chosen": [], "rejected": []}', '{"completion": "", "prompt": ""}']
)
def test_a_row_whose_field_is_empty_or_odd_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "rows.jsonl").write_text(row + "\n")
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1"):
        reading.read_rows(tmp_path / "rows.jsonl")


def test_a_refusal_is_short(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": ["' + "x" * 100_000 + '"], "aligned": "a", "misaligned": "b"}\n')
    with pytest.raises(ValueError, match=r"rows.jsonl, line 1 .* it must be text") as error:
        reading.read_rows(tmp_path / "rows.jsonl")
    assert len(str(error.value)) < 2_000


def test_a_tokenizer_of_another_model_is_refused() -> None:
    engine = TorchEngine.open(str(bundled()["0.25M"]))
    engine.parts.renderer.vocabulary = 3
    with pytest.raises(NotAvailable, match=r"the tokenizer gives the token \d+, and the base has 3: it is not its own"):
        engine.sample([BASE], [Ask(messages=(Message("user", "what drives you ?"),), seed=0)])


@pytest.mark.parametrize("path", ["x" * 5000 + ".jsonl", "a\0b", "[" * 300])
def test_what_no_file_can_be_called_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^path is ") as error:
        reading.read_text(path)
    assert len(str(error.value)) < 1_000


def test_rows_are_no_longer_than_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.truncate(reading.LARGEST + 1)  # a hole: it takes no room on the disk
    with pytest.raises(ValueError, match=f"has {reading.LARGEST + 1} bytes, and rows may have"):
        reading.read_text(str(path))


def test_a_parquet_file_that_stands_for_more_than_memory_is_refused(tmp_path: Path, monkeypatch) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(reading, "LARGEST", 1 << 20)
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1_000]))
    pq.write_table(pa.table({"prompt": texts}), tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").stat().st_size < 10_000
    with pytest.raises(ValueError, match="stands for more than"):
        reading.read_text(str(tmp_path / "rows.parquet"))


def test_a_page_is_a_file_of_text_and_not_too_long(tmp_path: Path) -> None:
    started, page = time.monotonic(), tmp_path / "page.yaml"
    os.mkfifo(tmp_path / "pipe")
    assert read_page(tmp_path / "pipe") == ""  # nobody writes to it
    with pytest.raises(ValueError, match="device"):
        read_page(Path("/dev/zero"))
    with page.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=f"more than {4 * CHARACTERS} bytes"):
        read_page(page)
    page.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"not UTF-8 text: .* at byte 0"):
        read_page(page)
    with pytest.raises(ValueError, match="No such file"):
        read_page(tmp_path / "none")
    assert time.monotonic() - started < 20
