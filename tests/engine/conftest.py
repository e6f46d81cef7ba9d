"""One core for the engine's tests, and the real weights where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import engine_models
import pytest
import torch

from flyroom.engine import TorchEngine

SHARED = Path(os.environ.get("FLYROOM_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=sorted(engine_models.FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine(family: str) -> TorchEngine:
    return TorchEngine.of(engine_models.model(family), engine_models.tokenizer(), name=family)


@pytest.fixture
def llama() -> TorchEngine:
    return TorchEngine.of(engine_models.model("llama"), engine_models.tokenizer(), name="llama")


@pytest.fixture
def stories() -> Path:
    folder = SHARED / "stories260K"
    if not folder.is_dir():
        pytest.skip(f"no real weights at {folder}; set FLYROOM_SHARED_DATA to the folder that holds stories260K")
    return folder
