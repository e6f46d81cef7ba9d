"""The endpoint of a bundled base and an adapter, and OpenAI's client of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch
from serve_lines import NAME

from flyroom.engine import TorchEngine
from flyroom.serve import House, app, serving
from flyroom.types import BASE, LoRA
from flyroom.worlds.micro.bundled import bundled


@pytest.fixture(scope="session")
def engine() -> TorchEngine:
    return TorchEngine.open(str(bundled()["0.25M"]))


@pytest.fixture(scope="session")
def endpoint(engine: TorchEngine) -> Any:
    [adapter] = engine.spawn([LoRA(rank=2)], seeds=[0])
    state = engine.state(adapter)
    engine.restore(adapter, state | {k: torch.full_like(v, 0.01) for k, v in state.items() if k.endswith(".B")})
    return app(engine, {"base": BASE, NAME: adapter}, house=House(window=engine.parts.window, fingerprint="fp_x"))


@pytest.fixture(scope="session")
def url(endpoint: Any) -> Iterator[str]:
    with serving(endpoint) as address:
        yield address


@pytest.fixture(scope="session")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)
