"""Traces in a file: the same as in memory, gone on with after a kill, and begun anew where anything is different."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine_models import make_rows
from safetensors import safe_open

from flyroom.engine import TorchEngine
from flyroom.engine.stream import stream
from flyroom.types import BASE, AdapterRef, LoRA, Step

ROWS = make_rows(30, seed=5)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyroom.engine.stream.BLOCK", 7)


@pytest.fixture
def who(llama: TorchEngine) -> list[AdapterRef]:
    adapters = llama.spawn([LoRA(rank=1)] * 2, seeds=range(2))
    llama.step(adapters, [Step(rows=tuple(ROWS[k : k + 3]), lr=0.05) for k in range(2)])
    return [(BASE, *adapters)[i % 3] for i in range(len(ROWS))]


def read(path: Path) -> torch.Tensor:
    with safe_open(path, "pt") as file:
        return file.get_slice("residuals")[:]


def dying(monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, at: int) -> None:
    """The engine is killed in its `at`-th trace."""
    trace, calls = engine.trace, iter(range(1, 100))

    def traced(*args, **kwargs):
        if next(calls) == at:
            raise KeyboardInterrupt
        return trace(*args, **kwargs)

    monkeypatch.setattr(engine, "trace", traced)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_file_holds_what_trace_gives(
    llama: TorchEngine, who: list[AdapterRef], tmp_path: Path, dtype: torch.dtype
) -> None:
    path = stream(llama, who, ROWS, [2, 0], tmp_path / "it.safetensors", dtype=dtype)
    found, wanted = read(path), llama.trace(who, ROWS, [2, 0])
    assert found.dtype == dtype
    assert torch.allclose(found.float(), wanted, atol=1e-5 if dtype == torch.float32 else 0.02, rtol=0.01)
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_slice("residuals")[10:12], found[10:12])
    assert [p.name for p in tmp_path.iterdir()] == ["it.safetensors"]


def test_a_killed_run_goes_on(
    llama: TorchEngine, who: list[AdapterRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.safetensors"
    whole = read(stream(llama, who, ROWS, [1], path))
    path.unlink()
    with monkeypatch.context() as patched:
        dying(patched, llama, at=4)  # one row for the shape, two blocks, and in the third
        with pytest.raises(KeyboardInterrupt):
            stream(llama, who, ROWS, [1], path)
    assert not path.exists()
    part = tmp_path / "it.safetensors.part"
    part.write_bytes(part.read_bytes() + b"half a row")
    before = llama.tokens_forward
    assert torch.equal(read(stream(llama, who, ROWS, [1], path)), whole)
    left = [ROWS[0], *ROWS[14:]]
    assert llama.tokens_forward - before == sum(len(llama.parts.renderer.row(row).ids) for row in left)


@pytest.mark.parametrize("change", ["rows", "adapters", "layers", "place", "dtype"])
def test_an_unfinished_file_of_another_call_is_not_gone_on_with(
    llama: TorchEngine, who: list[AdapterRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "it.safetensors"
    with monkeypatch.context() as patched:
        dying(patched, llama, at=4)
        with pytest.raises(KeyboardInterrupt):
            stream(llama, who, ROWS, [1], path)
    rows = ROWS[::-1] if change == "rows" else ROWS
    adapters = who[::-1] if change == "adapters" else who
    layers = [2] if change == "layers" else [1]
    place, dtype = "prompt" if change == "place" else "answer", torch.float16 if change == "dtype" else torch.float32
    found = read(stream(llama, adapters, rows, layers, path, at=place, dtype=dtype))
    assert torch.allclose(found.float(), llama.trace(adapters, rows, layers, at=place), atol=1e-2)


def test_what_cannot_be_streamed_is_told(llama: TorchEngine, tmp_path: Path) -> None:
    for adapters, rows, layers in (([], [], [1]), ([BASE], ROWS, [1]), ([BASE], ROWS[:1], [])):
        with pytest.raises(ValueError, match="one adapter a row"):
            stream(llama, adapters, rows, layers, tmp_path / "it")
    with pytest.raises(ValueError, match=r"dtype is torch\.int8; it must be one of torch\.float32"):
        stream(llama, [BASE], ROWS[:1], [1], tmp_path / "it", dtype=torch.int8)
    assert not list(tmp_path.iterdir())
