"""The benchmarks run, on tiny shapes: what is counted is asserted, never a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import page, peft_loop, sample_population, trace_population, train_population
from benchmarks.__main__ import main
from benchmarks.limits import Rates, measured, train_operations
from benchmarks.measure import Missing, Run, Work, race
from benchmarks.sets import EVERYWHERE, SETS, Benchmark
from benchmarks.setting import Setting
from benchmarks.subjects import qwen, world
from flyroom.types import LoRA, Step

ROOT = Path(__file__).parents[1]
NAMES = {kind: list(make(True)) for kind, make in SETS.items()}
SERIAL = ("ray_workers",)  # it starts clusters: run by hand
CASES = [(kind, name) for kind, names in NAMES.items() for name in names if name not in SERIAL]


@pytest.fixture(autouse=True)
def _without_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no dependencies; a machine that has them runs the same tests."""
    monkeypatch.setattr("benchmarks.trl_loop.find_spec", lambda _: None)
    monkeypatch.setattr("benchmarks.readers.find_spec", lambda _: None)


@pytest.fixture(scope="module")
def rates() -> Rates:
    return measured()


@pytest.fixture
def _measured_once(rates: Rates, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's rates are those of all tests, and the peer's batches hold what is asked and no 4,096 tokens."""
    for module in (train_population, sample_population, trace_population):
        monkeypatch.setattr(module, "measured", lambda: rates)
    monkeypatch.setattr("benchmarks.continuous.CPU_TOKENS", 256)


@pytest.mark.usefixtures("_measured_once")
@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{k} {n}" for k, n in CASES])
def test_a_benchmark_gives_its_figures(kind: str, name: str, capsys: Any, tmp_path: Path) -> None:
    written = tmp_path / "page.md"
    main([kind, "--json", "--only", name, "--scale", "small", "--repeats", "1", "--page", str(written)])
    (result,) = json.loads(capsys.readouterr().out).values()
    peers = list(result["ratios"])
    assert peers
    assert result["ours"] > 0
    assert result["limit"] > 0
    assert result["ratio"] == pytest.approx(result["ours"] / result[peers[0]], rel=1e-2)
    assert all(result["machine"][library] for library in ("torch", "transformers", "peft"))
    assert result["missing"].keys() <= {"trl_default", "trl_tuned", "nnsight", "transformer_lens"}
    assert f"### {name}" in written.read_text()
    assert f"| {peers[0]} |" in written.read_text()


@pytest.mark.parametrize("shape", [LoRA(rank=1, layers=(0,)), EVERYWHERE], ids=["one layer", "all linear"])
def test_ours_and_peft_do_the_same_work(shape: LoRA) -> None:
    setting = Setting(subject=world("0.25M"), adapter=shape, organisms=3, rows=4, steps=2)
    data = [setting.subject.rows(k, 2, 4) for k in range(3)]
    ours = train_population.ours(setting, {})()
    peft = peft_loop.trainer(setting.subject, shape, data, train_population.LR)()()
    assert ours.tokens == peft.tokens
    assert ours.value == pytest.approx(peft.value, abs=1e-4)  # of the untrained adapters


@pytest.mark.usefixtures("_measured_once")
@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_compiled_ours_races_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.engine.compiled.BACKEND", "aot_eager")  # without C++
    setting = Setting(subject=qwen("tiny", tokens=24), adapter=LoRA(rank=1, layers=(3,)), compiled=True)
    setting = replace(setting, organisms=2, peers=2, rows=4, steps=1)
    result = train_population.train_population(setting, 1)
    assert result["ours_compiled"] > 0
    assert result["ratio"] == pytest.approx(result["ours"] / result["peft"], rel=1e-2)
    assert "Compiling took" in page.section("train", result)
    torch.compiler.reset()


def test_a_population_costs_its_packed_batches_and_not_itself() -> None:
    """A step of 16 organisms runs the base's body once a packed batch: once if the budget holds them all."""
    subject = qwen("tiny", tokens=24)
    engine = subject.engine()
    seen: list[int] = []  # tokens, padded, of each pass of the body
    engine.parts.body.register_forward_pre_hook(lambda _m, _a, k: seen.append(k["input_ids"].numel()), with_kwargs=True)
    adapters = engine.spawn([LoRA(rank=1, layers=(0,))] * 16, seeds=range(16))
    steps = [Step(rows=subject.rows(k, 1, 4)[0], lr=1e-3) for k in range(16)]
    for budget, batches in ((1 << 20, 1), (16 * 4 * 24 // 2, 2), (16 * 4 * 24 // 4, 4)):
        engine.batch_tokens = budget
        seen.clear()
        engine.step(adapters, steps)
        assert len(seen) == batches
        assert sum(seen) == 16 * 4 * 23  # every token but each row's last, once


def test_operations_grow_with_rows_and_shrink_with_depth() -> None:
    subject = qwen("tiny", tokens=24)
    rows = subject.rows(0, 1, 8)[0]
    low, high = (train_operations(subject, LoRA(rank=1, layers=(l,)), rows) for l in (0, 3))
    assert high < low
    assert train_operations(subject, LoRA(rank=1, layers=(0,)), rows[:4]) == pytest.approx(low / 2)
    assert train_operations(subject, LoRA(rank=1, layers=(3,)), rows, sharing=16) < high
    assert train_operations(subject, LoRA(rank=1, layers=(0,)), rows, sharing=16) == low  # nothing lies below it


def test_organisms_that_share_their_rows_pay_for_the_lower_layers_once() -> None:
    setting = Setting(subject=qwen("tiny", tokens=24), adapter=LoRA(rank=1, layers=(3,)), organisms=3, rows=4, steps=2)
    for shared, computed in ((True, 2 * 4 * 24), (False, 3 * 2 * 4 * 24)):
        prefix: dict[str, int] = {}
        train_population.ours(replace(setting, shared=shared), prefix)()
        assert prefix["computed"] == computed
        assert prefix["reused"] == 3 * 2 * 4 * 24 - computed


def test_contenders_take_turns_and_who_cannot_run_is_named() -> None:
    order: list[str] = []

    def contender(name: str) -> Run:
        def run() -> Work:
            order.append(name)
            return Work(1, 1)

        return run

    def absent() -> Run:
        raise Missing("it is not there")

    makers = {"ours": lambda: contender("a"), "gone": absent, "peer": lambda: contender("b")}
    taken, missing = race(makers, repeats=2)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert missing == {"gone": "it is not there"}
    assert list(taken) == ["ours", "peer"]
    order.clear()
    race(makers, repeats=2, in_turn=False)
    assert order == ["a", "a", "a", "b", "b", "b"]


def test_a_run_replaces_its_own_section_alone(tmp_path: Path) -> None:
    path, one = tmp_path / "page.md", Benchmark(lambda _: {}, lambda: "at most 7 an hour")
    known = {"cpu": {"one": one, "two": one}, "gpu": {"one": one}}
    path.write_text("<!-- cpu two -->\nkept\n<!-- end -->\n")
    result = {"what": "x", "ours": None, "missing": {"ray": "it is not installed"}}
    page.write(path, "cpu", {"one": result}, known)
    found = page.sections(path.read_text())
    assert "Not run: it is not installed." in found["cpu one"]
    assert found["cpu two"] == "kept"
    assert "python -m benchmarks gpu --only one" in found["gpu one"]
    assert "at most 7 an hour." in found["gpu one"]


def test_a_killed_run_keeps_the_sections_that_it_measured(tmp_path: Path, monkeypatch: Any) -> None:
    def killed(_: int) -> dict[str, Any]:
        raise KeyboardInterrupt

    result = {"what": "x", "ours": None, "missing": {"ray": "it is not installed"}}
    made = {"one": Benchmark(lambda _: result, None), "two": Benchmark(killed, None)}
    monkeypatch.setattr("benchmarks.__main__.SETS", {"cpu": lambda _: made})
    with pytest.raises(KeyboardInterrupt):
        main(["cpu", "--page", str(tmp_path / "page.md")])
    found = page.sections((tmp_path / "page.md").read_text())
    assert "Not run: it is not installed." in found["cpu one"]
    assert "Not measured yet." in found["cpu two"]
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_the_page_is_the_command_s_own() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text.startswith(page.HEAD)
    assert list(page.sections(text)) == [f"{kind} {name}" for kind, names in NAMES.items() for name in names]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["gpu"], "gpu needs CUDA"),
        (["cpu", "--only", "nothing"], "--only is nothing; it must be one of train_population_vs_peft"),
        (["cpu", "--repeats", "0"], "--repeats is 0"),
    ],
)
def test_what_cannot_be_run_is_refused(words: list[str], why: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        main(words)
    assert why in capsys.readouterr().err
